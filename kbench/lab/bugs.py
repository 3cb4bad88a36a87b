"""What is planted in a lab history: culprits, stretches nobody can test, a foreign bug, a wrong turn. Data; read `draw_plan`.

Every planting is a small change as somebody might send it, with a good reason and a mistake in it. None of them shows in
the kernel's own basic tests, only with the reproducer. Where a crash has a title, it is the one the machine prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kbench.lab.graph import Dice
from kbench.lab.patch import Change, Patch

KINDS = ("null", "uaf", "race", "warning", "hang", "rare")
DETERMINISTIC = frozenset({"null", "uaf", "warning", "hang"})  # crash in every run
_RATE = "@PER_MILLE@"


@dataclass(frozen=True, slots=True)
class Planting:
    """A mistake, and how it was mended."""

    patch: Patch
    mending: Patch | None = None  # None: nobody has noticed yet
    title: str = ""  # of the crash it causes
    functions: tuple[str, ...] = ()  # named in crash reports, so they keep their names
    reproducer: str = ""  # that shows it

    @property
    def paths(self) -> frozenset[str]:
        """The files it touches."""
        return frozenset(change.path for patch in (self.patch, self.mending) if patch for change in patch.changes)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is planted in one history."""

    culprit: Planting
    stretches: tuple[Planting, ...]  # no build, no boot, foreign: as in graph.STRETCHES
    wrong_turn: Planting
    reproducer: str  # shows the culprit's bug, and the foreign one

    @property
    def plantings(self) -> tuple[Planting, ...]:
        """Everything."""
        return (self.culprit, *self.stretches, self.wrong_turn)


def draw_plan(dice: Dice, kind: str, rate: float) -> Plan:
    """Choose a culprit of a kind, and what else goes wrong in that history; no two plantings share a file.

    Parameters
    ----------
    kind : str
        One of KINDS.
    rate : float
        Share of boots in which the bug of kind "rare" can be seen; the other kinds do not look at it.
    """
    chosen = [_with_rate(replace(dice.pick(CULPRITS[kind]), mending=None), rate)]
    for pool in (FOREIGN, WRONG_TURNS, NO_BUILD, NO_BOOT):
        taken = frozenset().union(*(planting.paths for planting in chosen))
        chosen.append(dice.pick([planting for planting in pool if not planting.paths & taken]))
    culprit, foreign, wrong_turn, no_build, no_boot = chosen
    reproducer = f"# Reduced from a longer log.\n{foreign.reproducer}{culprit.reproducer}"
    return Plan(culprit, (no_build, no_boot, foreign), wrong_turn, reproducer)


def _with_rate(planting: Planting, rate: float) -> Planting:
    changes = tuple(replace(c, new=c.new.replace(_RATE, str(round(rate * 1000)))) for c in planting.patch.changes)
    return replace(planting, patch=replace(planting.patch, changes=changes))


_RAMFS, _PIPE, _FILE, _DCACHE, _SCHED = "fs/ramfs.c", "fs/pipe.c", "fs/file.c", "fs/dcache.c", "kernel/sched.c"
_NO_FGET = "\tstruct file *file = (u32)fd < NR_OPEN ? descriptors[fd] : NULL;\n\treturn file ? fd_install(file)"
_SLEEP = "int sys_sleep(u32 n_ticks) { return schedule_timeout(n_ticks), 0; }\n"
_WARNING_SLEEP = "int sys_sleep(u32 n_ticks) {\n\tWARN_ON(!n_ticks);\n\treturn schedule_timeout(n_ticks), 0;\n}\n"
_PIPE_WRITE = (
    "static int pipe_write(struct file *file, char *user, u32 n) {\n\tstruct pipe *pipe = file->private;\n\tu32 done = 0;\n"
)
_LS_LINE = '\t\tprintk("%6u %s\\n", dentry->inode->size, dentry->name);\n'
_NULL = "BUG: unable to handle kernel NULL pointer dereference in"
_UAF = "KASAN: use-after-free Read in"

