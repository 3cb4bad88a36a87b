"""Drop from a case's config what its crash does not need: builds and runs for the search to learn from. Read `minimise` first.

`kbench.search.ddmin` chooses what to leave out and judges runs; here its sets become configs, kernels and runs.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kbench.bisection.case import Case, load_case
from kbench.bisection.laboratory import LocalLaboratory
from kbench.crash.titles import type_of
from kbench.errors import BuildError, CaseError, InputError, KbenchError
from kbench.flakiness import rate
from kbench.host import storage
from kbench.kernels import Store
from kbench.kernels.fragments import settings
from kbench.minimise.options import Setting, config_of, differences, instrumentation
from kbench.minimise.result import ConfigTest, KeptOption, MinimisedConfig
from kbench.records import KernelImage, Outcome, Run, Verdict, count_titles
from kbench.repository import Repository
from kbench.search.ddmin import CrashRule, Keep, Minimiser

#: P(an option that the bug needs is dropped) over a whole minimisation.
RISK = 0.05
#: The case's own config is run in so many batches: everything is compared with it.
ORIGINAL_BATCHES = 4


class ConfigLaboratory(Protocol):
    """Builds and runs the kernel of one config; what `kbench.bisection.laboratory.Laboratory` says of these holds here too."""

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit."""
        ...

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        """Yield (number, run) as the runs end."""
        ...

    def close(self) -> None:
        """Let everything go."""
        ...


MakeLaboratory = Callable[[str | None], ConfigLaboratory]  # of a config's text; None is the base kbench ships


def minimise(
    case: Case | Path | str,
    *,
    baseline: Path | str = "",
    builds: int = 30,
    runs: int = 5,
    output: Path | None = None,
    on_change: Callable[[MinimisedConfig], None] | None = None,
    jobs: int | None = None,
    store: Store | None = None,
    laboratory: MakeLaboratory | None = None,
) -> MinimisedConfig:
    """Drop from a case's config what its crash does not need, at the case's `bad` revision.

    Writes `config.min` and a table, `config.min.txt`. Started again, it finds its kernels in the store and only runs them.

    Parameters
    ----------
    case : Case or path
        As for a bisection, with a Linux target and a config.
    baseline : path or str
        A config that builds and boots, to come as near to as can be: a file, or the name of the base kbench ships for the
        target (the default).
    builds : int
        Kernels to build at most, besides the case's and the baseline's.
    runs : int
        Runs of a candidate before it is judged; more follow while chance would explain what they showed.
    output : Path, optional
        Folder of what is written; `CASE.kbench` beside the case by default.
    on_change : callable, optional
        Called with what is known so far after every test.
    jobs, store
        As for `Builder`.
    laboratory : callable, optional
        Returns who builds and runs the kernels of a config; this machine by default.

    Raises
    ------
    InputError
        Not a Linux target, no config, no such baseline, or wrong numbers.
    BuildError
        The kernel of the case's config, or of the baseline, does not build.
    KbenchError
        The case's config does not crash.
    """
    if runs < 1 or builds < 0:
        raise InputError(f"minimise: expected runs of 1 or more and builds of 0 or more, got {runs} and {builds}; correct them")
    chosen = case if isinstance(case, Case) else load_case(case)
    config, base = _case_config(chosen), _baseline(chosen, baseline)
    repository = Repository(chosen.path(chosen.repository))
    folder = (output or chosen.folder / f"{chosen.stem}.kbench").absolute()
    make = laboratory or _local(chosen, repository, jobs=jobs, store=store)
    bench = _Bench(make, repository.resolve(chosen.bad), folder / "minimise", runs)
    work = _Work(chosen.name, bench, config, base, builds=builds)
    tell = on_change or (lambda _: None)
    tell(work.result())
    while (asked := work.search.ask()) is not None:
        work.test(asked)
        tell(work.result())
    return work.result(_write(folder, work.result()))


@dataclass(frozen=True, slots=True)
class _Kernel:
    """The kernel of a config."""

    image: KernelImage
    asked: str | None  # the text it was built from
    config: str  # the .config that became


