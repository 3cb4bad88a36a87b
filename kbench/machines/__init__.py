"""Machines: QEMU or User-Mode Linux as a child, its console read, its end told apart. Read `run_machine` and `boot` first.

Knows nothing of bisections and verdicts. All machines of a process live on one event loop in a thread of their own; no
machine outlives the process, whatever it dies of.
"""

from kbench.machines.guest import initramfs
from kbench.machines.kvm import accelerator, kvm_runs_guests
from kbench.machines.loop import machine_loop, run
from kbench.machines.machine import Completed, Machine, boot
from kbench.machines.unattended import MachineRun, run_machine
from kbench.machines.watch import Ending

__all__ = [
    "Completed",
    "Ending",
    "Machine",
    "MachineRun",
    "accelerator",
    "boot",
    "initramfs",
    "kvm_runs_guests",
    "machine_loop",
    "run",
    "run_machine",
]
