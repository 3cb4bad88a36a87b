"""The runs of a sweep, side by side. Read `run_sweep`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from filelock import FileLock, Timeout

from kbench.errors import InputError, KbenchError, StorageError
from kbench.host import storage
from kbench.leash import Leash
from kbench.notebook import execute
from kbench.sweep.index import write_index
from kbench.sweep.plan import Plan, Row
from kbench.sweep.records import TEMPLATE, Record, read_record, write_order, write_record

_INDEX_EVERY_S = 5.0
_STOP_S = 20.0  # papermill sees within five that a kernel is gone


def run_sweep(plan: Plan, *, retry: bool = False, show: Callable[[Record], object] = lambda record: None) -> list[Record]:
    """Run what has not been run yet and return a record of every run, in the plan's order.

    Kill it at any time and start it again: runs that ended are not run again, the others from their beginning (a
    bisection goes on from its journal). `index.html` in the sweep's folder is kept up to date.

    Parameters
    ----------
    plan : Plan
    retry : bool
        Run those that failed once more.
    show : callable, optional
        Gets each record as its run ends, those that had ended before included.

    Raises
    ------
    InputError
        If another process runs a sweep in this folder, or it holds something else.
    StorageError
        If there is no room for the records.
    """
    with storage("sweep", plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.folder / ".lock")
    try:
        with lock.acquire(timeout=0):
            write_order(plan)
            return _run(plan, retry, show)
    except Timeout as err:
        raise InputError(f"sweep: {plan.folder} is in use by another sweep; wait for it, or give another output") from err


def _run(plan: Plan, retry: bool, show: Callable[[Record], object]) -> list[Record]:
    records = {row.id: record for row in plan.rows if (record := read_record(row.folder))}
    if retry:
        records = {run: record for run, record in records.items() if record.status == "done"}
    for record in records.values():
        show(record)
    runs = _Runs(plan)
    shown = -_INDEX_EVERY_S
    with ThreadPoolExecutor(plan.jobs, thread_name_prefix="sweep") as pool:
        try:
            waiting: set[Future[Record]] = {pool.submit(runs.run, row) for row in plan.rows if row.id not in records}
            while waiting:
                if time.monotonic() - shown >= _INDEX_EVERY_S:
                    write_index(plan, records)
                    shown = time.monotonic()
                ended, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ended:
                    record = future.result()
                    records[record.id] = record
                    show(record)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runs.stop()
            raise
    write_index(plan, records)
    return [records[row.id] for row in plan.rows]


class _Runs:
    # Runs notebooks, each in the thread that asks; `stop` ends them all.

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._leashes: dict[str, Leash] = {}
        self._stopped = False

    def run(self, row: Row) -> Record:
        plan, leash = self._plan, Leash()
        self._leashes[row.id] = leash
        if self._stopped:
            leash.end()
        started = time.monotonic()
        try:
            with storage("sweep", row.folder):
                row.folder.mkdir(parents=True, exist_ok=True)
            found = execute(
                plan.folder / TEMPLATE,
                row.notebook,
                row.parameters,
                timeout_s=plan.timeout_s,
                cwd=plan.cwd,
                leaves_result=False,
                leash=leash,
            )
            status, error = "done", ""
        except KbenchError as err:
            if isinstance(err, StorageError) and "output" not in err.evidence:
                raise  # of the sweep's folder; a cell's own is that run's failure
            found, status, error = {}, "failed", str(err)
        finally:
            del self._leashes[row.id]
        record = Record(row.id, row.parameters, status, round(time.monotonic() - started, 3), error, found)
        if not self._stopped:  # a kernel that was ended has not failed
            write_record(row, record)
        return record

    def stop(self) -> None:
        """End all kernels, also those that are just being started, and wait for their threads to see it."""
        self._stopped = True
        for leash in list(self._leashes.values()):
            leash.end()
