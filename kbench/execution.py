"""Where experiments run when one machine is not enough: a Dask cluster. Read `Cluster` first.

A task is a function of kbench's own and plain records; workers have the same kbench installed. It takes one of its worker's
`build` or `machine` resources, and no worker is given more than it has. A worker that is lost costs the tasks it had: the
scheduler gives them to others, `distributed.scheduler.allowed-failures` times at most, then they are lost for good.

Many bisections share a cluster: the n-th task of a batch has Dask's priority -n, so a long batch goes behind the first tasks of
all others, whoever came first. A Dask scheduler asks nobody who they are: whoever reaches it runs what they like on every
worker. Keep it in a network of its own, or use TLS, whose options are `distributed`'s own (`distributed.comm.tls`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from kbench.errors import HeldError, LostMachineError, MachineLacksError
from kbench.hold import Hold, current

if TYPE_CHECKING:
    from distributed import Client, Future

Resource = Literal["build", "machine"]
#: So long the first worker is waited for, and, when there are some, one with the resource.
PATIENCE_S, GRACE_S = 300.0, 10.0


@dataclass(frozen=True, slots=True)
class Task:
    """One call on a worker."""

    resource: Resource
    function: Callable[..., Any]  # importable by name on the worker
    arguments: tuple[Any, ...]
    key: str | None = None  # equal keys are one call, whichever bisection asks; None: a call of its own
    place: int = 0  # in its batch: later ones give way to other bisections


class Cluster:
    """A connection to a Dask cluster, for one bisection.

    Parameters
    ----------
    where : str, or a cluster or client of Dask
        The scheduler's address, "tcp://host:8786" or "tls://host:8786"; a cluster object, as of dask-jobqueue or
        dask-kubernetes; or a `distributed.Client`, which stays open.

    Raises
    ------
    MachineLacksError
        Dask is not installed, or nobody answers there.
    """

    def __init__(self, where: Any) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise MachineLacksError(
                "cluster: expected the package distributed, found none; pip install 'kbench[dask]'"
            ) from error
        self._own = not isinstance(where, Client)
        try:
            self._client: Client = Client(where, name="kbench", set_as_default=False) if self._own else where
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise MachineLacksError(
                f"cluster: expected a Dask scheduler at {str(where)[:200]}, {error or 'no answer'}; "
                "start `dask scheduler`, or correct `scheduler`"
            ) from error
        self.address = str(self._client.scheduler.address if self._client.scheduler else where)

    def slots(self, resource: Resource) -> int:
        """Return how many tasks of a resource the cluster carries out at once."""
        return int(sum(worker["resources"].get(resource, 0) for worker in self._workers()))

    def first(self, task: Task) -> Any:
        """Carry out the first task of a resource: wait for a worker that has it; a cluster may grow when it is asked to.

        Raises
        ------
        MachineLacksError
            No worker comes, or none has the resource; as for `result`.
        """
        future, began = self.submit(task), time.monotonic()
        while not future.done():
            n_workers = len(self._workers())
            if not self.slots(task.resource) and time.monotonic() - began > (GRACE_S if n_workers else PATIENCE_S):
                raise MachineLacksError(
                    f"cluster: expected a worker with the resource {task.resource!r} at {self.address}, none of {n_workers} has "
                    "it; start some: dask worker ADDRESS --nthreads 5 --resources 'build=1 machine=4'"
                )
            time.sleep(0.05)
        return self.result(future)

    def submit(self, task: Task) -> Future[Any]:
        """Hand a task in and return its future; `result` waits for it, and letting go of it gives it up."""
        with self._reached():
            return self._client.submit(
                task.function,
                *task.arguments,
                key=task.key,
                pure=False,
                resources={task.resource: 1},
                priority=-task.place,
            )

    def result(self, future: Future[Any]) -> Any:
        """Wait for a task and return what it came to, or raise what it raised.

        Raises
        ------
        LostMachineError
            Too many workers were lost while they had it.
        MachineLacksError
            The scheduler is gone.
        HeldError
            Somebody paused or stopped the work of this thread; see `kbench.hold`.
        """
        from distributed import KilledWorker

        hold, woken = current(), threading.Event()
        future.add_done_callback(lambda _: woken.set())
        with hold.heard(lambda: woken.set() if hold.interrupted else None):
            while not (woken.wait(1.0) or future.done() or self._client.status != "running"):
                pass  # a callback may be lost with the scheduler
        _leave(hold)
        with self._reached():
            try:
                return future.result()
            except KilledWorker as error:
                raise LostMachineError(
                    f"cluster: expected a worker to finish, {error.allowed_failures + 1} were lost on the way; see their logs"
                ) from error

    def batch(self, tasks: Iterable[tuple[int, Task | Future[Any]]], at_once: int) -> Iterator[tuple[int, Future[Any]]]:
        """Yield (number, future) as tasks end, `at_once` of them handed in at a time; closing it gives up the others.

        So does a pause or stop of this thread's work, as HeldError.
        """
        from distributed import as_completed

        waiting, numbers = iter(tasks), dict[Any, int]()

        def more(count: int) -> Iterator[Future[Any]]:
            for number, task in islice(waiting, count):
                future = self.submit(task) if isinstance(task, Task) else task
                numbers[future.key] = number
                yield future

        going = as_completed(list(more(at_once)), loop=self._client.loop)
        hold = current()
        with hold.heard(lambda: going.clear() if hold.interrupted else None):
            for future in going:
                yield numbers.pop(future.key), future
                del future  # or the worker keeps what it came to
                going.update(list(more(1)))
        _leave(hold)

    def _workers(self) -> list[dict[str, Any]]:
        with self._reached():
            return list(self._client.scheduler_info(n_workers=-1)["workers"].values())

    def close(self) -> None:
        """Give up what is not done, and the connection."""
        if self._own:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.close(timeout=5)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn the loss of the scheduler into an error that says what to do."""
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError

        try:
            yield
        except (CancelledError, CommClosedError, TimeoutError) as error:
            raise MachineLacksError(
                f"cluster: expected the scheduler at {self.address}, lost it ({type(error).__name__}); "
                "start it and its workers, and start again: nothing is lost"
            ) from error


def _leave(hold: Hold) -> None:
    if hold.interrupted:
        raise HeldError("cluster: somebody paused or stopped this; what is missing can be done later")
