"""Case files: every way to get one wrong has one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from kbench.bisection.case import Case, load_case
from kbench.errors import CaseError, ReproducerError

OWN = """
repository = "repo"
bad = "main"
build = "make -j{jobs} 'CFLAGS=-O2 -g'"
image = "kernel.elf"
qemu = "qemu-system-i386 -kernel {image} -m 32"
booted = "^hello"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "case.toml"
    path.write_text(text)
    return path


def test_own_kernel_needs_no_python(tmp_path: Path) -> None:
    target = load_case(write(tmp_path, OWN)).resolve()
    assert target.build.commands == (("make", "-j{jobs}", "CFLAGS=-O2 -g"),)
    assert target.build.clean, "objects are kept only when the case says that the Makefile knows its dependencies"
    assert target.machine.argv[0] == "qemu-system-i386"
    assert target.machine.booted == "^hello"


def test_named_target_with_keys_on_top(tmp_path: Path) -> None:
    case = load_case(write(tmp_path, 'repository = "r"\nbad = "b"\ntarget = "lab"\nsilence_s = 7\n'))
    assert case.resolve().machine.silence_s == 7
    assert case.resolve().build.image == "labkernel.elf"


def test_folder_stands_for_its_case_file(tmp_path: Path) -> None:
    write(tmp_path, OWN)
    case = load_case(tmp_path)
    assert case.name == tmp_path.name
    assert case.path("repo") == tmp_path / "repo"


def test_overrides_win_and_empty_ones_do_not(tmp_path: Path) -> None:
    case = load_case(write(tmp_path, OWN), bad="v2", strategy="", runs=3, config=None)
    assert (case.bad, case.strategy, case.runs) == ("v2", Case.__dataclass_fields__["strategy"].default, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + "bulid = 'make'", "did you mean 'build'"),
        (OWN + "runs = 'ten'", "'runs'"),
        (OWN + "runs = 0", "'runs'"),
        (OWN + "kind = 'effect'", "'kind'"),
        (OWN + "confidence = 2.0", "'confidence'"),
        (OWN + "timeout_s = -1", "'timeout_s'"),
        ("bad = 'main'", "repository"),
        ("repository = ", "expected TOML"),
        ("repository = 'r'\nbad = 'b'\ntarget = 'vax'", "'vax'"),
        ("repository = 'r'\nbad = 'b'\nbuild = 'make'", "missing image, qemu"),
        (OWN + "done = '('", "regular expression"),
        (OWN.replace('image = "kernel.elf"', 'image = "../kernel.elf"'), "'../kernel.elf'"),
        (OWN + 'config = "a\\u0000b"', "NUL"),
        (OWN.replace("build = ", "build = [[]]\nname = "), "empty"),
        (OWN + "runs = 99999999999999999999", "'runs'"),
        (OWN.replace('"repo"', '"~nosuchuser/x"') + "reproducer = '~nosuchuser/y'", "nosuchuser"),
        (OWN + "boot_failure = 'maybe'", "'boot_failure'"),
        (OWN.replace("'CFLAGS", "CFLAGS"), "quotes"),
    ],
)
def test_bad_cases_have_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        found = load_case(write(tmp_path, text))
        found.resolve()
        found.check_reproducer()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


LINUX = 'repository = "r"\nbad = "b"\ntarget = "um"\n'