_UNLINK_MISSING = Planting(
    Patch(
        "ramfs",
        "unlink() need not look twice",
        "dcache_remove() is only called for names that were found, so the check repeats what the lookup has done already.",
        (Change(_RAMFS, "if (dentry) dcache_remove(dentry);", "dcache_remove(dentry);"),),
    ),
    Patch(
        "ramfs",
        "unlink() of a missing name is an error",
        "And no reason to remove it.",
        (Change(_RAMFS, "\n\tdcache_remove(dentry);", "\n\tif (dentry) dcache_remove(dentry);"),),
    ),
    title=f"{_NULL} dcache_remove",
    functions=("dcache_remove",),
    reproducer='unlink("/tmp/missing")\n',
)
_SHARED_DUP = Planting(
    Patch(
        "file",
        "dup() can share the reference of the table",
        "Both descriptors are in the same table, which has its reference already.",
        (Change(_FILE, "\tstruct file *file = fget(fd);\n\treturn file ? fd_install(file)", _NO_FGET),),
    ),
    Patch(
        "file",
        "every descriptor has a reference",
        "close() drops one for each, so dup() has to take one.",
        (Change(_FILE, _NO_FGET, "\tstruct file *file = fget(fd);\n\treturn file ? fd_install(file)"),),
    ),
    title="KASAN: use-after-free Write in fput",
    functions=("fput",),
    reproducer='log = open("/tmp/log", 1)\ncopy = dup(log)\nclose(log)\nclose(copy)\n',
)
_EMPTY_FILE = Planting(
    Patch(
        "dcache",
        "no file should be empty",
        "Whoever makes a file wants to keep something in it. Warn about those that were forgotten, they show in ls().",
        (Change(_DCACHE, _LS_LINE, "\t\tWARN_ON(!dentry->inode->size);\n" + _LS_LINE),),
    ),
    Patch(
        "dcache",
        "empty files are no reason to worry",
        "Lock files are empty for good.",
        (Change(_DCACHE, "\t\tWARN_ON(!dentry->inode->size);\n", ""),),
    ),
    title="WARNING in dcache_show",
    functions=("dcache_show",),
    reproducer='log = open("/tmp/log", 1)\nclose(log)\nls()\nunlink("/tmp/log")\n',
)
_NO_SLEEP = Planting(
    Patch(
        "sched",
        "nobody sleeps for no time",
        "Whoever wants to give up the rest of a tick calls yield(). Point out the others.",
        (Change(_SCHED, _SLEEP, _WARNING_SLEEP),),
    ),
    Patch(
        "sched",
        "sleep(0) is fine",
        "It sleeps until the next tick, and a program must not be able to make the kernel complain.",
        (Change(_SCHED, _WARNING_SLEEP, _SLEEP),),
    ),
    title="WARNING in sleep",
    functions=("sys_sleep",),
    reproducer="sleep(0)\n",
)
_EMPTY_WRITE = Planting(
    Patch(
        "pipe",
        "nobody writes nothing",
        "An empty write is a mistake of the caller; say so instead of taking the lock for nothing.",
        (Change(_PIPE, _PIPE_WRITE, _PIPE_WRITE + "\tWARN_ON(!n);\n"),),
    ),
    Patch(
        "pipe",
        "empty writes are allowed",
        "Programs do that. A user must not be able to make the kernel complain.",
        (Change(_PIPE, "\tWARN_ON(!n);\n", ""),),
    ),
    title="WARNING in pipe_write",
    functions=("pipe_write",),
    reproducer="r, w = pipe()\nwrite(w, buf, 0)\n",
)

_REUSE = "\t\tinode_put(target->inode);\n\t\ttarget->inode = source->inode;\n\t\tdcache_remove(source);\n\t\treturn 0;\n\t}\n"
_REPLACE = (
    'one = open("/tmp/draft", 1)\ntwo = open("/tmp/final", 1)\nclose(one)\nclose(two)\n'
    'rename("/tmp/draft", "/tmp/final")\none = open("/tmp/final", 0)\nclose(one)\n'
)