class _Bench:
    """Builds and runs the kernels of configs, at one commit."""

    def __init__(self, make: MakeLaboratory, commit: str, consoles: Path, runs: int) -> None:
        self._make, self.commit, self._consoles, self.runs = make, commit, consoles, runs
        self._number = 0
        self.build_s = self.test_s = 0.0

    def build(self, config: str | None) -> _Kernel:
        """Return the kernel of a config; BuildError when it does not build."""
        started = time.monotonic()
        try:
            with contextlib.closing(self._make(config)) as laboratory:  # one at a time: all build in the same place
                image = laboratory.build(self.commit)
        finally:
            self.build_s += time.monotonic() - started
        if image.config is None:
            raise InputError(f"minimise: expected the build to leave its .config, {image.target.name!r} does not; choose another")
        return _Kernel(image, config, image.config.read_text(encoding="utf-8", errors="replace"))

    def run(self, kernel: _Kernel, enough: Callable[[list[Run]], bool]) -> list[Run]:
        """Run the reproducer batch by batch until it is enough."""
        started, done = time.monotonic(), list[Run]()
        self._number += 1
        folder = self._consoles / f"{self._number:03d}"
        with contextlib.closing(self._make(kernel.asked)) as laboratory:
            while not done or not enough(done):
                numbers = range(len(done), len(done) + self.runs)
                done += [run for _, run in laboratory.run(kernel.image, numbers, lambda n: folder / f"run-{n:02d}.txt")]
        self.test_s += time.monotonic() - started
        return done


class _Work:
    """One minimisation: the case's config is run and the baseline built, then the search asks."""

    def __init__(self, name: str, bench: _Bench, config: str, baseline: str | None, *, builds: int) -> None:
        self._name, self._bench = name, bench
        original = bench.build(config)
        done = bench.run(original, lambda done: len(done) >= ORIGINAL_BATCHES * bench.runs)
        self._titles = set(count_titles(done))
        crashed, clean, useless = self._count(done)
        if not crashed:
            raise KbenchError(
                f"minimise: expected a crash with the case's config, {clean} of {len(done)} runs were clean and {useless} say "
                "nothing; run it by `kbench repro`, or raise runs"
            )
        self._before = self._after = rate(crashed, crashed + clean)
        self._rule = CrashRule(self._before.estimate, self._before.low, risk=RISK / max(builds, 1))
        self._base = bench.build(baseline)
        self._full, self._bare = settings(original.config), settings(self._base.config)
        items = differences(self._full, self._bare)
        self.search = Minimiser(items, groups=instrumentation(items, set(map(type_of, self._titles))), builds=builds)
        self._smallest = original
        self._tests = [_tested(frozenset(items), Verdict.BAD, (crashed, clean, useless), original, len(done))]

    def test(self, asked: frozenset[Setting]) -> None:
        """Build what the search asked for, run it unless the answer is known, and tell."""
        try:
            kernel = self._bench.build(config_of(asked, full=self._full, bare=self._bare)) if asked else self._base
        except BuildError as error:
            self._tests.append(ConfigTest(asked, Verdict.SKIP, failure=str(error)))
            self.search.tell(asked, asked, Verdict.SKIP)
            return
        effective = frozenset(differences(settings(kernel.config), self._bare))
        verdict = self.search.recall(effective)
        if verdict is None:
            self._tests.append(self._run(kernel, effective))
            verdict = self._tests[-1].verdict
        before = len(self.search.kept)
        self.search.tell(asked, effective, verdict)
        if len(self.search.kept) < before:
            seen = next(test for test in self._tests if test.kept == effective)
            self._smallest, self._after = kernel, rate(seen.crashed, seen.crashed + seen.clean)

    def _run(self, kernel: _Kernel, effective: frozenset[Setting]) -> ConfigTest:
        same = next((test for test in self._tests if test.signature == kernel.image.signature), None)
        if same is not None:  # another config, the same kernel
            return _tested(effective, same.verdict, (same.crashed, same.clean, same.useless), kernel, 0)
        done = self._bench.run(kernel, lambda done: self._rule.judge(*self._count(done)) is not None)
        counts = self._count(done)
        verdict = self._rule.judge(*counts)
        assert verdict is not None  # it was enough
        return _tested(effective, verdict, counts, kernel, len(done))

    def _count(self, done: Iterable[Run]) -> tuple[int, int, int]:
        # Runs with the bug's crash, clean ones, and those that say nothing.
        runs = list(done)
        crashed = sum(run.outcome is Outcome.CRASHED and run.title in self._titles for run in runs)
        clean = sum(run.outcome is Outcome.OK for run in runs)
        return crashed, clean, len(runs) - crashed - clean

    def result(self, path: Path | None = None) -> MinimisedConfig:
        """Return what is known now."""
        kept = self.search.kept
        return MinimisedConfig(
            name=self._name,
            commit=self._bench.commit,
            config=self._smallest.config,
            kept=tuple(self._kept(item, frozenset(kept)) for item in kept),
            dropped=tuple(item for item in self.search.items if item not in set(kept)),
            complete=self.search.complete,
            before=self._before,
            after=self._after,
            tests=tuple(self._tests),
            builds=2 + self.search.builds,
            build_s=self._bench.build_s,
            test_s=self._bench.test_s,
            path=path,
        )

    def _kept(self, item: Setting, kept: frozenset[Setting]) -> KeptOption:
        why = self.search.why(item)
        without = [test for test in self._tests if item not in test.kept and test.verdict is Verdict.GOOD]
        if why is not Keep.NEEDED or not without:
            return KeptOption(item, why.value)
        nearest = min(without, key=lambda test: len(kept - test.kept))
        return KeptOption(item, why.value, nearest.crashed, nearest.crashed + nearest.clean, len(kept - nearest.kept) - 1)


