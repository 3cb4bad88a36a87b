"""Hosts of their own on this machine: network namespaces at one bridge, and a Dask cluster of real processes on them."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kbench.records import BuildSpec, MachineSpec, Target

#: A lost host is noticed in seconds, not minutes.
SETTINGS = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",  # less is refused
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s",
    "DASK_DISTRIBUTED__WORKER__HEARTBEAT": "500ms",
    "DASK_DISTRIBUTED__DEATH_TIMEOUT": "3s",
}


def waits(seconds: float) -> bytes:
    """A kernel that runs by itself and waits rather than computes."""
    return f"#!/bin/sh\necho up\nsleep {seconds}\necho finished\n".encode()


def waiting(built: Path, seconds: float = 0.5) -> Target:
    """How that file becomes an image, after a wait; each build leaves a line, and a broken one fails."""
    wait = f"echo built >> {built}; sleep {seconds}; ! grep -q broken kernel"
    commands = (("sh", "-c", wait), ("cp", "kernel", "{build_dir}/kernel"))
    return Target("waits", BuildSpec(commands, "kernel"), MachineSpec(("{image}",), done="finished", linux_crashes=False))


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def within(name: str) -> list[str]:
    """What starts a program in a network namespace, also in a chroot, where `ip netns exec` cannot mount."""
    return ["nsenter", f"--net=/run/netns/{name}"]


def until(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait; fail with a word about what never came."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@dataclass
class Host:
    """A worker in a network namespace, or beside us."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]
    link: str = ""  # our end of its cable; "": it has none

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def processes(self) -> list[int]:
        """All that runs on this host, QEMU and compilers too."""
        return [int(line) for line in ip("netns", "pids", self.name).split()]

    def kill(self) -> None:
        """Kill -9: the worker, and nothing else."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def cut_off(self) -> None:
        ip("link", "set", self.link, "down")


@dataclass
class Hosts:
    """A Dask scheduler here, and workers on hosts."""

    folder: Path
    bridge: str = ""  # "": no namespaces, all on this machine's own network
    address: str = "127.0.0.1"
    port: int = 0
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))
    workers: list[Host] = field(default_factory=list)
    _scheduler: subprocess.Popen[bytes] | None = None

    @property
    def scheduler(self) -> str:
        return f"tcp://{self.address}:{self.port}"

    @property
    def artefacts(self) -> str:
        return str(self.folder / "artefacts")

    def start(self, n_workers: int, *, resources: str = "build=1 machine=2", threads: int = 3) -> None:
        """Start the scheduler and the workers, and wait until they have found each other."""
        with socket.socket() as free:
            free.bind((self.address, 0))
            self.port = free.getsockname()[1]
        self._scheduler = self._process(
            self.folder, "scheduler", "--host", self.address, "--port", str(self.port), "--no-dashboard"
        )
        for number in range(1, n_workers + 1):
            self.add(f"{self.bridge or 'kbench'}-{number}", number, resources=resources, threads=threads)
        for worker in self.workers:
            until(lambda worker=worker: worker.process.poll() is not None or "Registered to" in worker.log, "a worker", 90)  # type: ignore[misc]
            assert worker.process.poll() is None, worker.log

    def add(self, name: str, number: int, *, resources: str, threads: int) -> None:
        folder = self.folder / name
        (folder / "tmp").mkdir(parents=True)
        prefix, link = [], ""
        if self.bridge:
            link = f"{self.bridge}v{number}"
            ip("netns", "add", name)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", link, "master", self.bridge, "up")
            network = self.address.rpartition(".")[0]
            for words in (
                ("addr", "add", f"{network}.{number + 1}/24", "dev", "eth0"),
                ("link", "set", "eth0", "up"),
                ("link", "set", "lo", "up"),
            ):
                subprocess.run([*within(name), "ip", *words], check=True, capture_output=True)
            prefix = within(name)
        options = ("--nthreads", str(threads), "--resources", resources, "--no-nanny", "--no-dashboard", "--name", name)
        process = self._process(
            folder, "worker", self.scheduler, *options, "--local-directory", str(folder / "tmp"), prefix=prefix
        )
        self.workers.append(Host(name, folder, process, link))

    @property
    def scheduler_pid(self) -> int:
        assert self._scheduler is not None
        return self._scheduler.pid

    def kill_scheduler(self) -> None:
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()

    def stop(self) -> None:
        """End all processes and take hosts and cables away."""
        processes = [worker.process for worker in self.workers] + ([self._scheduler] if self._scheduler else [])
        for process in processes:
            process.kill()
            process.wait()
        for worker in self.workers if self.bridge else ():
            ip("netns", "del", worker.name)

    def _process(self, folder: Path, program: str, *words: str, prefix: list[str] | None = None) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).parents[1])
        places = {"KBENCH_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": root}
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        argv = [*(prefix or []), sys.executable, "-m", "distributed.cli.dask_" + program, *words]
        with (folder / "log").open("wb") as log:
            return subprocess.Popen(argv, env=os.environ | self.settings | places, stdout=log, stderr=log, cwd=folder)


@contextlib.contextmanager
def hosts(folder: Path, *, apart: bool) -> Iterator[Hosts]:
    """Hold a bridge for hosts, or none when they need not be apart; PermissionError where that is not allowed."""
    if not apart:
        yield from _held(Hosts(folder))
        return
    name, third = f"kb{os.getpid() % 100000}", random.Random(os.getpid()).randrange(1, 255)
    try:
        ip("link", "add", name, "type", "bridge")
        ip("netns", "add", f"{name}-probe")
        ip("netns", "del", f"{name}-probe")
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)
        raise PermissionError(f"no network namespaces: {getattr(error, 'stderr', '') or error}") from error
    try:
        ip("addr", "add", f"10.213.{third}.1/24", "dev", name)
        ip("link", "set", name, "up")
        yield from _held(Hosts(folder, name, f"10.213.{third}.1"))
    finally:
        ip("link", "del", name)


def _held(made: Hosts) -> Iterator[Hosts]:
    try:
        yield made
    finally:
        made.stop()
