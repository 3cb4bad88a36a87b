"""What a kernel has to be configured with for a crash to be seen, as data. Read `DETECTORS`."""

from __future__ import annotations

# Options (without CONFIG_) of which one is needed, by how a title begins; the first entry that fits decides. Options that took
# another one's place stand beside it. Source: the Kconfig files that lie beside what prints the reports.
DETECTORS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("KASAN:", ("KASAN",)),
    ("KMSAN:", ("KMSAN",)),
    ("KCSAN:", ("KCSAN",)),
    ("KFENCE:", ("KFENCE",)),
    ("UBSAN:", ("UBSAN",)),
    ("memory leak in", ("DEBUG_KMEMLEAK",)),
    ("possible deadlock in", ("PROVE_LOCKING",)),
    ("inconsistent lock state in", ("PROVE_LOCKING",)),
    ("WARNING: suspicious RCU usage in", ("PROVE_RCU",)),
    ("WARNING: locking bug in", ("LOCKDEP",)),
    ("WARNING: bad unlock balance in", ("LOCKDEP",)),
    ("BUG: bad unlock balance in", ("LOCKDEP",)),
    ("WARNING: held lock freed in", ("DEBUG_LOCK_ALLOC",)),
    ("BUG: held lock freed in", ("DEBUG_LOCK_ALLOC",)),
    ("WARNING: still has locks held in", ("LOCKDEP",)),
    ("BUG: still has locks held in", ("LOCKDEP",)),
    ("WARNING: lock held when returning to user space", ("LOCKDEP",)),
    ("INFO: trying to register non-static key in", ("LOCKDEP",)),
    ("WARNING: ODEBUG bug in", ("DEBUG_OBJECTS",)),
    ("INFO: task hung in", ("DETECT_HUNG_TASK",)),
    ("INFO: task can't die in", ("DETECT_HUNG_TASK",)),
    ("BUG: soft lockup in", ("SOFTLOCKUP_DETECTOR", "LOCKUP_DETECTOR")),
    ("BUG: workqueue lockup", ("WQ_WATCHDOG",)),
    ("BUG: sleeping function called from invalid context in", ("DEBUG_ATOMIC_SLEEP",)),
    ("BUG: using", ("DEBUG_PREEMPT",)),
    ("BUG: spinlock", ("DEBUG_SPINLOCK",)),
    ("BUG: rwlock", ("DEBUG_SPINLOCK",)),
    ("BUG: corrupted list in", ("LIST_HARDENED", "DEBUG_LIST", "BUG_ON_DATA_CORRUPTION")),
    ("BUG: bad usercopy in", ("HARDENED_USERCOPY",)),
    ("WARNING: bad usercopy in", ("HARDENED_USERCOPY",)),
    ("kernel panic: stack is corrupted in", ("STACKPROTECTOR", "CC_STACKPROTECTOR", "CC_STACKPROTECTOR_STRONG")),
    ("kernel panic: corrupted stack end in", ("SCHED_STACK_END_CHECK",)),
    ("kernel BUG in", ("BUG",)),
    ("WARNING", ("BUG",)),
)
