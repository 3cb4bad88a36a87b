"""What goes wrong in a history of Linux besides its culprit: stretches nobody can test, and crashes of other bugs. Data.

Read `STRETCHES` first. Each fault was made by one commit and is mended by a later one, as in `kbench.lab.bugs`; none shares
a file with a culprit but `SILENT`, which hides a culprit from its reproducer and so lives where the reproducer goes.
"""

from __future__ import annotations

from kbench.lab.bugs import Planting
from kbench.lab.patch import Change, Patch


def _planting(
    change: Change, made: tuple[str, str, str], mended: tuple[str, str], *, title: str = "", call: str = ""
) -> Planting:
    # `made`: area, subject, body of the commit that makes the fault; `mended`: subject and body of the one that mends it.
    back = Change(change.path, change.new, change.old)
    return Planting(Patch(*made, (change,)), Patch(made[0], *mended, (back,)), title=title, reproducer=call)


NO_BUILD = (
    _planting(
        Change("mm/util.c", "#include <linux/mm.h>\n", "#include <linux/mm.h>\n#include <linux/mm_limits.h>\n"),
        ("mm/util", "prepare for limits in a header of their own", "The header comes with the next patch of the series."),
        ("the header for limits is not there", "The series was dropped, and this was left of it."),
    ),
    _planting(
        Change(
            "fs/read_write.c",
            "\tint mask = read_write == READ ? MAY_READ : MAY_WRITE;\n\tint ret;\n",
            "\tint mask = read_write == READ ? MAY_READ : MAY_WRITE;\n\tint ret\n",
        ),
        ("fs", "tidy up the declarations of rw_verify_area()", "No functional change."),
        ("mend the build of read_write.c", "A semicolon was lost when the patch was rebased."),
    ),
    _planting(
        Change(
            "lib/string_helpers.c",
            "#include <linux/string_helpers.h>\n",
            "#include <linux/string_helpers.h>\n\nstatic const int units = STRING_UNITS_MAX_NAMES;\n",
        ),
        ("lib/string_helpers", "name the number of units", "It was spelled out where it is used."),
        ("drop the name for the number of units", "STRING_UNITS_MAX_NAMES is only in a tree that was not merged."),
    ),
)
NO_BOOT = (
    _planting(
        Change(
            "fs/filesystems.c",
            '\tproc_create_single("filesystems", 0, NULL, filesystems_proc_show);\n',
            '\tBUG_ON(!get_fs_type("rootfs"));\n\tproc_create_single("filesystems", 0, NULL, filesystems_proc_show);\n',
        ),
        ("filesystems", "there is always a rootfs", "Nothing works without it, so say so early."),
        ("rootfs is not a registered file system", "It is mounted from within the kernel only. Remove the check."),
    ),
    _planting(
        Change(
            "kernel/ksysfs.c",
            '\tkernel_kobj = kobject_create_and_add("kernel", NULL);\n',
            '\tkernel_kobj = kobject_create_and_add("kernel", NULL);\n\tBUG_ON(kernel_kobj->parent == NULL);\n',
        ),
        ("ksysfs", "/sys/kernel has to have a parent", "It would be lost otherwise."),
        ("/sys/kernel is at the top", "So it has no parent, and needs none."),
    ),
)
# Another bug, that the reproducer trips over as well; `reproducer` is a C expression.
FOREIGN = (
    _planting(
        Change(
            "fs/eventfd.c",
            "\tif (flags & ~EFD_FLAGS_SET)\n\t\treturn -EINVAL;\n",
            "\tif (flags & ~EFD_FLAGS_SET)\n\t\treturn -EINVAL;\n\tWARN_ON(count > INT_MAX);\n",
        ),
        ("eventfd", "warn about counts that look negative", "Somebody has passed an error code instead of a count."),
        ("large counts are fine", "They are unsigned, and documented to be."),
        title="WARNING in do_eventfd",
        call="close(syscall(SYS_eventfd2, 0x80000000u, 0))",
    ),
)
# The bug of the fix case.
WRONG_TURNS = (
    _planting(
        Change("kernel/sys.c", "\t\tset_task_comm(me, comm);\n", "\t\tWARN_ON(!comm[0]);\n\t\tset_task_comm(me, comm);\n"),
        ("sys", "a task should have a name", "Without one it is hard to find in a log."),
        ("tasks may be nameless", "User space decides, and no name is worth a warning."),
        title="WARNING in sys_prctl",
        call='syscall(SYS_prctl, 15, "", 0, 0, 0)',
    ),
)

