"""What is planted in a history of Linux as its culprit: each takes a fix of Linux's own back. Data; read `CULPRITS`.

A culprit reads as a small cleanup somebody might send. Its title is the crash as kbench told it on QEMU, x86, and for
User-Mode Linux, which tells a fault of its own in other words, the one it told there. The flaky ones crash in some runs only,
by which process the kernel happens to run when; no culprit draws a random number.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kbench.lab.patch import Change, Patch

_REPRODUCERS = Path(__file__).with_name("reproducers")


@dataclass(frozen=True, slots=True)
class Culprit:
    """A fix that is taken back, and how to see that it is missing."""

    kind: str
    fix: str  # the fix in Linux, twelve hex digits
    fix_subject: str
    patch: Patch  # takes it back
    title: str  # of the crash
    um_title: str = ""  # where User-Mode Linux tells it otherwise
    rate: float | None = 1.0  # share of runs that crash; None: timing decides, it differs from machine to machine
    config: str = ""  # what it needs beyond the small config of the target, as a fragment
    targets: tuple[str, ...] = ("um", "qemu-x86_64")  # where it was seen

    def title_on(self, target: str) -> str:
        """The crash's title on a target."""
        return self.um_title or self.title if target == "um" else self.title

    @property
    def reproducer(self) -> str:
        """The C program that shows it."""
        return (_REPRODUCERS / f"{self.kind}.c").read_text(encoding="utf-8")


_TEE = (
    "\t\t\t * Don't inherit the gift and merge flags, we need to\n\t\t\t * prevent multiple steals of this page.\n\t\t\t */\n"
    "\t\t\tobuf->flags &= ~PIPE_BUF_FLAG_GIFT;\n\t\t\tobuf->flags &= ~PIPE_BUF_FLAG_CAN_MERGE;\n",
    "\t\t * Don't inherit the gift and merge flag, we need to prevent\n\t\t * multiple steals of this page.\n\t\t */\n"
    "\t\tobuf->flags &= ~PIPE_BUF_FLAG_GIFT;\n\t\tobuf->flags &= ~PIPE_BUF_FLAG_CAN_MERGE;\n",
)
_PAGE_INTO_PIPE = """\
\t\t*buf = (struct pipe_buffer) {
\t\t\t.ops\t= &page_cache_pipe_buf_ops,
\t\t\t.page\t= page,
\t\t\t.offset\t= offset,
\t\t\t.len\t= part,
\t\t};
"""
_OPEN_INTERPRETER = """\
\tif (e->flags & MISC_FMT_OPEN_FILE) {
\t\tconst struct cred *old_cred;

\t\t/*
\t\t * Now that we support unprivileged binfmt_misc mounts make
\t\t * sure we use the credentials that the register @file was
\t\t * opened with to also open the interpreter. Before that this
\t\t * didn't matter much as only a privileged process could open
\t\t * the register file.
\t\t */
\t\told_cred = override_creds(file->f_cred);
\t\tf = open_exec(e->interpreter);
\t\trevert_creds(old_cred);
\t\tif (IS_ERR(f)) {
\t\t\tpr_notice("register: failed to install interpreter file %s\\n",
\t\t\t\t e->interpreter);
\t\t\tkfree(e);
\t\t\treturn PTR_ERR(f);
\t\t}
\t\te->interp_file = f;
\t}

"""
_LOCK_ROOT = "	inode_lock(d_inode(root));\n	dentry = lookup_one_len(e->name, root, strlen(e->name));\n"
_READ_URGENT = """\
\t\tWRITE_ONCE(u->oob_skb, NULL);

\t\tif (oob_skb->prev != (struct sk_buff *)&sk->sk_receive_queue &&
\t\t    !unix_skb_len(oob_skb->prev)) {
\t\t\tread_skb = oob_skb->prev;
\t\t\t__skb_unlink(read_skb, &sk->sk_receive_queue);
\t\t}
"""