def test_keys_for_linux_reach_the_specs(tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(b"")
    keys = 'compiler = "gcc-11"\nbackports = ["abc", "def"]\nhost_access = true\nrepro_s = 3\n'
    um = load_case(write(tmp_path, LINUX + keys)).resolve()
    assert (um.build.compiler, um.build.backports, um.build.host_access) == ("gcc-11", ("abc", "def"), True)
    assert um.machine.repro_s == 3
    on_disk = load_case(write(tmp_path, LINUX + 'rootfs = "disk.img"\n')).resolve()
    assert on_disk.machine.rootfs == str(tmp_path / "disk.img")
    qemu = load_case(
        write(tmp_path, LINUX.replace("um", "qemu-x86_64") + 'rootfs = "disk.img"\nsnapshot = true\nmachine = "q35"\n')
    )
    machine = qemu.resolve().machine
    assert (machine.rootfs, machine.snapshot) == (str(tmp_path / "disk.img"), True)
    assert machine.argv[machine.argv.index("-M") + 1] == "q35"
    assert "console=ttyS0" in " ".join(machine.argv), "the rest of the target stays"


def test_a_config_is_a_base_a_file_or_both(tmp_path: Path) -> None:
    (tmp_path / "mine.config").write_text("CONFIG_MINE=y\n")
    base = load_case(write(tmp_path, LINUX), config="um").read("config")
    assert base and b"CONFIG_" in base
    both = load_case(write(tmp_path, LINUX + 'config = ["um", "mine.config"]\n')).read("config")
    assert both == base + b"\n" + b"CONFIG_MINE=y\n"
    (tmp_path / "um").write_text("CONFIG_OWN=y\n")
    assert load_case(write(tmp_path, LINUX), config="um").read("config") == b"CONFIG_OWN=y\n", "a file of that name wins"
    with pytest.raises(CaseError, match=r"paths are relative to .* or name a base: .*x86_64"):
        load_case(write(tmp_path, LINUX), config="umm").read("config")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + 'compiler = "gcc-11"', "`compiler` with a target of qemu-aarch64, qemu-x86_64, um, got 'custom'"),
        (OWN + "backports = ['abc']", "`backports`"),
        (OWN + "liveness = true", "`liveness`"),
        (OWN + "repro_s = 3", "`repro_s`"),
        (LINUX + "snapshot = true", "`snapshot` with a target of qemu-aarch64, qemu-x86_64, got 'um'"),
        (LINUX + 'machine = "q35"', "`machine` with a target that runs in QEMU"),
        (LINUX.replace("um", "qemu-x86_64") + 'rootfs = "gone.img"', "'gone.img'"),
        (OWN + "config = ['a', 'b']", "one config"),
        (LINUX + "relevance = 'yes'", "'relevance'"),
        (LINUX + "repro_s = 0", "'repro_s'"),
    ],
)
def test_keys_without_effect_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CaseError) as caught:
        load_case(write(tmp_path, text)).resolve()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="expected a case file"):
        load_case(tmp_path / "no.toml")
    with pytest.raises(CaseError, match="expected a case file"):
        load_case(tmp_path)


def test_missing_inputs(tmp_path: Path) -> None:
    case = load_case(write(tmp_path, OWN), reproducer="gone.txt")
    with pytest.raises(CaseError, match=r"gone\.txt"):
        case.check_reproducer()
    lab = load_case(write(tmp_path, 'repository = "r"\nbad = "b"\ntarget = "lab"\n'))
    with pytest.raises(ReproducerError, match="names none"):
        lab.check_reproducer()
    with pytest.raises(ReproducerError, match="for target 'um'"):
        load_case(write(tmp_path, LINUX)).check_reproducer()
    assert load_case(write(tmp_path, LINUX), boot_failure="crash").check_reproducer() is None
    write(tmp_path, 'repository = "r"\nbad = "b"\ntarget = "lab"\n')
    (tmp_path / "repro.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ReproducerError, match="binary"):
        load_case(tmp_path, reproducer="repro.txt").check_reproducer()


def test_runs_a_strategy_can_judge(tmp_path: Path) -> None:
    load_case(write(tmp_path, OWN), strategy="git", runs=1).check_runs()
    with pytest.raises(CaseError, match="runs = 2 or more"):
        load_case(write(tmp_path, OWN), strategy="syzkaller", runs=1).check_runs()


def test_strange_files(tmp_path: Path) -> None:
    with pytest.raises(CaseError):
        load_case("/dev/zero")
    with pytest.raises(CaseError):
        load_case(tmp_path / ("x" * 300))
    with pytest.raises(CaseError, match="expected TOML"):
        load_case(write(tmp_path, "a = " + "[" * 100_000))
