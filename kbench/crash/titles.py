"""Crash titles: cleaned of what differs from run to run, and the types they belong to. Read `clean` first.

The rules are syzkaller's, so that titles can be compared with syzbot's.
"""

from __future__ import annotations

import re

MAX_TITLE = 120  # bytes

_UNPRINTABLE = re.compile(r"[^ -~]")
_CLEANING = (
    (re.compile(r"(syz-executor|syzkaller)[0-9.]+"), r"\1"),
    (re.compile(r"(?<![\w.])(?:0x)?[0-9a-f]{6,}(?!\w)"), "ADDR"),
    (re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.])"), "IP"),
    (re.compile(r"(\w\.(?:c|cc|cpp|h|S|s|rs|go)):[0-9]+(?::[0-9]+)?"), r"\1:LINE"),
    (re.compile(r"(\w)\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?"), r"\1"),
    (re.compile(r"CPU#[0-9]+"), "CPU"),
    (re.compile(r"\b[0-9]+\b|[0-9]{7,}"), "NUM"),
)

# The first entry with a prefix of the title decides. Source: the types of syzkaller's pkg/report/crash.
TYPES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("KFENCE-USE-AFTER-FREE-WRITE", ("KFENCE: use-after-free write",)),
    ("KFENCE-USE-AFTER-FREE-READ", ("KFENCE: use-after-free",)),
    ("KFENCE-WRITE", ("KFENCE: invalid write", "KFENCE: out-of-bounds write")),
    ("KFENCE-READ", ("KFENCE: invalid read", "KFENCE: out-of-bounds")),
    ("KFENCE-MEMORY-CORRUPTION", ("KFENCE: memory corruption",)),
    ("KFENCE-INVALID-FREE", ("KFENCE: invalid free",)),
    ("KMSAN-UNINIT-VALUE", ("KMSAN: uninit-value",)),
    (
        "KMSAN-USE-AFTER-FREE-READ",
        ("KMSAN: kernel-infoleak-after-free", "KMSAN: kernel-usb-infoleak-after-free", "KMSAN: use-after-free"),
    ),
    ("KMSAN-INFO-LEAK", ("KMSAN: kernel-infoleak", "KMSAN: kernel-usb-infoleak")),
    ("KASAN-NULL-POINTER-DEREFERENCE-WRITE", ("KASAN: null-ptr-deref Write",)),
    ("KASAN-NULL-POINTER-DEREFERENCE-READ", ("KASAN: null-ptr-deref Read",)),
    ("NULL-POINTER-DEREFERENCE", ("BUG: unable to handle kernel NULL pointer dereference in",)),
    (
        "KASAN-WRITE",
        tuple(
            f"KASAN: {bug} Write"
            for bug in (
                "global-out-of-bounds", "out-of-bounds", "slab-out-of-bounds", "stack-out-of-bounds",
                "user-memory-access", "vmalloc-out-of-bounds", "wild-memory-access",
            )
        ),
    ),
    (
        "KASAN-READ",
        (
            "KASAN: slab-out-of-bounds", "KASAN: stack-out-of-bounds", "KASAN: wild-memory-access",
            *(
                f"KASAN: {bug} Read"
                for bug in (
                    "global-out-of-bounds", "invalid-access", "out-of-bounds", "unknown-crash", "user-memory-access",
                    "vmalloc-out-of-bounds",
                )
            ),
        ),
    ),
    ("KASAN-INVALID-FREE", ("KASAN: double-free or invalid-free", "KASAN: invalid-free")),
    ("KASAN-USE-AFTER-FREE-WRITE", ("KASAN: slab-use-after-free Write", "KASAN: use-after-free Write")),
    ("KASAN-USE-AFTER-FREE-READ", ("KASAN: slab-use-after-free Read", "KASAN: use-after-free")),
    ("MEMORY_SAFETY_BUG", ("BUG: corrupted list", "BUG: unable to handle kernel paging request")),
    ("REFCOUNT_WARNING", ("WARNING: refcount bug",)),
    ("MEMORY_SAFETY_UBSAN", ("UBSAN: array-index-out-of-bounds",)),
    ("KCSAN-DATARACE", ("KCSAN: data-race",)),
    ("KCSAN-ASSERT", ("KCSAN: assert: race in",)),
    (
        "LOCKDEP",
        (
            "BUG: bad unlock balance in", "BUG: held lock freed in", "BUG: rwlock", "BUG: spinlock",
            "BUG: still has locks held in", "BUG: using", "WARNING: bad unlock balance in",
            "WARNING: held lock freed in", "WARNING: lock held", "WARNING: locking bug in",
            "WARNING: nested lock was not taken in", "WARNING: still has locks held in",
            "WARNING: suspicious RCU usage in", "inconsistent lock state in", "possible deadlock in",
        ),
    ),
    ("ATOMIC_SLEEP", ("BUG: scheduling while atomic in", "BUG: sleeping function called from invalid context in")),
    ("LEAK", ("memory leak in",)),
    ("BUG", ("BUG: bad usercopy in", "kernel BUG")),
    ("WARNING", ("WARNING in",)),
    (
        "",
        (
            "BUG: stack guard page was hit in", "WARNING: corrupted", "WARNING: kernel stack frame pointer has bad value",
            "WARNING: kernel stack regs has bad",
        ),
    ),
    (
        "HANG",
        ("BUG: soft lockup in", "INFO: rcu detected stall in", "INFO: task can't die in", "INFO: task hung in"),
    ),
    (
        "DoS",
        (
            "Alignment trap in", "BUG: Object already free", "Internal error in", "PANIC: double fault",
            "Unhandled fault in", "VFS: Busy inodes after unmount (use-after-free)",
            "VFS: Close: file count is zero (use-after-free)", "divide error in", "general protection fault in",
            "go runtime error", "int3 in", "invalid opcode in", "kernel panic:", "kernel stack overflow", "panic:",
            "rust_kernel panicked", "stack segment fault in", "trusty:",
            "unregister_netdevice: waiting for DEV to become free",
        ),
    ),
    ("NO_OUTPUT", ("no output from test machine",)),
    ("REBOOT", ("unexpected kernel reboot",)),
    ("SYZ_FAILURE", ("SYZFAIL", "SYZFATAL:")),
    ("WARNING", ("WARNING:",)),
    ("KASAN-UNKNOWN", ("KASAN:",)),
    ("KFENCE-UNKNOWN", ("KFENCE:",)),
    ("KMSAN-UNKNOWN", ("KMSAN:",)),
    ("UBSAN", ("UBSAN:",)),
    ("KCSAN-UNKNOWN", ("KCSAN:",)),
)  # fmt: skip


def clean(title: str) -> str:
    """Replace what differs from run to run: addresses, numbers, lines, the names of test processes."""
    title = title[: 4 * MAX_TITLE]
    for pattern, replacement in _CLEANING:
        title = pattern.sub(replacement, title)
    title = title.encode("utf-8", "replace")[:MAX_TITLE].decode("utf-8", "ignore").replace("\t", " ")
    return " ".join(_UNPRINTABLE.sub("", title).split())


def type_of(title: str) -> str:
    """The crash type of a title; "" when it has none."""
    return next((kind for kind, prefixes in TYPES if title.startswith(prefixes)), "")
