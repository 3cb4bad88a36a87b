"""A thousand workers for a real scheduler, in one process: `python -m tests.crowd ADDRESS N SLOTS`.

They speak a worker's part of Dask's protocol and answer every task at once, with nothing: what is left is the scheduler.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import time
from typing import Any

from distributed.comm.core import connect
from distributed.versions import get_versions

#: What a worker tells of itself with every heartbeat.
METRICS = {
    **dict.fromkeys(("cpu", "memory", "time", "event_loop_interval", "event_loop_interval_max", "transfer"), 0),
    "task_counts": {},
    "bandwidth": {"total": 100_000_000, "workers": {}, "types": {}},
    "digests_total_since_heartbeat": {},
    "managed_bytes": 0,
    "spilled_bytes": {"memory": 0, "disk": 0},
    "host_net_io": {},
    "host_disk_io": {},
    "num_fds": 1,
}


async def worker(scheduler: str, number: int, slots: int) -> None:
    """Register, then say of each task that it is done."""
    address = f"tcp://127.{number // 62500 + 1}.{number // 250 % 250}.{number % 250 + 1}:1"  # nobody ever calls
    comm = await connect(scheduler)
    register: dict[str, Any] = {
        **{"op": "register-worker", "reply": False, "address": address, "name": address, "server_id": address},
        **{"status": "running", "nthreads": slots + 1, "now": time.time(), "pid": os.getpid(), "nanny": None, "services": {}},
        **{"resources": {"build": 1, "machine": slots}, "memory_limit": 1 << 30, "local_directory": "", "extra": {}},
        **{"versions": get_versions(), "metrics": METRICS, "stimulus_id": f"worker-connect-{number}"},
    }
    await comm.write(register, serializers=["msgpack"])
    answer = await comm.read(deserializers=["msgpack"])
    assert answer["status"] == "OK", answer
    kind = pickle.dumps(int)
    while True:
        tasks = [message for message in await comm.read() if message["op"] == "compute-task"]
        done = [
            {
                **{"op": "task-finished", "status": "OK", "key": task["key"], "run_id": task["run_id"], "nbytes": 28},
                **{"type": kind, "typename": "int", "metadata": {}, "thread": 1, "stimulus_id": task["stimulus_id"]},
                "startstops": [{"action": "compute", "start": time.time(), "stop": time.time()}],
            }
            for task in tasks
        ]
        if done:
            await comm.write(done)


async def crowd(scheduler: str, n_workers: int, slots: int) -> None:
    """Hold so many workers until the scheduler is gone."""
    await asyncio.gather(*(worker(scheduler, number, slots) for number in range(n_workers)))


if __name__ == "__main__":
    asyncio.run(crowd(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
