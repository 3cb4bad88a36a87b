"""What came of the runs of a sweep, on disk and as one table. Read `results` first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kbench.errors import InputError
from kbench.host import storage

if TYPE_CHECKING:
    import pandas as pd

    from kbench.sweep.plan import Plan, Row

ORDER = "sweep.json"  # the runs of a sweep, in order
TEMPLATE = "notebook.ipynb"  # what they run
_RECORD = "run.json"


@dataclass(frozen=True, slots=True)
class Record:
    """One run that ended.

    Attributes
    ----------
    status : str
        "done" or "failed".
    seconds : float
        Wall clock.
    error : str
        Why it failed, in a line.
    result : mapping
        What the notebook left; see `kbench.notebook.leave_result`.
    """

    id: str
    parameters: Mapping[str, Any]
    status: str
    seconds: float
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


class _Order(msgspec.Struct):
    name: str
    notebook: str
    ids: list[str]
    parameters: list[dict[str, Any]]


def write_record(row: Row, record: Record) -> None:
    """Put a record into the folder of its run, as a whole or not at all."""
    _write(row.folder / _RECORD, record)


def read_record(folder: Path) -> Record | None:
    """Return the record in the folder of a run; None when it has not ended."""
    try:
        return msgspec.json.decode((folder / _RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def write_order(plan: Plan) -> None:
    """Note which runs a sweep has, and keep the notebook they run.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    with storage("sweep", plan.folder):
        held = [path for path in plan.folder.iterdir() if not path.name.startswith(".")]
    if held and not (plan.folder / ORDER).is_file():
        raise InputError(f"sweep: expected {plan.folder} to be new or a sweep's, it holds something else; give another output")
    parameters = [dict(row.parameters) for row in plan.rows]
    _write(plan.folder / ORDER, _Order(plan.name, str(plan.notebook), [row.id for row in plan.rows], parameters))
    with storage("sweep", plan.folder):
        (plan.folder / TEMPLATE).write_bytes(plan.content)


def results(folder: Path | str) -> pd.DataFrame:
    """Return one row a run, in the sweep's order, also while it runs.

    Columns are `run`, `status` ("done", "failed" or "open"), `seconds`, `error`, each parameter as `parameters.NAME`, and each
    value of the results, `costs.builds` for what is nested.

    Raises
    ------
    InputError
        If there is no sweep in the folder.
    """
    import pandas as pd  # a second of import

    folder = Path(folder)
    try:
        order = msgspec.json.decode((folder / ORDER).read_bytes(), type=_Order)
    except (OSError, msgspec.DecodeError) as err:
        raise InputError(f"sweep: expected a sweep in {folder}, found none; give the folder of one") from err
    rows = []
    for run, given in zip(order.ids, order.parameters, strict=True):
        record = read_record(folder / run) or Record(run, {}, "open", math.nan)
        rows.append(
            {"run": run, "status": record.status, "seconds": record.seconds, "error": record.error}
            | {f"parameters.{name}": value for name, value in given.items()}
            | flat(record.result)
        )
    return pd.DataFrame(rows)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Tables within tables as names with dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _write(path: Path, value: object) -> None:
    with storage("sweep", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
        partial.replace(path)
