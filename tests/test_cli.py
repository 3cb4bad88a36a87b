"""The command line: help everywhere, JSON, exit codes, one clear line for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = ["doctor", "cache", "judge", "lab", "build", "boot", "repro", "bisect", "replay", "report", "preflight", "study"]


def kbench(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kbench", *map(str, words)], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command: str) -> None:
    done = kbench(command, "--help")
    assert done.returncode == 0
    assert "--json" in done.stdout or command == "lab"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bisect", "gone.toml"], "gone.toml"),
        (["bisect", "."], "case.toml"),
        (["report", "gone.toml"], "gone.toml"),
        (["replay", "gone.log"], "gone.log"),
        (["build", "gone@v1"], "gone"),
        (["build", "gone"], "REPOSITORY@REVISION"),
        (["build", ".", "--target", "vax"], "'vax'"),
        (["lab", "create", "here", "--kind", "vax"], "vax"),
        (["study", "--rate", "2"], "rate"),
        (["study", "--strategies", "guess"], "'guess'"),
    ],
)
def test_wrong_input_is_one_clear_line(tmp_path: Path, words: list[str], message: str) -> None:
    done = kbench(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir()), "nothing half-written"
    error = json.loads(kbench(*words, "--json", cwd=tmp_path).stdout)
    assert error["exit_code"] == 2


def test_unknown_command_and_option(tmp_path: Path) -> None:
    assert kbench("bisekt").returncode == 2
    assert kbench("bisect").returncode == 2
    for setting, message in (
        ("oops", "KEY=VALUE"),
        ("output=x", "'output'"),
        ("stategy=git", "did you mean 'strategy'"),
        ("runs=x", "runs"),
    ):
        done = kbench("bisect", tmp_path, "--set", setting)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert message in done.stderr


def test_settings_keep_hashes_as_text() -> None:
    from kbench.cli.bisections import _settings

    assert _settings(["bad=1234567", "good=12e4567", "runs=5", "kvm=false", 'tags="w*"']) == {
        "bad": "1234567",
        "good": "12e4567",
        "runs": 5,
        "kvm": False,
        "tags": "w*",
    }
    assert _settings(['good=["a", "b"]']) == {"good": ["a", "b"]}


def test_study_tells_what_it_measured() -> None:
    scores = json.loads(kbench("study", "--strategies", "git,syzkaller", "--trials", 5, "--commits", 60, "--json").stdout)
    assert [score["strategy"] for score in scores] == ["git", "syzkaller"]
    assert all(score["right"] == 1.0 for score in scores), "with p = 1 and no noise every strategy is right"


def test_doctor_says_what_to_install() -> None:
    told = json.loads(kbench("doctor", "--json").stdout)
    checks = told["checks"]
    assert {"python", "git", "gcc", "qemu-system-i386", "kvm", "memory", "jupyterlab"} <= {check["name"] for check in checks}
    assert all(check["ok"] or check["advice"] for check in checks)
    assert all(check["package"] in told["install"] for check in checks if check["package"])
    assert (told["ready"], told["speed"]) == (all(check["ok"] for check in checks if check["needed"]), None)


def test_doctor_of_a_machine_that_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "apt-get").touch(mode=0o755)
    done = subprocess.run(
        [sys.executable, "-m", "kbench", "doctor"],
        env={"PATH": str(tmp_path), "KBENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    *_, verdict, install = done.stdout.splitlines()
    assert verdict.startswith("kbench cannot work without git, make, gcc")
    assert "apt-get install bc binutils bison" in install
    assert next(line for line in done.stdout.splitlines() if " git " in line).endswith("→ apt-get install git")


@pytest.mark.qemu
def test_doctor_measures_and_says_how_long_linux_takes() -> None:
    done = kbench("doctor", "--bench", "--json")
    assert done.returncode == 0, done.stderr
    speed = json.loads(done.stdout)["speed"]
    assert 0 < speed["boot_s"] <= speed["run_s"]
    assert speed["build_cpu_s"] > 0
    linux = speed["linux"]
    assert 60 < linux["low_s"] < linux["high_s"]
    assert "540 files" in linux["rests_on"]
