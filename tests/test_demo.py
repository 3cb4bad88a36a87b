"""What `make demo` runs: a lab, the notebook through papermill, the pages, the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.qemu


def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "kbench", "lab", "demo", str(folder), "--json"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_demo_finds_the_planted_culprit_and_can_be_run_again(tmp_path: Path) -> None:
    for _ in range(2):
        done = demo(tmp_path / "demo")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["right"]
        assert found["culprit"] == found["planted"]
    files = {name: Path(path) for name, path in found["files"].items()}
    assert all(path.is_file() for path in files.values())
    notebook = json.loads(files["executed notebook"].read_text())
    assert not [out for cell in notebook["cells"] for out in cell.get("outputs", []) if out["output_type"] == "error"]
    assert notebook["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    page = files["the same as a page"].read_text()
    assert found["culprit"] in page
    assert "https://" not in page.split("</style>")[0], "nothing is loaded from elsewhere"


def test_demo_empties_no_folder_of_others(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "precious").read_text() == "mine"
