"""The config of a Linux build folder: made when something it depends on changed, then compared with what was asked for.

Read `Configuration` first.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from kbench.kernels.compiled import KCONFIG_LIST, kconfig_files
from kbench.kernels.fragments import render, settings, unlike
from kbench.kernels.kconfig import explain, parse
from kbench.kernels.linux import Plan, kconfig_variables, make_words
from kbench.kernels.make import run_commands
from kbench.records import LinuxSpec

TIMEOUT_S = 600.0  # of make's config targets; they take seconds
NAMED = 40  # options that one note names before it counts the rest
# What Kconfig finds out about compilers and architectures; nobody asks for it, a whole .config of another release just has it.
_FOUND_OUT = ("CC_", "GCC_", "CLANG_", "LD_", "AS_", "LLD_", "RUSTC_", "PAHOLE_", "HAVE_", "ARCH_", "GENERIC_", "TOOLS_SUPPORT_")


class Configuration:
    """The .config of one build folder.

    Parameters
    ----------
    source_tree, build_dir : Path
    linux : LinuxSpec
    plan : Plan
    """

    def __init__(self, source_tree: Path, build_dir: Path, linux: LinuxSpec, plan: Plan) -> None:
        self._tree, self._dir, self._linux, self._plan = source_tree, build_dir, linux, plan
        self.path = build_dir / ".config"
        self._stamp = build_dir / "kbench-config.json"

    def make(self, environment: Mapping[str, str]) -> None:
        """Write .config unless it is there already: running Kconfig over the whole tree takes seconds.

        A base is completed by allnoconfig, so that nothing is on that no line asks for, in any release; a whole .config by
        olddefconfig, which takes the tree's defaults for what is new in it.
        """
        if self._current():
            return
        self._stamp.unlink(missing_ok=True)
        before, times = self._content(), self.path.stat() if self.path.is_file() else None
        asked = self._dir / "kbench-asked.config"
        (self.path if self._plan.whole else asked).write_text(render(self._plan.asked), encoding="utf-8")
        goal = "olddefconfig" if self._plan.whole else "allnoconfig"
        argv = ("make", f"O={self._dir}", *make_words(self._linux, self._plan.compiler), goal)
        given = {} if self._plan.whole else {"KCONFIG_ALLCONFIG": os.fspath(asked)}
        run_commands([argv], cwd=self._tree, env={**environment, **given}, timeout_s=TIMEOUT_S, roots=(self._tree, self._dir))
        if times is not None and self._content() == before:
            os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))  # make then need not look at every option again

    def keep(self) -> None:
        """Note down what .config was made from; only after make has listed the Kconfig files it read."""
        if (self._dir / KCONFIG_LIST).is_file():
            self._stamp.write_text(json.dumps(self._made_from()), encoding="utf-8")

    def notes(self) -> tuple[str, ...]:
        """Return a note for each option that did not come out as asked for, with the reason; unknown ones together."""
        final = settings(self._content())
        missed = unlike(self._plan.asked, final)
        if self._plan.whole:
            missed = {name: pair for name, pair in missed.items() if not name.startswith(_FOUND_OUT)}
        if not missed:
            return ()
        definitions = parse(self._read, kconfig_variables(self._linux))
        if self._plan.whole:  # what has no prompt was never asked for
            missed = {
                name: pair
                for name, pair in missed.items()
                if any(d.prompts for d in definitions.get(name, ())) or name not in definitions
            }
        unknown = [name for name in missed if name not in definitions and missed[name][0] != "n"]
        alone = [] if self._plan.whole else [name for name in unknown if name in self._plan.given]
        notes = [f"config: {name}={missed[name][0]} was asked for, this tree has no such option" for name in alone]
        if together := [name for name in unknown if name not in alone]:
            source = "config" if self._plan.whole else "base"
            notes.append(f"config: this tree does not have {len(together)} options of the {source}: {_listed(together)}")
        for name, (asked, came) in missed.items():
            if name in definitions:
                reason = explain(name, asked, final, definitions)
                notes.append(f"config: {name}={asked} was asked for and is {came or 'n'}" + (f": {reason}" if reason else ""))
        return tuple(notes)

    def _content(self) -> str:
        return self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""

    def _current(self) -> bool:
        if not self._stamp.is_file() or not self.path.is_file():
            return False
        try:
            return bool(json.loads(self._stamp.read_text(encoding="utf-8")) == self._made_from())
        except ValueError:
            return False

    def _made_from(self) -> dict[str, str]:
        return {
            "plan": _digest([json.dumps(self._plan.key, sort_keys=True).encode()]),
            "config": _digest([self._content().encode()]),
            "kconfig": _digest(self._kconfig_contents()),
        }

    def _kconfig_contents(self) -> Iterable[bytes]:
        for name in sorted(kconfig_files(self._dir)):
            path = self._tree / name
            yield name.encode("utf-8", "surrogateescape")
            yield path.read_bytes() if path.is_file() else b""

    def _read(self, name: str) -> str | None:
        path = (self._tree / name).resolve()
        if not path.is_relative_to(self._tree.resolve()) or not path.is_file():
            return None
        return path.read_text(encoding="utf-8", errors="replace")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()
