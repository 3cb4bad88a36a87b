"""The project holds together: dependencies, floors, light imports, stripped notebooks."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "kbench").rglob("*.py"))

# DESIGN: a module imports only from floors below its own, or from its own package.
FLOORS = {
    "errors": 0,
    "records": 0,
    "text": 1,
    "resources": 1,
    "history": 1,
    "search": 1,
    "evidence": 1,
    "flakiness": 1,
    "crash": 1,
    "syzbot": 1,
    "reproducer": 1,
    "progress": 1,
    "hold": 1,
    "host": 1,
    "leases": 1,
    "leash": 2,
    "scratch": 2,
    "patterns": 1,
    "relevance": 1,
    "paper": 2,
    "targets": 2,
    "repository": 2,
    "kernels": 2,
    "machines": 2,
    "symbols": 2,
    "maintainers": 2,
    "opinion": 2,
    "judge": 3,
    "runs": 3,
    "liveness": 3,
    "foreign": 2,
    "journal": 3,
    "execution": 3,
    "bisection": 4,
    "minimise": 4,
    "lab": 5,
    "study": 5,
    "widgets": 6,
    "notebook": 6,
    "exchange": 6,
    "primitives": 6,
    "replay": 6,
    "running": 6,
    "sweep": 6,
    "doctor": 6,
    "speed": 6,
    "demo": 6,
    "cli": 6,
}
PURE = {
    "text",
    "relevance",
    "history",
    "search",
    "evidence",
    "flakiness",
    "crash",
    "syzbot",
    "reproducer",
    "records",
    "errors",
    "judge",
    "opinion",
}
EFFECTS = {"os", "subprocess", "time", "random", "git", "sqlite3", "ipywidgets", "socket", "asyncio", "shutil", "tempfile"}


def part(path: Path) -> str:
    """The name of the part of kbench a file belongs to."""
    relative = path.relative_to(ROOT / "kbench")
    return relative.parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Dotted names of all modules a file imports, late imports included, TYPE_CHECKING ones too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "kbench" else {node.module}
    return found


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if part(p) not in ("__init__", "__main__")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_only_from_floors_below(path: Path) -> None:
    own = part(path)
    for name in imports(path):
        if name.startswith("kbench."):
            other = name.split(".")[1]
            if other in FLOORS and other != own:
                assert FLOORS[other] < FLOORS[own] or (
                    FLOORS[own] == FLOORS[other] and own in _SIDEWAYS and other in _SIDEWAYS[own]
                ), f"{own} (floor {FLOORS[own]}) imports {other} (floor {FLOORS[other]})"


# On one floor, and in this direction only.
_SIDEWAYS = {
    "search": {"history", "evidence"},
    "evidence": {"resources"},
    "crash": {"evidence"},
    "leases": {"host"},
    "relevance": {"history"},
    "kernels": {"repository", "targets"},
    "runs": {"judge"},
    "liveness": {"runs"},
    "minimise": {"bisection"},
    "exchange": {"widgets"},
    "primitives": {"widgets", "progress", "exchange"},
    "replay": {"widgets"},
    "running": {"primitives", "widgets"},
    "sweep": {"notebook", "widgets"},
    "demo": {"notebook", "widgets"},
    "cli": set(FLOORS),
}


@pytest.mark.parametrize("path", [p for p in SOURCES if part(p) in PURE], ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_modules_import_no_effects(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & EFFECTS


def test_every_part_has_a_floor() -> None:
    assert {part(path) for path in SOURCES} - {"__init__", "__main__"} == set(FLOORS)


def names(requirements: list[str]) -> dict[str, str]:
    """Map package names, as PyPI normalises them, to their bounds."""
    split = [re.match(r"([A-Za-z0-9._-]+)(.*)", line) for line in requirements]
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2].strip() for match in split if match}


def test_environment_lists_the_same_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line.strip()[2:] for line in (ROOT / "environment.yml").read_text().splitlines() if line.strip().startswith("- ")]
    packages = [line for line in lines if line not in ("conda-forge", "pip", "pip:") and not line.startswith(("--", "python>"))]
    assert names(packages) == names(project["dependencies"] + project["optional-dependencies"]["dask"])
    assert f"python{project['requires-python']}" in lines


def test_import_is_light() -> None:
    """`import kbench` pulls in neither Jupyter nor the big libraries; so do the pure parts other programs use."""
    heavy = "IPython,ipywidgets,matplotlib,pandas,scipy,jupyterlab,papermill,anywidget,rich,click,git"
    code = f"import sys, kbench; print([n for n in '{heavy}'.split(',') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    code = code.replace("import sys, kbench", "import sys, kbench.search, kbench.crash, kbench.syzbot, kbench.history")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_primitives_are_functions() -> None:
    """No module shadows the four primitives, whatever was imported before."""
    code = "import kbench, kbench.runs, kbench.kernels, kbench.machines, kbench.bisection, kbench.primitives as p\n"
    code += "for n in ('build', 'boot', 'repro', 'bisect'): assert getattr(kbench, n) is getattr(p, n), n"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks_are_stripped_and_parameterised(path: Path) -> None:
    notebook = json.loads(path.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert code[0]["metadata"].get("tags") == ["parameters"]
    for line in "".join(code[0]["source"]).splitlines():
        assert re.fullmatch(r"\w+: [\w\[\]]+ = [^=|]+  # .+", line), line
    assert not any(re.search(r"^\s*def ", "".join(cell["source"]), re.MULTILINE) for cell in code)


def test_nothing_names_this_machine() -> None:
    """No absolute path of somebody's machine in what is committed."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, tracked):
        path = ROOT / name
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yml", ".ipynb", ".c", ".h", ".json", ""):
            assert not re.search(r"(?<![\w~$/])/(root|work|home/\w+)/", path.read_text(errors="replace")), name