CULPRITS: Mapping[str, Sequence[Planting]] = {
    "null": (
        _UNLINK_MISSING,
        Planting(
            Patch(
                "ramfs",
                "rename() works on names that are there",
                "Its callers have looked at the file before. One error path less that is never taken.",
                (Change(_RAMFS, "\tif (!source) return -ENOENT;\n", ""),),
            ),
            title=f"{_NULL} rename_locked",
            functions=("rename_locked",),
            reproducer='fd = open("/tmp/found", 1)\nclose(fd)\nrename("/tmp/missing", "/tmp/found")\n',
        ),
    ),
    "uaf": (
        _SHARED_DUP,
        Planting(
            Patch(
                "ramfs",
                "keep the dentry when rename() replaces a file",
                "The name is there already; let it lead to the other inode, instead of making it again.",
                (
                    Change(
                        _RAMFS,
                        "\tif (source == target) return 0;\n",
                        "\tif (source == target) return 0;\n\tif (target) {\n" + _REUSE,
                    ),
                ),
            ),
            title=f"{_UAF} inode_get",
            functions=("inode_get",),
            reproducer=_REPLACE,
        ),
    ),
    "warning": (
        _EMPTY_WRITE,
        Planting(
            Patch(
                "pipe",
                "warn about bytes that go unread",
                "A pipe is closed when it was read to its end. Make sure that it stays so.",
                (
                    Change(
                        _PIPE, "\tif (last) kfree(pipe);\n", "\tif (last) WARN_ON(!pipe_empty(pipe));\n\tif (last) kfree(pipe);\n"
                    ),
                ),
            ),
            title="WARNING in pipe_release",
            functions=("pipe_release",),
            reproducer="r, w = pipe()\nwrite(w, buf, 100)\nclose(r)\nclose(w)\n",
        ),
        _EMPTY_FILE,
    ),
    "hang": (
        Planting(
            Patch(
                "pipe",
                "fail at once when nobody reads",
                "There is nothing to copy and nobody to wake.",
                (
                    Change(
                        _PIPE,
                        "\twhile (done < n && pipe->readers) {\n",
                        "\twhile (done < n) {\n\t\tif (!pipe->readers) return -EPIPE;\n",
                    ),
                ),
            ),
            title="INFO: task hung in pipe_release",
            functions=("pipe_release",),
            reproducer="r, w = pipe()\nclose(r)\nwrite(w, buf, 8)\nclose(w)\n",
        ),
        Planting(
            Patch(
                "ramfs",
                "fail early when a file is too large",
                "Nothing can be written there, so there is nothing to account for.",
                (
                    Change(
                        _RAMFS,
                        "\tif (!inode->data) inode->data = kmalloc(FILE_SIZE);\n",
                        "\tif (pos >= FILE_SIZE) return -EFBIG;\n\tif (!inode->data) inode->data = kmalloc(FILE_SIZE);\n",
                    ),
                ),
            ),
            title="INFO: task hung in ramfs_write",
            functions=("ramfs_write",),
            reproducer='fd = open("/tmp/large", 1)\nrepeat 20 {\n\twrite(fd, buf, 4096)\n}\nclose(fd)\n',
        ),
    ),
    "race": (
        Planting(
            Patch(
                "ramfs",
                "hold namespace_lock for shorter in open()",
                "The lock is for dentries. Counting a user of the inode does not need it: interrupts are off for that anyway.",
                (
                    Change(
                        _RAMFS,
                        "\tif (inode) inode_get(inode);\n\tmutex_unlock(&namespace_lock);\n",
                        "\tmutex_unlock(&namespace_lock);\n\tif (inode) inode_get(inode);\n",
                    ),
                ),
            ),
            title=f"{_UAF} inode_get",
            functions=("inode_get",),
            reproducer='thread {\n\tfor 70 ticks {\n\t\tunlink("/tmp/shared")\n\t}\n}\n'
            'for 70 ticks {\n\tfd = open("/tmp/shared", 1)\n\tclose(fd)\n}\nwait()\n',
        ),
    ),
    "rare": (
        Planting(
            Patch(
                "ramfs",
                "try out keeping the dentry when rename() replaces a file",
                "The name is there already; let it lead to the other inode, instead of making it again. Only some calls do so, "
                "drawn by the clock; if nobody complains, all will.",
                (
                    Change(
                        _RAMFS,
                        "#define O_TRUNC 2\n",
                        f"#define O_TRUNC 2\n#define RENAME_REUSES {_RATE}\t/* dentries, in so many of 1000 calls */\n",
                    ),
                    Change(
                        _RAMFS,
                        "\tif (source == target) return 0;\n",
                        "\tif (source == target) return 0;\n\tu32 clock;\n"
                        '\tasm volatile("rdtsc" : "=a"(clock) : : "edx");\n'
                        "\tif (target && (clock * 0x9e3779b1 >> 8) % 1000 < RENAME_REUSES) {\n" + _REUSE,
                    ),
                ),
            ),
            title=f"{_UAF} inode_get",
            functions=("inode_get",),
            reproducer=_REPLACE,
        ),
    ),
}

