"""One build of one source tree in one slot. Read `compile_tree` first."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kbench.errors import BuildError
from kbench.host import storage
from kbench.kernels import linux
from kbench.kernels.compiled import compiled_files, linux_files
from kbench.kernels.configure import Configuration
from kbench.kernels.make import run_commands
from kbench.kernels.signature import ELF_MAGIC, signature
from kbench.kernels.store import Slot, Store
from kbench.kernels.toolchain import toolchain
from kbench.records import BuildSpec, LinuxSpec, Target

#: Fixed for every build, so that time, user and host leave no trace in a kernel.
FIXED = {
    **dict.fromkeys(("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE"), "C"),  # kbuild takes LC_ALL away; errors are read in English
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "1",
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01 00:00:01Z",
    "KBUILD_BUILD_USER": "kbench",
    "KBUILD_BUILD_HOST": "kbench",
    "KBUILD_BUILD_VERSION": "0",
}
#: What a make or git around us would hand down to a build that is none of their business.
NOT_INHERITED = (
    *("MAKEFLAGS", "GNUMAKEFLAGS", "MAKEFILES", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "O"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"),
    *("KBUILD_OUTPUT", "KCONFIG_CONFIG", "KCONFIG_ALLCONFIG", "LOCALVERSION"),
)


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a build: the caller's, less what disturbs, plus what makes it reproducible."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return kept | FIXED | dict(extra)


def compile_tree(
    source_tree: Path,
    slot: Slot,
    target: Target,
    *,
    config: str | None,
    store: Store,
    jobs: int,
    plan: linux.Plan | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Build a source tree in a slot and return the store's entry of it; see `Builder` for the arguments.

    A Linux tree is built by `plan`, worked out from the tree when it is None. `notes` go into the entry before its own.
    """
    if target.build.linux is None:
        return _compile(source_tree, slot, target, config=config, store=store, jobs=jobs)
    source_tree, slot = source_tree.resolve(), Slot(slot.path.resolve())  # as kbuild spells them
    spec = target.build
    if plan is None:
        makefile = source_tree / "Makefile"
        text = makefile.read_text(encoding="utf-8", errors="replace") if makefile.is_file() else ""
        plan = linux.plan(target, target.build.linux, config, text)
        notes = ["backports: expected a repository to pick them from, this is a plain folder; left out"] if spec.backports else []
    made = replace(spec, config=None, env={**linux.environment(source_tree, slot.build_dir, plan.compiler), **spec.env})
    target = linux.with_linux_words(replace(target, build=made), plan)
    entry = _compile(source_tree, slot, target, config=None, store=store, jobs=jobs, plan=plan)
    return entry | {"compiler": plan.compiler.banner, "notes": [*plan.notes, *notes, *entry["notes"]]}


def _compile(
    source_tree: Path, slot: Slot, target: Target, *, config: str | None, store: Store, jobs: int, plan: linux.Plan | None = None
) -> dict[str, Any]:
    spec, started = target.build, time.monotonic()
    chain = toolchain() if plan is None else {"compiler": plan.compiler.banner, "linker": plan.linker}
    slot.prepare(clean=spec.clean, made_by=Store.key(spec=repr(spec), toolchain=chain))
    with storage("build", slot.path):
        if spec.config is not None:
            _set_config(slot.build_dir / spec.config, config)
        for name in filter(None, (spec.image, spec.symbols)):
            _inside(slot.build_dir, name).unlink(missing_ok=True)  # another revision's, should this one make it elsewhere
    env = environment(spec.env) | {"TMPDIR": str(slot.temporary)}
    configuration = None
    if plan is not None and spec.linux is not None:
        configuration = Configuration(source_tree, slot.build_dir, spec.linux, plan)
        configuration.make(env)
    try:
        output = _run(source_tree, slot, spec, env, jobs)
    finally:
        if configuration:
            configuration.keep()
    image = _artefact(spec.image, slot.build_dir, source_tree, output)
    symbols = _artefact(spec.symbols, slot.build_dir, source_tree, output) if spec.symbols else image
    entry = _kept(image, symbols, slot, spec.linux, store)
    if configuration is None:
        entry |= {"files": compiled_files(slot.build_dir, source_tree), "config": None, "notes": []}
    else:
        files = linux_files(slot.build_dir, source_tree)
        entry |= {"files": files, "config": store.add(configuration.path), "notes": list(configuration.notes())}
    return entry | {"compiler": chain["compiler"], "build_s": time.monotonic() - started}


def _run(source_tree: Path, slot: Slot, spec: BuildSpec, env: Mapping[str, str], jobs: int) -> str:
    """Run the target's commands and return what they printed."""
    places = {
        "source_tree": source_tree,
        "build_dir": slot.build_dir,
        "config": slot.build_dir / (spec.config or ".config"),
        "jobs": jobs,
    }
    commands = [tuple(_fill(word, places) for word in argv) for argv in spec.commands]
    return run_commands(
        commands,
        cwd=source_tree,
        env=env,
        timeout_s=spec.timeout_s,
        interrupted=slot.interrupted,
        roots=(source_tree, slot.build_dir),
    )


def _kept(image: Path, symbols: Path, slot: Slot, spec: LinuxSpec | None, store: Store) -> dict[str, Any]:
    """Put what was built into the store; return its names there, and its signature.

    An image that is no ELF file is a packed one when an ELF file comes with it: that one is compared, because the other is
    packed from it and has its build id inside, which knows the folder of the build.
    """
    with symbols.open("rb") as file:
        has_symbols = file.read(4) == ELF_MAGIC
    with image.open("rb") as file:
        compared = image if file.read(4) == ELF_MAGIC or not (has_symbols and spec) else symbols
    packed = _packed(symbols, slot.path / "packed", spec) if has_symbols and spec else symbols
    return {
        "image": store.add(packed if image.samefile(symbols) else image),
        "symbols": store.add(packed) if has_symbols else None,
        "signature": signature(compared.read_bytes()),
    }


def _packed(elf: Path, place: Path, spec: LinuxSpec) -> Path:
    """Compress the debug sections of an ELF file, most of a kernel with debug information; nothing that is loaded changes.

    zstd takes a quarter of a second where zlib takes two; a binutils that does not know it leaves the file as it is.
    """
    objcopy = shutil.which(f"{spec.cross}objcopy")
    argv = [str(objcopy), "--compress-debug-sections=zstd", os.fspath(elf), os.fspath(place)]
    done = objcopy is not None and subprocess.run(argv, capture_output=True, check=False).returncode == 0
    return place if done else elf


def _fill(word: str, places: Mapping[str, object]) -> str:
    """Fill the placeholders of one word; other braces are left as they are."""
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", str(value))
    return word


def _set_config(path: Path, config: str | None) -> None:
    """Write a config unless it is there already, so that make sees no change; without one remove an earlier case's."""
    if config is None:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != config:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config, encoding="utf-8")


def _inside(base: Path, name: str) -> Path:
    """Return the path of a file below a folder; BuildError when the name, or a link, leads out of it."""
    path = (base / name).resolve()
    if not path.is_relative_to(base.resolve()):
        raise BuildError(
            f"build: expected {name} below {base.name}, it leads out; make it a file there", log="", file="", timed_out=False
        )
    return path


def _artefact(name: str, build_dir: Path, source_tree: Path, output: str) -> Path:
    """Return a file the build made, which has to lie in one of its two folders."""
    for base in (build_dir, source_tree):
        path = _inside(base, name)
        if path.is_file():
            return path
    raise BuildError(
        f"build: expected {name}, the build ended well without making it; correct `image` or `build`",
        log=output,
        file="",
        timed_out=False,
    )