_ALL = (
    Culprit(
        "pipe-flags",
        "9d2231c5d74e",
        'lib/iov_iter: initialize "flags" in new pipe_buffer',
        Patch(
            "filemap",
            "set up pipe buffers field by field",
            "Only four of the fields matter for a page of the cache. Do not clear the whole buffer for each page.",
            (
                Change(
                    "mm/filemap.c",
                    _PAGE_INTO_PIPE,
                    "\t\tbuf->ops = &page_cache_pipe_buf_ops;\n\t\tbuf->page = page;\n\t\tbuf->offset = offset;\n"
                    "\t\tbuf->len = part;\n",
                ),
            ),
        ),
        "BUG: page cache of a read-only file changed",
    ),
    Culprit(
        "aio-mremap",
        "81e9d6f86476",
        "aio: fix mremap after fork null-deref",
        Patch(
            "aio",
            "no ring without a table",
            "Whoever moves a ring has set up a context before, so there is a table. Remove the check and its label.",
            (
                Change(
                    "fs/aio.c",
                    "\ttable = rcu_dereference(mm->ioctx_table);\n\tif (!table)\n\t\tgoto out_unlock;\n\n\tfor",
                    "\ttable = rcu_dereference(mm->ioctx_table);\n\tfor",
                ),
                Change("fs/aio.c", "\nout_unlock:\n\trcu_read_unlock();", "\n\trcu_read_unlock();"),
            ),
        ),
        "BUG: unable to handle kernel NULL pointer dereference in aio_ring_mremap",
        "kernel panic: Kernel mode fault in aio_ring_mremap",
    ),
    Culprit(
        "unix-oob",
        "32ca245464e1",
        "af_unix: Don't leave consecutive consumed OOB skbs.",
        Patch(
            "af_unix",
            "unlink urgent bytes in one place",
            "The ordinary read path drops buffers that have been read, so reading urgent data need not look for them as well.",
            (
                Change("net/unix/af_unix.c", _READ_URGENT, "\t\tWRITE_ONCE(u->oob_skb, NULL);\n"),
                Change(
                    "net/unix/af_unix.c",
                    "\tstruct sk_buff *oob_skb, *read_skb = NULL;\n\tstruct socket *sock = state->socket;",
                    "\tstruct sk_buff *oob_skb;\n\tstruct socket *sock = state->socket;",
                ),
                Change(
                    "net/unix/af_unix.c",
                    "\tmutex_unlock(&u->iolock);\n\n\tconsume_skb(read_skb);\n\n\tif (chunk < 0)",
                    "\tmutex_unlock(&u->iolock);\n\n\tif (chunk < 0)",
                ),
            ),
        ),
        "general protection fault in __skb_datagram_iter",
        "WARNING in check_bytes_and_report",
    ),
    Culprit(
        "unix-peek",
        "a6736a0addd6",
        "af_unix: Read with MSG_PEEK loops if the first unread byte is OOB",
        Patch(
            "af_unix",
            "do not look behind an urgent byte when peeking",
            "A peek leaves the urgent byte where it is, so there is nothing to see before it was read. Treat it as the end.",
            (
                Change(
                    "net/unix/af_unix.c",
                    "\t} else if (!sock_flag(sk, SOCK_URGINLINE)) {\n\t\t*last = skb;\n"
                    "\t\tskb = skb_peek_next(skb, &sk->sk_receive_queue);\n\t}\n",
                    "\t} else if (!sock_flag(sk, SOCK_URGINLINE)) {\n\t\tskb = NULL;\n\t}\n",
                ),
            ),
        ),
        "BUG: recv() with MSG_PEEK ran for a second",
    ),
    Culprit(
        "binfmt-misc",
        "e7850f4d844e",
        "binfmt_misc: fix possible deadlock in bm_register_write",
        Patch(
            "binfmt_misc",
            "open the interpreter where it is needed",
            "Registering twice at the same time opened the interpreter twice, for nothing. Do it under the lock.",
            (
                Change(
                    "fs/binfmt_misc.c",
                    _OPEN_INTERPRETER + _LOCK_ROOT,
                    "	inode_lock(d_inode(root));\n"
                    + _OPEN_INTERPRETER.replace("\t\t\tkfree(e);\n", "\t\t\tinode_unlock(d_inode(root));\n\t\t\tkfree(e);\n")
                    + _LOCK_ROOT.partition("\n")[2],
                ),
            ),
        ),
        "INFO: task hung in path_openat",
    ),
    Culprit(
        "fs-context",
        "3b0462726e7e",
        "cgroup: verify that source is a string",
        Patch(
            "fs_context",
            "a source is a string",
            'Whatever else could be meant by "source"? The types of parameters are checked by the file systems anyway.',
            (
                Change(
                    "fs/fs_context.c",
                    '\tif (param->type != fs_value_is_string)\n\t\treturn invalf(fc, "Non-string source");\n\n\tif (fc->source)',
                    "\tif (fc->source)",
                ),
            ),
        ),
        "VFS: Close: file count is zero (use-after-free)",
        "WARNING in filp_flush",
    ),
    Culprit(
        "tee-merge",
        "a0ce2f0aa6ad",
        "splice: don't merge into linked buffers",
        Patch(
            "splice",
            "flags of shared buffers",
            "Only the gift flag is about who owns the page; the other ones hold for both pipes.",
            tuple(Change("fs/splice.c", old, old[: old.rindex("\tobuf")].rstrip("\t")) for old in _TEE),
        ),
        "BUG: a pipe holds what was written to another",
    ),
    Culprit(
        "exec-timer",
        "e362359ace6f",
        "posix-cpu-timers: Cleanup CPU timers before freeing them during exec",
        Patch(
            "exec",
            "all timers go the same way",
            "exit_itimers() deletes every timer of the process, those on processor time among them.",
            (
                Change(
                    "fs/exec.c",
                    "\tspin_lock_irq(&me->sighand->siglock);\n\tposix_cpu_timers_exit(me);\n"
                    "\tspin_unlock_irq(&me->sighand->siglock);\n\texit_itimers(me);",
                    "\texit_itimers(me);",
                ),
            ),
        ),
        "WARNING in posix_cpu_timer_del",
    ),
    Culprit(
        "keyring-leak",
        "23567fd052a9",
        "KEYS: Fix keyring ref leak in join_session_keyring()",
        Patch(
            "keys",
            "nothing to undo when the session keyring stays",
            "Joining the keyring one is in already changes nothing, so leave by the shorter way.",
            (
                Change(
                    "security/keys/process_keys.c",
                    "\t} else if (keyring == new->session_keyring) {\n\t\tret = 0;\n\t\tgoto error3;\n",
                    "\t} else if (keyring == new->session_keyring) {\n\t\tret = 0;\n\t\tgoto error2;\n",
                ),
            ),
        ),
        "BUG: session keyring gains a user each time it is joined",
    ),
    Culprit(
        "proc-timers",
        "cef31d9af908",
        "posix-timer: Properly check sigevent->sigev_notify",
        Patch(
            "posix-timers",
            "accept what is not known yet",
            "New ways of notification should not fail on the way in; deliver to the process, as for the others.",
            (
                Change(
                    "kernel/time/posix-timers.c",
                    "\tcase SIGEV_NONE:\n\t\treturn pid;\n\tdefault:\n\t\treturn NULL;\n\t}\n",
                    "\tcase SIGEV_NONE:\n\tdefault:\n\t\treturn pid;\n\t}\n",
                ),
            ),
        ),
        "BUG: unable to handle kernel paging request in show_timer",
        "kernel panic: Kernel tried to access user memory at addr ADDR, ip ADDR",
        config="CONFIG_CHECKPOINT_RESTORE=y\n",
        targets=("um",),  # not tried elsewhere
    ),
    Culprit(
        "mq-notify",
        "f991af3daaba",
        "mqueue: fix a use-after-free in sys_mq_notify()",
        Patch(
            "mqueue",
            "simplify the retry in mq_notify()",
            "The socket is looked up again in any case, so there is no need to forget the old one first.",
            (
                Change(
                    "ipc/mqueue.c",
                    "\t\t\tif (ret == 1) {\n\t\t\t\tsock = NULL;\n\t\t\t\tgoto retry;\n\t\t\t}\n",
                    "\t\t\tif (ret == 1)\n\t\t\t\tgoto retry;\n",
                ),
            ),
        ),
        "WARNING in netlink_release",
        rate=None,
        targets=("um",),  # never in 12 runs on QEMU: there the waiter is not run before the descriptor is closed
    ),
    Culprit(
        "pipe-close",
        "6551d5c56eb0",
        "pipe: make sure to wake up everybody when the last reader/writer closes",
        Patch(
            "pipe",
            "one wakeup on close is enough",
            "Waiters are exclusive; the one that is woken passes it on. Spare the others a look at an empty pipe.",
            (
                Change(
                    "fs/pipe.c",
                    "\t\twake_up_interruptible_all(&pipe->rd_wait);\n\t\twake_up_interruptible_all(&pipe->wr_wait);\n"
                    "\t\tkill_fasync(&pipe->fasync_readers, SIGIO, POLL_IN);",
                    "\t\twake_up_interruptible(&pipe->rd_wait);\n\t\twake_up_interruptible(&pipe->wr_wait);\n"
                    "\t\tkill_fasync(&pipe->fasync_readers, SIGIO, POLL_IN);",
                ),
            ),
        ),
        "BUG: a reader of a closed pipe waits for ever",
        rate=None,
    ),
)

CULPRITS = {culprit.kind: culprit for culprit in _ALL}
KINDS = tuple(CULPRITS)