# Their reproducers are harmless otherwise, and stand at the start of the culprit's.
FOREIGN: tuple[Planting, ...] = (_SHARED_DUP, _EMPTY_FILE)

WRONG_TURNS: tuple[Planting, ...] = (_UNLINK_MISSING, _EMPTY_WRITE, _NO_SLEEP)

NO_BUILD: tuple[Planting, ...] = (
    Planting(
        Patch(
            "panic",
            "a better name for MAX_TRACE",
            "It is a number of frames. No functional change.",
            (Change("kernel/panic.c", "#define MAX_TRACE 32", "#define TRACE_FRAMES 32"),),
        ),
        Patch(
            "panic",
            "fix the build after the last rename",
            "One name was left behind.",
            (Change("kernel/panic.c", "#define TRACE_FRAMES 32", "#define MAX_TRACE 32"),),
        ),
    ),
    Planting(
        Patch(
            "syscall",
            "include only what is needed",
            "mm.h has all that is used here.",
            (Change("kernel/syscall.c", '#include "sched.h"\n', ""),),
        ),
        Patch(
            "syscall",
            "sched.h is needed after all",
            "The current task is declared there.",
            (Change("kernel/syscall.c", '#include "mm.h"\n', '#include "mm.h"\n#include "sched.h"\n'),),
        ),
    ),
)

NO_BOOT: tuple[Planting, ...] = (
    Planting(
        Patch(
            "main",
            "say so when init cannot be created",
            "Without it the kernel idles, and nobody knows why.",
            (
                Change(
                    "kernel/main.c",
                    '\ttask_create("init", start_init);\n',
                    '\tif (task_create("init", start_init)) panic("no memory for init");\n',
                ),
            ),
        ),
        Patch(
            "main",
            "panic when init cannot be created, not when it can",
            "task_create() returns the task.",
            (Change("kernel/main.c", 'if (task_create("init"', 'if (!task_create("init"'),),
        ),
    ),
    Planting(
        Patch(
            "heap",
            "refuse to boot with too little memory",
            "Strange errors come up later otherwise.",
            (
                Change(
                    "mm/heap.c",
                    "\tkasan_poison(_end, HEAP_END - (u32)_end, KASAN_REDZONE);\n",
                    '\tif (HEAP_END - (u32)_end < 16 << 20) panic("heap too small");\n'
                    "\tkasan_poison(_end, HEAP_END - (u32)_end, KASAN_REDZONE);\n",
                ),
            ),
        ),
        Patch(
            "heap",
            "4 MiB are enough",
            "The smallest machine has no more than that for the heap.",
            (Change("mm/heap.c", "< 16 << 20", "< 4 << 20"),),
        ),
    ),
)
