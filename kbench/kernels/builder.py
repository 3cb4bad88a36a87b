"""Source, config and toolchain to `KernelImage`. Read `Builder` first.

A `Builder` holds one build slot: a worktree of the repository and its objects, never the user's checkout. It asks the
store before it asks the compiler, and a revision that does not build is remembered as well.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from kbench.errors import BuildError
from kbench.host import storage, usable_cores
from kbench.kernels.make import compiled_files, run_commands
from kbench.kernels.signature import ELF_MAGIC, signature
from kbench.kernels.store import Slot, Store
from kbench.records import KernelImage, Target
from kbench.repository import Repository, Worktree

#: Raised whenever entries of the store change their meaning, so that old ones are not found.
STORE_FORMAT = 2
#: Fixed for every build, so that time, user and host leave no trace in a kernel.
FIXED = {
    "LC_ALL": "C",
    "TZ": "UTC",
    "SOURCE_DATE_EPOCH": "1",
    "KBUILD_BUILD_TIMESTAMP": "1970-01-01 00:00:01Z",
    "KBUILD_BUILD_USER": "kbench",
    "KBUILD_BUILD_HOST": "kbench",
    "KBUILD_BUILD_VERSION": "0",
}
#: What a make or git around us would hand down to a build that is none of their business.
NOT_INHERITED = (
    "MAKEFLAGS",
    "GNUMAKEFLAGS",
    "MAKEFILES",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "O",
    "KBUILD_OUTPUT",
)


#: What a Makefile takes from the environment and a kernel depends on: part of a build's key.
DECIDES = (
    *("ARCH", "CROSS_COMPILE", "CC", "LD", "AS", "AR", "LLVM", "HOSTCC", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH"),
    *("CFLAGS", "CPPFLAGS", "LDFLAGS", "ASFLAGS", "KCFLAGS", "KCPPFLAGS", "KAFLAGS"),
)


#: Failures that another day's machine may not have: a header or program that is not installed. Not remembered.
_MAY_PASS = re.compile("No such file or directory|not found")


def toolchain() -> dict[str, str]:
    """Return what decides a build besides its source: the compiler, and what the environment asks of it."""
    return {"compiler": compiler()} | {name: os.environ[name] for name in DECIDES if name in os.environ}


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a build: the caller's, less what disturbs, plus what makes it reproducible."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return kept | FIXED | dict(extra)


@functools.cache
def compiler() -> str:
    """Return the first line of the compiler's --version; "" when there is none."""
    for name in (os.environ.get("CC", ""), "gcc", "clang", "cc"):
        if name and shutil.which(name):
            answer = subprocess.run([name, "--version"], capture_output=True, text=True, check=False, env=environment({}))
            return answer.stdout.partition("\n")[0].strip()
    return ""


class Builder:
    """Builds revisions of one repository for one target and config, one after the other, in a slot of its own.

    Parameters
    ----------
    repository : Repository
    target : Target
    config : str, optional
        Content of the kernel's config; None leaves it to the build.
    store : Store, optional
        Where what was built is kept; the user's cache folder by default.
    jobs : int, optional
        For make's -j; the number of usable cores by default.
    """

    def __init__(
        self,
        repository: Repository,
        target: Target,
        *,
        config: str | None = None,
        store: Store | None = None,
        jobs: int | None = None,
    ) -> None:
        self._repository, self._target, self._config = repository, target, config
        self._store = store or Store()
        self._jobs = jobs or usable_cores()
        self._held = ExitStack()
        self._place: tuple[Slot, Worktree] | None = None

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the slot go; its objects stay for the next one."""
        self._held.close()
        self._place = None

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit, from the store or from the compiler.

        Parameters
        ----------
        commit : str
            40 hex digits.

        Raises
        ------
        BuildError
            The revision does not build; the same error comes back at once when asked again.
        """
        spec = self._target.build
        key = Store.key(
            format=STORE_FORMAT,
            tree=self._repository.tree(commit),
            commands=spec.commands,
            image=spec.image,
            symbols=spec.symbols,
            place=spec.config,
            config=self._config,
            clean=spec.clean,
            env=dict(spec.env),
            toolchain=toolchain(),
        )
        if entry := self._store.find(key):
            return image_of(self._store, self._target, entry, commit=commit, cached=True)
        try:
            entry = self._compile(commit)
        except BuildError as error:
            if not error.evidence.get("timed_out", True) and not _MAY_PASS.search(str(error)):
                self._store.keep(key, {"error": str(error), "file": error.file, "log": error.log[-20_000:]})
            raise
        self._store.keep(key, entry)
        return image_of(self._store, self._target, entry, commit=commit, cached=False)

    def _compile(self, commit: str) -> dict[str, Any]:
        if self._place is None:
            slot = self._held.enter_context(self._store.slot(f"revisions of {self._repository.path.resolve()}"))
            self._place = slot, self._held.enter_context(self._repository.worktree(slot.tree, keep=True))
        slot, worktree = self._place
        with storage("build", slot.path):
            worktree.checkout(commit, clean=self._target.build.clean)
        return compile_tree(slot.tree, slot, self._target, config=self._config, store=self._store, jobs=self._jobs)


def compile_tree(source_tree: Path, slot: Slot, target: Target, *, config: str | None, store: Store, jobs: int) -> dict[str, Any]:
    """Build a source tree in a slot and return the store's entry of it; see `Builder` for the arguments."""
    spec, started = target.build, time.monotonic()
    slot.prepare(clean=spec.clean, made_by=Store.key(spec=repr(spec), toolchain=toolchain()))
    with storage("build", slot.path):
        if spec.config is not None:
            _set_config(slot.build_dir / spec.config, config)
        for name in filter(None, (spec.image, spec.symbols)):
            _inside(slot.build_dir, name).unlink(missing_ok=True)  # another revision's, should this one make it elsewhere
    places = {
        "source_tree": source_tree,
        "build_dir": slot.build_dir,
        "config": slot.build_dir / (spec.config or ".config"),
        "jobs": jobs,
    }
    commands = [tuple(_fill(word, places) for word in argv) for argv in spec.commands]
    output = run_commands(
        commands, cwd=source_tree, env=environment(spec.env), timeout_s=spec.timeout_s, interrupted=slot.interrupted
    )
    image = _artefact(spec.image, slot.build_dir, source_tree, output)
    symbols = _artefact(spec.symbols, slot.build_dir, source_tree, output) if spec.symbols else image
    with symbols.open("rb") as file:
        has_symbols = file.read(4) == ELF_MAGIC
    return {
        "image": store.add(image),
        "symbols": store.add(symbols) if has_symbols else None,
        "signature": signature(image.read_bytes()),
        "files": compiled_files(slot.build_dir, source_tree),
        "compiler": compiler(),
        "build_s": time.monotonic() - started,
    }


def image_of(store: Store, target: Target, entry: Mapping[str, Any], *, commit: str | None, cached: bool) -> KernelImage:
    """Return the kernel an entry of the store describes; raise its BuildError when it describes a failure."""
    if "error" in entry:
        raise BuildError(entry["error"], log=entry["log"], file=entry["file"], timed_out=False, cached=cached)
    return KernelImage(
        path=store.object(entry["image"]),
        symbols=store.object(entry["symbols"]) if entry["symbols"] else None,
        signature=entry["signature"],
        target=target,
        commit=commit,
        files=None if entry["files"] is None else tuple(entry["files"]),
        compiler=entry["compiler"],
        build_s=0.0 if cached else entry["build_s"],
        cached=cached,
    )


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
