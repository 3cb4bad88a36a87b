"""A case: the inputs of one bisection, read from a flat TOML file. Read `Case` for the keys.

Paths in a case are relative to its file. Notebooks, papermill parameters and command line options override keys by name.
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kbench.errors import CaseError, ReproducerError
from kbench.evidence import SYZKALLER_RULE
from kbench.records import BuildSpec, MachineSpec, Target
from kbench.targets import REPRODUCER_CHECKS, TARGETS

_Seconds = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Words = str | list[str]
#: A reproducer or config larger than this is no such thing.
MAX_INPUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """All keys a case file may have. Only `repository` and `bad` are needed with a named target."""

    repository: str  # a git repository; never written to but for a worktree entry while kbench builds
    bad: str  # a revision that crashes
    good: _Words = field(default_factory=list)  # revisions that do not; none: walks back over the release tags
    kind: Literal["cause", "fix"] = "cause"  # fix: `good` is a later revision that no longer crashes
    name: str = ""  # shown in reports; the folder's name by default
    target: str = ""  # a kind of kernel that kbench knows; "": all of it is said by the keys below
    tags: str = "v*"  # release tags to walk back over, as a pattern
    oldest: str = ""  # the oldest release worth trying
    reproducer: str = ""  # file handed to the kernel at boot
    config: str = ""  # file with the kernel's config

    build: str | list[_Words] = ""  # command line, or a list of them; {source_tree} {build_dir} {config} {jobs} are filled in
    image: str = ""  # what QEMU loads, below the build folder or the source tree
    symbols: str = ""  # ELF file with symbols, when the image has none
    clean_build: bool | None = None  # start each build from a clean tree; false needs a Makefile that knows its dependencies
    build_timeout_s: _Seconds | None = None

    qemu: _Words = ""  # QEMU and its options; {image} {reproducer} {cmdline} are filled in
    machine: str = ""  # instead of `qemu`: a machine of qemu-system-x86_64 started with -kernel, e.g. "pc"
    cmdline: str | None = None  # the kernel's command line
    memory_mib: _Count | None = None
    booted: str | None = None  # patterns (regular expressions), each matched against single lines of the console
    done: str | None = None
    crashed: str | None = None
    test_failed: str | None = None
    boot_timeout_s: _Seconds | None = None
    silence_s: _Seconds | None = None
    timeout_s: _Seconds | None = None
    kvm: bool | None = None  # false: never use KVM
    linux_crashes: bool | None = None  # false: only `crashed` says what a crash is
    boot_failure: Literal["skip", "crash"] | None = None  # crash: that it does not boot is the bug

    strategy: str = "syzkaller"
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.95
    runs: _Count | None = None  # runs a revision; the strategy's own number by default
    max_builds: _Count | None = None  # budgets: the bisection stops and says so when one is spent
    max_runs: _Count | None = None
    max_seconds: _Seconds | None = None

    folder: Path = Path()  # where the case file is
    stem: str = "case"  # its name without ".toml"

    @property
    def good_ends(self) -> list[str]:
        """`good` as a list."""
        return [self.good] if isinstance(self.good, str) else self.good

    def path(self, name: str) -> Path:
        """Return a path of the case, relative ones taken from the case file's folder."""
        try:
            return self.folder / Path(name).expanduser()
        except RuntimeError as error:
            raise CaseError(f"case: expected a path, {name!r} names no user's folder; write it out") from error

    def read(self, key: str) -> bytes | None:
        """Return the content of the file a key names, None when the key is not given."""
        name = getattr(self, key)
        if not name:
            return None
        path = self.path(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CaseError(
                f"case: expected a file at {key} = {name!r}, {error.strerror}; paths are relative to {self.folder}"
            ) from error
        if len(content) > MAX_INPUT_BYTES:
            raise CaseError(
                f"case: expected {key} of {MAX_INPUT_BYTES} bytes at most, {name!r} has {len(content)}; give a smaller file"
            )
        return content

    def resolve(self) -> Target:
        """Return how this case's kernel is built and run: its target with the case's own keys on top.

        Raises
        ------
        CaseError
            An unknown target, or keys that are needed without one and missing.
        """
        base = _named_target(self.target) if self.target else self._own_target()
        build = _override(
            base.build,
            commands=_commands(self.build) if self.build else None,
            image=self.image or None,
            symbols=self.symbols or None,
            clean=self.clean_build,
            timeout_s=self.build_timeout_s,
        )
        machine = _override(
            base.machine,
            argv=self._qemu() if self.qemu or self.machine else None,
            **{
                name: getattr(self, name)
                for name in (
                    "cmdline",
                    "memory_mib",
                    "booted",
                    "done",
                    "crashed",
                    "test_failed",
                    "boot_timeout_s",
                    "silence_s",
                    "linux_crashes",
                    "boot_failure",
                    "timeout_s",
                    "kvm",
                )
            },
        )
        for name in filter(None, (self.image, self.symbols)):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise CaseError(
                    f"case: expected `image` and `symbols` below the build folder, {name!r} is not; give a relative path"
                )
        for name in ("booted", "done", "crashed", "test_failed"):
            _check_pattern(name, getattr(machine, name))
        return replace(base, build=build, machine=machine)

    def check_runs(self) -> None:
        """Raise CaseError when the strategy's verdict rule can never find so few runs bad."""
        if self.strategy == "syzkaller" and self.runs is not None and self.runs < SYZKALLER_RULE.min_crashes:
            raise CaseError(
                f"case: expected runs = {SYZKALLER_RULE.min_crashes} or more with 'syzkaller', which calls no single crash bad, "
                f"got {self.runs}; raise runs or choose strategy 'git'"
            )

    def check_reproducer(self) -> bytes | None:
        """Return the reproducer's content; raise ReproducerError when it cannot be what the target takes."""
        content = self.read("reproducer")
        if check := REPRODUCER_CHECKS.get(self.target):
            if content is None:
                raise ReproducerError("reproducer: expected a file in `reproducer`, the case names none; write one")
            try:
                check(content.decode())
            except UnicodeDecodeError:
                raise ReproducerError(f"reproducer: expected text, {self.reproducer!r} is binary; give a text file") from None
        return content

    def _own_target(self) -> Target:
        missing = [
            key for key, value in (("build", self.build), ("image", self.image), ("qemu", self.qemu or self.machine)) if not value
        ]
        if missing:
            names = ", ".join(sorted(TARGETS))
            raise CaseError(
                f"case: expected `target` ({names}) or else build, image and qemu, missing {', '.join(missing)}; add them"
            )
        return Target(
            name="custom",
            build=BuildSpec(commands=_commands(self.build), image=self.image, config=".config" if self.config else None),
            machine=MachineSpec(argv=self._qemu()),
        )

    def _qemu(self) -> tuple[str, ...]:
        if not self.qemu:
            line = ["qemu-system-x86_64", "-M", self.machine, "-kernel", "{image}", "-initrd", "{reproducer}"]
            return (*line, "-append", "{cmdline}") if self.cmdline else tuple(line)
        return _split("qemu", self.qemu)


#: The keys a case file may have, with their types.
KEYS = {item.name: item.type for item in fields(Case) if item.name not in ("folder", "stem")}


def load_case(path: Path | str, **overrides: Any) -> Case:
    """Read a case file and put overrides on top of its keys.

    Parameters
    ----------
    path : path
        The TOML file, or the folder it is in as `case.toml`.
    **overrides
        Keys of `Case`; None and "" leave a key as it is.

    Raises
    ------
    CaseError
        No such file, no TOML, an unknown key (the nearest known one is named) or a value of the wrong type.
    """
    if not isinstance(path, str | Path):
        raise CaseError(f"case: expected a path, got {path!r}; give the case file")
    path = Path(path)
    try:
        path = path / "case.toml" if path.is_dir() else path
        with path.open("rb") as file:
            keys = tomllib.loads(file.read(MAX_INPUT_BYTES).decode())
    except OSError as error:
        raise CaseError(
            f"case: expected a case file at {path}, {(error.strerror or str(error)).lower()}; `kbench lab create` makes one"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaseError(f"case: expected TOML in {path}, {error}; correct that line") from error
    return make_case(
        keys | {key: value for key, value in overrides.items() if value not in (None, "")},
        folder=path.resolve().parent,
        where=str(path),
        stem=path.stem,
    )


def make_case(keys: Mapping[str, Any], *, folder: Path, where: str = "the case", stem: str = "case") -> Case:
    """Check keys and return the case they make; see `load_case`."""
    known = list(KEYS)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "known keys: " + ", ".join(known)
            raise CaseError(f"case: expected known keys in {where}, seen {key!r}; {hint}")
    if "\0" in repr(keys).replace("\\x00", "\0"):
        raise CaseError(f"case: expected text in {where}, seen a NUL character; remove it")
    try:
        case = msgspec.convert(dict(keys), Case)
    except msgspec.ValidationError as error:
        raise CaseError(f"case: in {where}: {_readable(str(error))}; correct it") from error
    return replace(case, folder=folder, name=case.name or folder.name, stem=stem)


def _readable(message: str) -> str:
    """Turn msgspec's message into ours: "Expected `int`, got `str` - at `$.runs`"."""
    message = message[:1].lower() + message[1:]
    message = re.sub(r" - at `\$\.?(.*?)`$", lambda match: f" at {match[1]!r}" if match[1] else "", message)
    return message.replace("object missing required field", "expected the key")


def _named_target(name: str) -> Target:
    try:
        return TARGETS[name]
    except KeyError:
        raise CaseError(
            f"case: expected a target of {', '.join(sorted(TARGETS))}, seen {name!r}; or leave it out and give build, image, qemu"
        ) from None


def _override(spec: Any, **values: Any) -> Any:
    return replace(spec, **{name: value for name, value in values.items() if value is not None})


def _commands(build: str | list[_Words]) -> tuple[tuple[str, ...], ...]:
    commands = tuple(_split("build", command) for command in ([build] if isinstance(build, str) else build))
    if not all(commands):
        raise CaseError(f"case: expected commands at 'build', one of {build!r} is empty; remove it")
    return commands


def _split(key: str, command: _Words) -> tuple[str, ...]:
    if isinstance(command, list):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise CaseError(
            f"case: expected a command line at {key!r}, {str(error).lower()} in {command!r}; correct the quotes"
        ) from error


def _check_pattern(name: str, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise CaseError(f"case: expected a regular expression at {name!r}, {error} in {pattern!r}; correct it") from error