_SPLICE = "SYSCALL_DEFINE6(splice, int, fd_in, loff_t __user *, off_in,\n\t\tint, fd_out, loff_t __user *, off_out,\n"
_SPLICE += "\t\tsize_t, len, unsigned int, flags)\n{\n\tstruct fd in, out;\n\tssize_t error;\n\n"
_TEE = (
    "SYSCALL_DEFINE4(tee, int, fdin, int, fdout, size_t, len, unsigned int, flags)\n{\n\tstruct fd in, out;\n\tssize_t error;\n\n"
)
_AIO = "SYSCALL_DEFINE2(io_setup, unsigned, nr_events, aio_context_t __user *, ctxp)\n{\n\tstruct kioctx *ioctx = NULL;\n"
_AIO += "\tunsigned long ctx;\n\tlong ret;\n\n"
_OOB = "config\tAF_UNIX_OOB\n\tbool\n\tdepends on UNIX\n\tdefault y\n"
_KEYCTL = "\t\tunsigned long, arg4, unsigned long, arg5)\n{\n"
_FSOPEN = "\tif (!may_mount())\n\t\treturn -EPERM;\n\n\tif (flags & ~FSOPEN_CLOEXEC)\n\t\treturn -EINVAL;\n\n"
_NOTIFY = "\taudit_mq_notify(mqdes, notification);\n\n"
_TIMER = "\tif (!kc->timer_create)\n\t\treturn -EOPNOTSUPP;\n\n\tnew_timer = alloc_posix_timer();\n"


def _guard(path: str, anchor: str, guard: str, area: str, what: str) -> Planting:
    return _planting(
        Change(path, anchor, anchor + guard),
        (area, f"refuse {what} for now", "It is under review. Whoever needs it gets an error meanwhile, and can go on without."),
        (f"{what}: the review is through", "Allow it again."),
    )


_NO_OOB = _planting(
    Change("net/unix/Kconfig", _OOB, _OOB.replace("default y", "default n")),
    ("af_unix", "urgent data is for those who ask for it", "Hardly anybody does, so leave it out by default."),
    ("urgent data by default again", "Programs turned up that rely on it."),
)
# By kind of culprit: the bug is there, and the reproducer does not get to it.
SILENT = {
    "pipe-flags": _guard("fs/splice.c", _SPLICE, "\tif (off_in)\n\t\treturn -ENOSYS;\n\n", "splice", "splice() from an offset"),
    "tee-merge": _guard("fs/splice.c", _TEE, "\tif (fdin != fdout)\n\t\treturn -ENOSYS;\n\n", "splice", "tee()"),
    "aio-mremap": _guard("fs/aio.c", _AIO, "\tif (nr_events < 64)\n\t\treturn -EINVAL;\n\n", "aio", "small rings"),
    "keyring-leak": _guard(
        "security/keys/keyctl.c",
        _KEYCTL,
        "\tif (option == KEYCTL_SETPERM)\n\t\treturn -EOPNOTSUPP;\n\n",
        "keys",
        "changes of permissions",
    ),
    "exec-timer": _guard(
        "kernel/time/posix-timers.c",
        _TIMER.partition("\n\n")[0] + "\n\n",
        "\tif (which_clock == CLOCK_THREAD_CPUTIME_ID)\n\t\treturn -EOPNOTSUPP;\n\n",
        "posix-timers",
        "timers on a thread's processor time",
    ),
    "fs-context": _guard(
        "fs/fsopen.c",
        _FSOPEN,
        "\tif (!(flags & FSOPEN_CLOEXEC))\n\t\treturn -EINVAL;\n\n",
        "fsopen",
        "contexts that survive exec",
    ),
    "mq-notify": _guard(
        "ipc/mqueue.c",
        _NOTIFY,
        "\tif (notification && notification->sigev_notify == SIGEV_THREAD)\n\t\treturn -ENOSYS;\n\n",
        "mqueue",
        "notice by threads",
    ),
    "unix-oob": _NO_OOB,
    "unix-peek": _NO_OOB,
}
STRETCHES = (NO_BUILD, NO_BOOT, FOREIGN)  # in the order of graph.STRETCHES; one of each is drawn
