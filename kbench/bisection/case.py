"""A case: the inputs of one bisection, read from a flat TOML file. Read `Case` for the keys.

Paths in a case are relative to its file. Notebooks, papermill parameters and command line options override keys by name.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kbench.bisection import specs
from kbench.errors import CaseError, ReproducerError
from kbench.evidence import SYZKALLER_RULE
from kbench.records import Target
from kbench.targets import REPRODUCER_CHECKS

_Seconds = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_Count0 = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
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
    bad_subject: str = ""  # first line of the message of `bad`: finds it again when it was rewritten, as rebased trees do
    cross_tree: bool = False  # fix only: `bad` is of another tree, and the fix is searched from where that left the one of `good`
    name: str = ""  # shown in reports; the folder's name by default
    target: str = ""  # a kind of kernel that kbench knows; "": all of it is said by the keys below
    tags: str = "v*"  # release tags to walk back over, as a pattern
    oldest: str = ""  # the oldest release worth trying
    reproducer: str = ""  # file handed to the kernel at boot
    config: _Words = ""  # the kernel's config: a file, the name of a base kbench ships for Linux, or a list of them in order

    build: str | list[_Words] = ""  # command line, or a list of them; {source_tree} {build_dir} {config} {jobs} are filled in
    image: str = ""  # what QEMU loads, below the build folder or the source tree
    symbols: str = ""  # ELF file with symbols, when the image has none
    clean_build: bool | None = None  # start each build from a clean tree; false needs a Makefile that knows its dependencies
    build_timeout_s: _Seconds | None = None
    compiler: str = ""  # Linux only, by name, e.g. "gcc-11"; what fits the release, of those on this machine, by default
    backports: _Words = field(default_factory=list)  # Linux only: fixes (revisions) cherry-picked before each build
    host_access: bool | None = None  # User-Mode Linux only: true lets the guest at the host's network and files
    relevance: bool | None = None  # commits that cannot change the kernel are not built; by default where objects are kept

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
    rootfs: str = ""  # Linux only: a disk image, never written to, to run the reproducer in; "": a guest kbench makes
    snapshot: bool | None = None  # Linux in QEMU only: boot once and start each run from the saved machine
    repro_s: _Seconds | None = None  # Linux only: the guest ends a reproducer after so long, as clean
    lend: bool | None = None  # a kernel tested as another commit is not run again; true by default, but for "syzkaller"
    liveness: bool | None = None  # look whether clean runs got to the code that crashes; true by default where that can be seen

    strategy: str = "bayes"
    confidence: Annotated[float, msgspec.Meta(gt=0.5, lt=1)] = 0.95
    runs: _Count | None = None  # runs a revision; the strategy's own number by default
    proof: _Count0 | None = None  # runs of culprit, parent and reverted culprit at the end; 0: none, but for "bayes" the default
    max_builds: _Count | None = None  # budgets: the bisection stops and says so when one is spent
    max_runs: _Count | None = None
    max_seconds: _Seconds | None = None
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # revisions side by side: more of them, in fewer rounds ("bayes")

    executor: Literal["local", "dask"] = "local"  # where builds and runs happen
    scheduler: str = ""  # Dask only: its address, "tcp://host:8786" or "tls://host:8786"; whoever reaches it runs what they like
    artefacts: str = ""  # Dask only: what all machines share, a folder or a URL of fsspec ("s3://bucket/kbench")
    source: str = ""  # Dask only: `repository` as the workers reach it, a URL or a path of theirs; "": commits go by `artefacts`

    folder: Path = Path()  # where the case file is
    stem: str = "case"  # its name without ".toml"

    @property
    def good_ends(self) -> list[str]:
        """`good` as a list."""
        return [self.good] if isinstance(self.good, str) else self.good

    @property
    def configs(self) -> list[str]:
        """`config` as a list; a disk image has the shipped bases take what disks take."""
        named = ([self.config] if self.config else []) if isinstance(self.config, str) else self.config
        return [*named, *specs.disk_config(self, named)]

    def path(self, name: str) -> Path:
        """Return a path of the case, relative ones taken from the case file's folder."""
        try:
            return self.folder / Path(name).expanduser()
        except RuntimeError as error:
            raise CaseError(f"case: expected a path, {name!r} names no user's folder; write it out") from error

    def read(self, key: str) -> bytes | None:
        """Return the content of the file a key names, or of its files one after the other; None when the key is not given."""
        names = self.configs if key == "config" else filter(None, [getattr(self, key)])
        contents = [self._read(key, name) for name in names]
        return b"\n".join(contents) if contents else None

    def located(self, config: str) -> Path:
        """Return where a config is: the case's own file, else the base kbench ships under that name."""
        path = self.path(config)
        return path if path.exists() else specs.shipped_config(config) or path

    def _read(self, key: str, name: str) -> bytes:
        path = self.located(name) if key == "config" else self.path(name)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_INPUT_BYTES + 1)
        except OSError as error:
            bases = f"; or name a base: {', '.join(specs.shipped_configs())}" if key == "config" else ""
            raise CaseError(
                f"case: expected a file at {key} = {name!r}, {error.strerror}; paths are relative to {self.folder}{bases}"
            ) from error
        if len(content) > MAX_INPUT_BYTES:
            raise CaseError(f"case: expected {key} of {MAX_INPUT_BYTES} bytes at most, {name!r} has more; give a smaller file")
        return content

    def resolve(self) -> Target:
        """Return how this case's kernel is built and run: its target with the case's own keys on top.

        Raises
        ------
        CaseError
            An unknown target, or keys that are needed without one and missing.
        """
        return specs.target_of(self)

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
        target = self.resolve()
        if content is None and target.guest is not None and target.machine.boot_failure != "crash":
            raise ReproducerError(f"reproducer: expected one for target {target.name!r}, the case names none; add `reproducer`")
        if check := REPRODUCER_CHECKS.get(self.target):
            if content is None:
                raise ReproducerError("reproducer: expected a file in `reproducer`, the case names none; write one")
            try:
                check(content.decode())
            except UnicodeDecodeError:
                raise ReproducerError(f"reproducer: expected text, {self.reproducer!r} is binary; give a text file") from None
        return content


#: The keys a case file may have, with their types.
KEYS = {item.name: item.type for item in fields(Case) if item.name not in ("folder", "stem")}


def load_case(path: Path | str, **overrides: Any) -> Case:
    """Read a case file and put overrides on top of its keys.

    Parameters
    ----------
    path : path
        The TOML file, or the folder it is in as `case.toml`; "" for none: the overrides are the case, in the current folder.
    **overrides
        Keys of `Case`; None and "" leave a key as it is.

    Raises
    ------
    CaseError
        No such file, no TOML, an unknown key (the nearest known one is named) or a value of the wrong type.
    """
    if not isinstance(path, str | Path):
        raise CaseError(f"case: expected a path, got {path!r}; give the case file")
    given = {key: value for key, value in overrides.items() if value not in (None, "")}
    if path == "":
        return make_case(given, folder=Path.cwd(), where="the parameters")
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
    return make_case(keys | given, folder=path.resolve().parent, where=str(path), stem=path.stem)


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
