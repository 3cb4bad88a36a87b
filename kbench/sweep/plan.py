"""What a sweep runs: a notebook, and parameters one row a run. Read `read_plan` first."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kbench.errors import InputError
from kbench.host import usable_cores
from kbench.notebook import check_parameters
from kbench.resources import notebooks_dir

MAX_ROWS = 100_000
FOLDER = "{folder}"  # in a text: the run's own folder
_ID_DIGITS = 12
_MAX_S = 10_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One run.

    Attributes
    ----------
    id : str
        12 hex digits of the notebook's content and the parameters: what differs in either is another run.
    parameters : mapping
        As the notebook gets them.
    varied : mapping
        Those that differ between runs, as the sweep says them.
    folder : Path
        The run's own: its notebook, its record, and what the notebook puts where `{folder}` says.
    """

    id: str
    parameters: Mapping[str, Any]
    varied: Mapping[str, Any]
    folder: Path

    @property
    def notebook(self) -> Path:
        """The executed notebook."""
        return self.folder / "notebook.ipynb"


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep as its file says it; see `read_plan`."""

    name: str
    notebook: Path
    content: bytes  # of the notebook, as it was checked and as it is run
    folder: Path  # where all runs go
    cwd: Path  # where notebooks run: paths among the parameters are relative to it
    jobs: int
    timeout_s: float | None  # of one cell
    rows: tuple[Row, ...]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    notebook: str
    output: str = ""
    jobs: int = 0
    timeout_s: float | None = None
    parameters: dict[str, Any] = {}
    grid: dict[str, list[Any]] = {}
    runs: list[dict[str, Any]] = []


def read_plan(path: Path, *, output: Path | None = None, jobs: int | None = None) -> Plan:
    """Read a sweep file and check every run against the notebook, before anything runs.

    Parameters
    ----------
    path : Path
        TOML: `notebook` (a path, or the name of one that kbench ships), `[parameters]` of every run, `[grid]` lists of values
        of which every combination is run, `[[runs]]` rows each of which is combined with those, and `output`, `jobs` (runs side
        by side; the usable cores by default), `timeout_s` (of one cell). Paths are relative to the file. In a text,
        `{folder}` is the run's own folder.
    output, jobs : optional
        Instead of the file's.

    Raises
    ------
    InputError
        If the file, a name or a type is wrong, or two runs are the same.
    """
    path = path.absolute()
    told = _read(path)
    home = path.parent
    notebook = _notebook(told.notebook, home)
    folder = (output or (home / told.output if told.output else path.with_suffix(".sweep"))).absolute()
    content = notebook.read_bytes() if notebook.is_file() else b""
    rows = _rows(told, content, folder)
    for row in rows:
        check_parameters(notebook, row.parameters)
    return Plan(path.stem, notebook, content, folder, home, jobs or told.jobs or usable_cores(), told.timeout_s, rows)


def _read(path: Path) -> _File:
    try:
        told = msgspec.toml.decode(path.read_bytes(), type=_File)
    except OSError as err:
        raise InputError(f"sweep: expected a sweep file, {path}: {err.strerror}; give the path of a TOML file") from err
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as err:
        raise InputError(f"sweep: expected a sweep in TOML, {path.name}: {err}; see `kbench sweep --help`") from err
    if told.jobs < 0:
        raise InputError(f"sweep: jobs must be 1 or more, got {told.jobs}; 0 is the usable cores")
    if told.timeout_s is not None and not 0 < told.timeout_s <= _MAX_S:
        raise InputError(
            f"sweep: timeout_s must be above 0 and at most {_MAX_S}, got {told.timeout_s}; leave it out for no limit"
        )
    return told


def _notebook(name: str, home: Path) -> Path:
    shipped = notebooks_dir() / f"{name}.ipynb"
    return shipped if name.replace("_", "").isalnum() and shipped.is_file() else home / name


def _rows(told: _File, content: bytes, folder: Path) -> tuple[Row, ...]:
    empty = sorted(name for name, values in told.grid.items() if not values)
    if empty:
        raise InputError(f"sweep: each list of [grid] needs a value, {', '.join(empty)} has none; give one, or leave it out")
    for name in told.grid:
        if any(name in run for run in told.runs):
            raise InputError(f"sweep: {name} is in [grid] and in [[runs]]; give it in one of them")
    size = max(len(told.runs), 1)
    for values in told.grid.values():
        size *= len(values)
        if size > MAX_ROWS:
            raise InputError(f"sweep: at most {MAX_ROWS} runs, [grid] and [[runs]] make more; split the sweep")
    rows: dict[str, Row] = {}
    for run, *values in itertools.product(told.runs or [{}], *told.grid.values()):
        varied = {**run, **dict(zip(told.grid, values, strict=True))}
        row = _row({**told.parameters, **varied}, varied, content, folder)
        if row.id in rows:
            raise InputError(f"sweep: every run has to differ from the others, two have {dict(varied)}; remove one")
        rows[row.id] = row
    return tuple(rows.values())


def _row(parameters: Mapping[str, Any], varied: Mapping[str, Any], content: bytes, folder: Path) -> Row:
    try:
        text = json.dumps(parameters, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise InputError(f"sweep: parameters must be texts, numbers, lists or tables, got {parameters}; {err}") from err
    identity = hashlib.sha256(hashlib.sha256(content).digest() + text.encode()).hexdigest()[:_ID_DIGITS]
    own = folder / identity
    return Row(identity, {name: _filled(value, own) for name, value in parameters.items()}, varied, own)


def _filled(value: Any, own: Path) -> Any:
    if isinstance(value, str):
        return value.replace(FOLDER, str(own))
    if isinstance(value, list):
        return [_filled(one, own) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, own) for name, one in value.items()}
    return value