def _tested(kept: frozenset[Setting], verdict: Verdict, counts: tuple[int, int, int], kernel: _Kernel, n_runs: int) -> ConfigTest:
    return ConfigTest(kept, verdict, *counts, signature=kernel.image.signature, cached=kernel.image.cached, n_runs=n_runs)


def _case_config(case: Case) -> str:
    """Return the text of a case's config, which it has to have."""
    if case.resolve().build.linux is None:
        raise CaseError(f"minimise: expected a Linux target, seen {case.target or 'none'!r}; set target, to 'um' for one")
    content = case.read("config")
    if content is None:
        raise CaseError("minimise: expected a file in `config`, the case names none and is built with the base; add the config")
    return content.decode(errors="replace")


def _baseline(case: Case, baseline: Path | str) -> str | None:
    """Return the text of a baseline; None is what kbench ships for the target."""
    linux = case.resolve().build.linux
    if str(baseline) in ("", linux.base if linux else ""):
        return None
    try:
        return Path(baseline).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"minimise: expected a config file as the baseline, or {linux.base if linux else ''!r}, seen {str(baseline)!r}: "
            f"{(error.strerror or str(error)).lower()}; correct the path"
        ) from error


def _local(case: Case, repository: Repository, *, jobs: int | None, store: Store | None) -> MakeLaboratory:
    """Return what makes this machine's laboratory for a config."""
    case.check_reproducer()
    target, kept = case.resolve(), store or Store()
    reproducer = case.path(case.reproducer) if case.reproducer else None

    def make(config: str | None) -> LocalLaboratory:
        return LocalLaboratory(repository, target, config=config, reproducer=reproducer, store=kept, jobs=jobs)

    make(None).check()
    return make


def _write(folder: Path, result: MinimisedConfig) -> Path:
    """Write the config and its table, and return where the config is."""
    path = folder / "config.min"
    with storage("minimise", folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((path.name, result.config), (f"{path.name}.txt", f"{result}\n")):
            aside = folder / f".{name}.new"
            aside.write_text(content, encoding="utf-8")
            aside.replace(folder / name)
    return path
