"""Config minimisation: configs as sets of options, the driver on a table of kernels, and a real one on User-Mode Linux."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kbench.errors import BuildError, CaseError, InputError, KbenchError
from kbench.kernels.fragments import is_whole, render, settings
from kbench.minimise import MinimisedConfig, Setting, minimise
from kbench.minimise.options import config_of, differences, instrumentation
from kbench.records import KernelImage, Outcome, Run, Verdict
from kbench.search.ddmin import Keep
from kbench.targets import TARGETS
from tests.conftest import linux_base
from tests.fast_import import Commit, make_repository

TITLE = "KASAN: slab-use-after-free Read in frob"
BASE = {"64BIT": "y", "BUG": "y", "HZ": "100"}
OPTIONS = ["NET", "INET", "IPV6", "AIO", "KASAN", "LOCKDEP", "PROVE_LOCKING", "UBSAN", "DEBUG_KMEMLEAK", "FUSE", "XFS", "TIPC"]
FULL = BASE | dict.fromkeys(OPTIONS, "y") | {"HZ": "250"}
DEPENDS = {"INET": "NET", "IPV6": "INET", "TIPC": "INET"}
SELECTED = {"LOCKDEP": "PROVE_LOCKING"}  # has no prompt


# Configs as sets of options.


def test_differences_are_values_and_absences() -> None:
    found = differences({"A": "y", "B": "n", "C": '"x"', "D": "y"}, {"A": "y", "B": "y", "C": '"y"', "E": "m", "F": "n"})
    assert found == (Setting("B", "n"), Setting("C", '"x"'), Setting("D", "y"), Setting("E", "n"))


def test_a_candidate_says_everything() -> None:
    """The baseline, what is kept, and what was dropped switched off by name."""
    text = config_of([Setting("AIO", "y")], full=FULL, bare=BASE)
    assert is_whole(text)
    assert settings(text) == dict.fromkeys(FULL, "n") | BASE | {"AIO": "y"}


@pytest.mark.parametrize(
    ("types", "groups"),
    [
        ({"KASAN-READ"}, [{"DEBUG_KMEMLEAK"}, {"UBSAN"}, {"LOCKDEP", "PROVE_LOCKING"}]),
        ({"WARNING", "LOCKDEP"}, [{"DEBUG_KMEMLEAK"}, {"UBSAN"}, {"KASAN"}]),
        ({"MEMORY_SAFETY_UBSAN", "LEAK"}, [{"KASAN"}, {"LOCKDEP", "PROVE_LOCKING"}]),
    ],
)
def test_instrumentation_goes_by_crash_type(types: set[str], groups: list[set[str]]) -> None:
    assert [{item.option for item in group} for group in instrumentation(differences(FULL, BASE), types)] == groups


# The driver, on kernels that are only configs.


@dataclass
class TableOfKernels:
    """Makes a kernel of any config as Kconfig would, and says what its runs show."""

    folder: Path
    shows: Callable[[dict[str, str], int], Run]  # (final config, number of the run)
    broken: Callable[[dict[str, str]], bool] = lambda _: False
    blind: frozenset[str] = frozenset()  # options that leave no trace in a kernel
    built: list[dict[str, str]] = field(default_factory=list)
    ran: dict[str, set[Path]] = field(default_factory=dict)  # by signature: folders of consoles, one a test
    held: int = 0

    def __call__(self, config: str | None) -> TableOfKernels:
        assert self.held == 0, "two laboratories at once"
        self.held, self.config = 1, config
        return self

    def check(self) -> None:
        """Nothing is missing."""

    def close(self) -> None:
        self.held = 0

    def build(self, commit: str) -> KernelImage:
        asked = BASE if self.config is None else settings(self.config)
        final = {name: value for name, value in asked.items() if value != "n" and name not in SELECTED}
        for name, needed in DEPENDS.items():
            if needed not in final:
                final.pop(name, None)
        final |= {name: "y" for name, by in SELECTED.items() if by in final}
        if self.broken(final):
            raise BuildError("fs/xfs/xfs.c:1:1: error: no", log="", file="fs/xfs/xfs.c", timed_out=False)
        self.built.append(final)
        text = "# Linux/um 6.12.0 Kernel Configuration\n" + render(final)
        seen = {name: value for name, value in final.items() if name not in self.blind}
        signature = hashlib.sha256(render(dict(sorted(seen.items()))).encode()).hexdigest()
        path = self.folder / hashlib.sha256(text.encode()).hexdigest()
        path.write_text(text)
        return KernelImage(path, None, signature, TARGETS["um"], commit, config=path)

    def run(self, kernel: KernelImage, numbers: Sequence[int], console: Callable[[int], Path]) -> Iterator[tuple[int, Run]]:
        assert kernel.config
        self.ran.setdefault(kernel.signature, set()).add(console(0).parent)
        for number in numbers:
            yield number, self.shows(settings(kernel.config.read_text()), number)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    [commit] = make_repository(tmp_path / "linux", [Commit(files={"Kconfig": b"\n"})])
    (tmp_path / "kernel.config").write_text("# Linux/um 6.12.0 Kernel Configuration\n" + render(FULL))
    path = tmp_path / "case.toml"
    path.write_text(f'repository = "linux"\nbad = "{commit}"\ntarget = "um"\nconfig = "kernel.config"\nname = "frob"\n')
    return path


def crash(*needed: str) -> Callable[[dict[str, str], int], Run]:
    return lambda config, number: Run(Outcome.CRASHED, TITLE) if set(needed) <= set(config) else Run(Outcome.OK)


def test_only_what_the_crash_needs_stays(case: Path, tmp_path: Path) -> None:
    """An option, one deep in the dependencies of others, and their evidence."""
    kernels, seen = TableOfKernels(tmp_path, crash("KASAN", "IPV6")), list[MinimisedConfig]()
    found = minimise(case, laboratory=kernels, on_change=seen.append)
    assert {str(one.setting) for one in found.kept} == {"KASAN=y", "IPV6=y", "INET=y", "NET=y"}
    assert all(one.why == Keep.NEEDED.value and (one.crashed, one.runs) == (0, 5) for one in found.kept)
    assert next(one.others for one in found.kept if one.setting.option == "NET") == 2  # those that depend on it
    assert found.complete and not found.untested
    assert settings(found.config) == BASE | dict.fromkeys(["KASAN", "IPV6", "INET", "NET"], "y")
    assert (found.before.k, found.before.n) == (20, 20) and (found.after.k, found.after.n) == (5, 5)
    assert found.path == case.parent / "case.kbench" / "config.min" and found.path.read_text() == found.config
    assert "  IPV6=y   needed  0 of 5 runs crash\n" in (found.path.parent / "config.min.txt").read_text()
    assert len(kernels.ran) == len(found.tests) and all(len(tests) == 1 for tests in kernels.ran.values())
    assert found.runs == sum(test.n_runs for test in found.tests) and found.builds == len(found.tests) + 1  # the baseline's
    assert len(seen[0].dropped) == 0 and seen[-1].kept == found.kept
    printed = json.loads(json.dumps(found.to_json()))
    assert {"option": "KASAN", "value": "y", "why": "needed", "crashed": 0, "runs": 5} in printed["kept"]
    assert printed["after"]["k"] == 5 and len(printed["dropped"]) == len(found.dropped) == 9


def test_unneeded_instrumentation_goes_first(case: Path, tmp_path: Path) -> None:
    kernels = TableOfKernels(tmp_path, crash("KASAN"))
    found = minimise(case, laboratory=kernels, builds=1)
    assert {item.option for item in found.dropped} == {"UBSAN", "LOCKDEP", "PROVE_LOCKING", "DEBUG_KMEMLEAK"}
    assert not found.complete and {item.option for item in found.untested} >= {"KASAN", "AIO"}
    assert "not tried: " in str(found)


def test_equal_kernels_are_run_once(case: Path, tmp_path: Path) -> None:
    """An option without a trace in the kernel costs a build and no run."""
    kernels = TableOfKernels(tmp_path, crash("AIO"), blind=frozenset(OPTIONS) - {"AIO"})
    found = minimise(case, laboratory=kernels)
    assert [str(one.setting) for one in found.kept] == ["AIO=y"]
    assert all(len(tests) == 1 for tests in kernels.ran.values()) and any(test.n_runs == 0 for test in found.tests)


def test_what_does_not_build_stays(case: Path, tmp_path: Path) -> None:
    kernels = TableOfKernels(
        tmp_path, crash("AIO"), broken=lambda config: "FUSE" in FULL and "FUSE" not in config and "AIO" in config
    )
    found = minimise(case, laboratory=kernels)
    why = {one.setting.option: one.why for one in found.kept}
    assert why == {"AIO": Keep.NEEDED.value, "FUSE": Keep.UNTESTABLE.value}
    assert any(test.failure and test.verdict is Verdict.SKIP for test in found.tests)


def test_another_crash_is_not_the_bug(case: Path, tmp_path: Path) -> None:
    """A config that crashes otherwise says nothing, however often it does."""

    def shows(config: dict[str, str], number: int) -> Run:
        return Run(Outcome.CRASHED, TITLE if {"KASAN", "NET"} <= set(config) else "WARNING in frob")

    found = minimise(case, laboratory=TableOfKernels(tmp_path, shows))
    assert {one.setting.option: one.why for one in found.kept} == dict.fromkeys(["NET", "KASAN"], Keep.UNTESTABLE.value)


def test_a_rarer_crash_is_no_smaller_config(case: Path, tmp_path: Path) -> None:
    """Without HZ=250 one run in five crashes: less than a third, and less than before."""

    def shows(config: dict[str, str], number: int) -> Run:
        often = config.get("HZ") == "250" or number % 5 == 0
        return Run(Outcome.CRASHED, TITLE) if "AIO" in config and often else Run(Outcome.OK)

    found = minimise(case, laboratory=TableOfKernels(tmp_path, shows))
    assert {str(one.setting) for one in found.kept} == {"AIO=y", "HZ=250"}
    assert next(one for one in found.kept if one.setting.option == "HZ").crashed == 1


def test_the_page_shows_the_table_escaped(case: Path, tmp_path: Path) -> None:
    found = minimise(case, laboratory=TableOfKernels(tmp_path, crash("AIO")), output=tmp_path / "<out>")
    page = found._repr_html_()
    assert page.count("<tr>") == 2 and html.escape("crash rate 1.00") in page
    case.write_text(case.read_text().replace("frob", "<b>frob"))
    assert "<b>" not in minimise(case, laboratory=TableOfKernels(tmp_path, crash("AIO")))._repr_html_()


def test_a_case_that_does_not_crash_is_refused(case: Path, tmp_path: Path) -> None:
    with pytest.raises(KbenchError, match="expected a crash with the case's config, 20 of 20 runs were clean"):
        minimise(case, laboratory=TableOfKernels(tmp_path, crash("NOTHING")))


def test_wrong_input_is_named(case: Path, tmp_path: Path) -> None:
    kernels = TableOfKernels(tmp_path, crash("AIO"))
    with pytest.raises(InputError, match="runs of 1 or more"):
        minimise(case, runs=0, laboratory=kernels)
    with pytest.raises(InputError, match=r"config file as the baseline, or 'um', seen 'nowhere\.config'"):
        minimise(case, baseline="nowhere.config", laboratory=kernels)
    text = case.read_text()
    case.write_text(text.replace('target = "um"', 'target = "lab"'))
    with pytest.raises(CaseError, match="expected a Linux target, seen 'lab'"):
        minimise(case, laboratory=kernels)
    case.write_text(text.replace('config = "kernel.config"', ""))
    with pytest.raises(CaseError, match="expected a file in `config`"):
        minimise(case, laboratory=kernels)
    assert not kernels.built


# A real one.

READS_ITSELF = """#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
	const char *line = "BUG: a process was let into another\\n";
	char from = 1, to = 0;
	struct iovec local = {&to, 1}, remote = {&from, 1};

	if (process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1)
		write(open("/dev/kmsg", O_WRONLY), line, strlen(line));
	return 0;
}
"""
#: None of these is named by a header that much includes, so that a build of fewer of them takes seconds.
MORE = ["CROSS_MEMORY_ATTACH", "KCMP", "IKCONFIG", "IKCONFIG_PROC", "CRC7", "CRC16"]


@pytest.mark.linux
def test_one_option_of_user_mode_linux(tmp_path: Path) -> None:
    """Of all that a config has more than the base, only the option of the system call that crashes is left."""
    linux = linux_base()
    (tmp_path / "repro.c").write_text(READS_ITSELF)
    (tmp_path / "more.config").write_text(render(dict.fromkeys(MORE, "y")))
    (tmp_path / "case.toml").write_text(
        f'repository = "{linux.repository}"\nbad = "{linux.commit}"\ntarget = "um"\n'
        'reproducer = "repro.c"\nconfig = "more.config"\n'
    )
    found = minimise(tmp_path, baseline="um")
    assert {item.option for item in found.dropped} >= set(MORE) - {"CROSS_MEMORY_ATTACH"}
    assert [(str(one.setting), one.why) for one in found.kept] == [("CROSS_MEMORY_ATTACH=y", Keep.NEEDED.value)]
    assert found.complete and found.before.estimate == found.after.estimate == 1.0
    final = settings(found.config)
    assert final["CROSS_MEMORY_ATTACH"] == "y" and all(final.get(option, "n") == "n" for option in MORE[1:])
    assert found.builds <= 2 + 6
    again = minimise(tmp_path)
    assert again.config == found.config and all(test.cached for test in again.tests)
