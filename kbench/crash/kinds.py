"""The kinds of crashes, as data: how the line reads, what it is called, which function is to blame. Read `KINDS` first.

A crash starts at the first line with a marker that is not known to be harmless; the first kind whose pattern matches from
the marker on names it. Titles and the function to blame follow syzkaller, so that they can be compared with syzbot's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from kbench.crash.functions import names


class Source(Enum):
    """Where the function to blame is looked for."""

    LINE = "the group `function` of the kind's pattern"
    POINTER = "the faulting instruction"
    TRACE = "the call trace"
    TOP = "the functions right below the line"
    BELOW = "the trace below the kind's later pattern, and what the lines about locks there name"
    HANG = "the call trace, up to what waits"
    STALL = "the call trace, up to what a dispatcher called"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of crash. Placeholders of a title: the groups of both patterns, and {function} as blamed."""

    pattern: re.Pattern[str]  # from the marker to the end of the line
    title: str
    alt: tuple[str, ...] = ()  # titles that make another crash the same bug
    sources: tuple[Source, ...] = ()  # none: the title names no function
    later: re.Pattern[str] | None = None  # searched in the lines of the report; the kind needs it to match
    within: int = 300  # lines it is searched in
    before: re.Pattern[str] | None = None  # where the report begins, above the line; the kind needs it to match
    skip: re.Pattern[str] | None = None  # functions this kind never blames, besides the generic ones
    needs_stack: bool = True  # a report without a stack trace is corrupted
    corrupted: bool = False  # its own report is always lost

    @property
    def blames(self) -> bool:
        """Whether the title ends with a function."""
        return " in {function" in self.title


MARKERS = (
    "BUG:", "WARNING:", "INFO:", "UBSAN: ", "Unable to handle kernel", "general protection fault", "stack segment: ",
    "Kernel panic", "PANIC: double fault", "rust_kernel: panicked", "kernel BUG", "Kernel BUG", "BUG kmalloc-",
    "divide error:", "divide_error:", "invalid opcode: 0000 [#", "int3: 0000 [#", "Booting the kernel.",
    "unregister_netdevice: waiting for", "VFS: Close: file count is 0", "VFS: Busy inodes after unmount",
    "Internal error:", "Unhandled fault:", "Alignment trap:", "trusty: panic", "fatal error:", "SYZFAIL:", "SYZFATAL:",
    "panic:",
)  # fmt: skip

# Lines with a marker that nobody needs to be told about, from the marker to the end.
HARMLESS = re.compile(
    r"INFO:[a-z]|INFO: (?:lockdep is turned off|Stall ended before state dump|NMI handler|recovery required|"
    r"rcu_\w{1,20} kthread starved|sys_\w{1,40} is not present|Slab 0x|Object 0x|\S{1,80} login|lockdep hashing)|"
    r"WARNING: (?:/etc/ssh/moduli|The mand mount option|locking\b.{0,40}disabled|workqueue cpumask|Unable to connect|"
    r"Unprivileged eBPF|Spectre|kernel not configured for|REMOTE HOST|stack recursion|can't access registers)|"
    r"BUG: unable to handle.{0,40}can't be|panic: ?[01]\b|panic: (?:enable|disable)|general protection fault ip:|"
    r"fatal error: cannot create timer|WARNING: (?i:.{0,60}uses wireless extensions)"
)
# What stands before the marker and makes it a word of somebody else's.
FOREIGN = re.compile(r"(?:[A-Z_]|^#.{0,80}|echo .{0,80}|traps: .{0,80})$")


def _kind(
    pattern: str,
    title: str,
    *sources: Source,
    alt: tuple[str, ...] = (),
    later: str | None = None,
    within: int = 300,
    before: str | None = None,
    skip: str | None = None,
    needs_stack: bool = True,
    corrupted: bool = False,
) -> Kind:
    after = re.compile(later, re.MULTILINE) if later else None
    above, never = re.compile(before) if before else None, names(skip) if skip else None
    return Kind(re.compile(pattern), title, alt, sources, after, within, above, never, needs_stack, corrupted)


_F = r"(?:\[<[0-9a-f]{0,16}>\] )?(?P<function>[A-Za-z_][\w.$]{0,200})"
_LINE, _POINTER, _TRACE = Source.LINE, Source.POINTER, Source.TRACE
_TOP, _BELOW, _STALL, _HANG = Source.TOP, Source.BELOW, Source.STALL, Source.HANG
_BAD_ACCESS = ("bad-access in {function}",)
_OVERFLOW = ("stack-overflow in {function}",)
_ACCESS = r"(?P<access>Read|Write) (?:of size|at addr)"
_RCU = r"rcu_ __rcu rcuref lockdep_ slab_ __slab ___slab"
_WARNED = (_POINTER, _TRACE)
_WARNED_AT = r"(?:CPU: [0-9]{1,4} PID: [0-9]{1,9} at |\[.{0,200}?\] |)"

KINDS: tuple[Kind, ...] = (
    # Sanitizers.
    _kind(r"BUG: KASAN: (?:double-free or invalid-free|double-free|invalid-free) in " + _F,
          "KASAN: invalid-free in {function}", _LINE, _TRACE, alt=("invalid-free in {function}",)),
    _kind(r"BUG: KASAN: (?P<bug>[\w-]{1,60}) in " + _F, "KASAN: {bug} {access} in {function}", _LINE, _TRACE,
          alt=_BAD_ACCESS, later=_ACCESS),
    _kind(r"BUG: KASAN: (?P<bug>[\w-]{1,60}) on address", "KASAN: {bug} {access}", later=_ACCESS),
    _kind(r"BUG: (?P<rest>KASAN: .*)", "{rest}", needs_stack=False, corrupted=True),
    _kind(r"BUG: KMSAN: (?P<bug>kernel-usb-infoleak) in ", "KMSAN: {bug} in {function}", _TOP, needs_stack=False),
    _kind(r"BUG: KMSAN: (?P<bug>[\w-]{1,60}) in " + _F, "KMSAN: {bug} in {function}", _TOP, alt=_BAD_ACCESS, needs_stack=False),
    _kind(r"BUG: KCSAN: (?P<bug>.{1,60}?) in (?P<functions>.*)", "KCSAN: {bug} in {functions}", needs_stack=False),
    _kind(r"BUG: (?P<rest>KCSAN: .*)", "{rest}", needs_stack=False),
    _kind(r"BUG: KFENCE: invalid free in " + _F, "KFENCE: invalid free in {function}", _LINE, _TOP,
          alt=("invalid-free in {function}",), needs_stack=False),
    _kind(r"BUG: KFENCE: memory corruption in " + _F, "KFENCE: memory corruption in {function}", _LINE, _TOP,
          needs_stack=False),
    _kind(r"BUG: KFENCE: (?P<bug>[\w-]{1,60} (?:read|write)) in " + _F, "KFENCE: {bug} in {function}", _LINE, _TOP,
          alt=_BAD_ACCESS),
    _kind(r"UBSAN: Undefined behaviour in", "UBSAN: undefined-behaviour in {function}", _TRACE),
    _kind(r"UBSAN: (?P<bug>array-index-out-of-bounds) in", "UBSAN: {bug} in {function}", _TRACE, alt=_BAD_ACCESS),
    _kind(r"UBSAN: (?P<bug>[\w-]{1,60}) in", "UBSAN: {bug} in {function}", _TRACE),
    _kind(r"BUG: memory leak", "memory leak in {function}", _BELOW, later=r"backtrace",
          skip="sget_userns"),
    # Bad pointers.
    _kind(r"BUG: (?:unable to handle (?:kernel paging request|page fault for address)|Unable to handle kernel data access)",
          "BUG: unable to handle kernel paging request in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"BUG: (?:unable to handle |[Kk])(?:kernel|ernel) NULL pointer dereference|BUG: kernel NULL pointer dereference",
          "BUG: unable to handle kernel NULL pointer dereference in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"BUG: unable to handle kernel", "BUG: unable to handle kernel", needs_stack=False, corrupted=True),
    _kind(r"Unable to handle kernel (?P<what>paging request|NULL pointer dereference|access to user memory)",
          "BUG: unable to handle kernel {what} in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"general protection fault.{0,200}?:", "general protection fault in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"stack segment: ", "stack segment fault in {function}", _POINTER, _TRACE),
    _kind(r"Internal error:", "Internal error in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"Unhandled fault:", "Unhandled fault in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS),
    _kind(r"Alignment trap:", "Alignment trap in {function}", _POINTER, _TRACE),
    _kind(r"PANIC: double fault", "PANIC: double fault in {function}", _POINTER),
    _kind(r"divide[ _]error:", "divide error in {function}", _POINTER),
    _kind(r"invalid opcode:", "invalid opcode in {function}", _POINTER),
    _kind(r"int3:", "int3 in {function}", _POINTER, _TRACE),
    # Hangs.
    _kind(r"BUG: soft lockup", "BUG: soft lockup in {function}", _STALL, alt=("stall in {function}",)),
    _kind(r"INFO: rcu_\w{1,20} (?:self-)?detected(?: expedited)? stall", "INFO: rcu detected stall in {function}", _STALL,
          alt=("stall in {function}",)),
    _kind(r"INFO: task .{1,80} blocked (?:in I/O wait )?for more than", "INFO: task hung in {function}", _HANG,
          alt=("hang in {function}",)),
    _kind(r"INFO: task [^\n]{0,40}$", "INFO: task hung in {function}", _HANG, alt=("hang in {function}",),
          later=r"blocked (?:in I/O wait )?for more than", within=3),  # the name of a task may hold a line feed
    _kind(r"INFO: task .{1,80} can't die for more than", "INFO: task can't die in {function}", _TRACE,
          alt=("hang in {function}",)),
    _kind(r"BUG: workqueue lockup", "BUG: workqueue lockup", needs_stack=False),
    # Locks.
    _kind(r"(?:WARNING|INFO): (?:possible circular locking|possible recursive locking|possible deadlock)",
          "possible deadlock in {function}", _BELOW, later=r"is trying to acquire lock"),
    _kind(r"(?:WARNING|INFO): possible irq lock inversion", "possible deadlock in {function}", _BELOW,
          later=r"just changed the state of lock"),
    _kind(r"WARNING: \w{1,20}-safe -> \w{1,20}-unsafe lock order detected", "possible deadlock in {function}", _BELOW,
          later=r"which became \S{1,20}-irq-(?:un)?safe at"),
    _kind(r"INFO: \w{1,20}-safe -> \w{1,20}-unsafe lock order detected", "possible deadlock in {function}", _BELOW,
          later=r"is trying to acquire"),
    _kind(r"INFO: inconsistent lock state", "inconsistent lock state in {function}", _BELOW, later=r"takes:"),
    _kind(r"(?:WARNING|INFO): inconsistent lock state", "inconsistent lock state in {function}", _TRACE),
    _kind(r"WARNING: suspicious RCU usage", "WARNING: suspicious RCU usage in {function}", _TRACE, skip=_RCU,
          later=r"stack backtrace:(?:\n.*){1,4}?\nCall [Tt]race:"),
    _kind(r"(?P<what>WARNING: suspicious RCU usage)", "{what}", corrupted=True),
    _kind(r"INFO: suspicious RCU usage", "INFO: suspicious RCU usage in {function}", _TRACE, skip=_RCU),
    _kind(r"INFO: trying to register non-static key", "INFO: trying to register non-static key in {function}", _TRACE),
    _kind(r"BUG: (?P<lock>spinlock|rwlock) (?P<problem>lockup suspected|already unlocked|(?:cpu )?recursion|bad magic|"
          r"wrong owner|wrong CPU|trylock failure on UP)", "BUG: {lock} {problem} in {function}", _TRACE),
    _kind(r"BUG: Invalid wait context", "WARNING: locking bug in {function}", _TRACE),
    _kind(r"(?P<where>BUG|WARNING): bad unlock balance", "{where}: bad unlock balance in {function}", _BELOW,
          later=r"is trying to release lock", within=14),
    _kind(r"(?P<where>BUG|WARNING): bad unlock balance", "{where}: bad unlock balance in corrupted", corrupted=True),
    _kind(r"(?P<where>BUG|WARNING): held lock freed", "{where}: held lock freed in {function}", _BELOW,
          later=r"with a lock still held"),
    _kind(r"(?P<where>BUG|WARNING): .{1,80} still has locks held", "{where}: still has locks held in {function}", _BELOW,
          later=r"locks? held by"),
    _kind(r"(?P<where>BUG|WARNING): lock held when returning to user space",
          "{where}: lock held when returning to user space in {function}", _BELOW, later=r"leaving the kernel with locks",
          needs_stack=False),
    _kind(r"(?P<rest>(?:WARNING|INFO|BUG): (?:possible (?:circular|recursive|irq)|\w{1,20}-safe -> |held lock freed|"
          r"lock held when).*)", "{rest}", corrupted=True),  # cut off before it says where
    _kind(r"WARNING: Nested lock was not taken", "WARNING: nested lock was not taken in {function}", *_WARNED),
    _kind(r"BUG: workqueue leaked lock or atomic", "BUG: workqueue leaked lock or atomic in {function}", _LINE,
          later=r"last function: " + _F, needs_stack=False),
    # The wrong context.
    _kind(r"BUG: scheduling while atomic", "BUG: scheduling while atomic in {function}", _TRACE),
    _kind(r"BUG: sleeping function called from invalid context",
          "BUG: sleeping function called from invalid context in {function}", _TRACE),
    _kind(r"BUG: using (?P<helper>\w{1,60}\(\)) in preemptible", "BUG: using {helper} in preemptible code in {function}", _TRACE),
    # Memory and stacks.
    _kind(r"BUG: Bad rss-counter state", "BUG: Bad rss-counter state", needs_stack=False),
    _kind(r"BUG: (?P<what>non-zero nr_p[tm][ed]s on freeing mm)", "BUG: {what}", needs_stack=False),
    _kind(r"BUG: Dentry .{0,400}still in use.{0,80}(?P<mount>\[unmount of [^\]]{0,200}\])", "BUG: Dentry still in use in unmount",
          alt=("BUG: Dentry still in use {mount}",)),
    _kind(r"BUG: Bad page map", "BUG: Bad page map"),
    _kind(r"BUG: Bad page (?P<what>state|cache)", "BUG: Bad page {what} in {function}", _BELOW, later=r"page last allocated"),
    _kind(r"BUG: Bad page (?P<what>state|cache)", "BUG: Bad page {what} in corrupted", corrupted=True),
    _kind(r"BUG: .{0,80}stack guard page was hit", "BUG: stack guard page was hit in {function}", _STALL, alt=_OVERFLOW),
    _kind(r"BUG kmalloc-.{0,80}Object already free", "BUG: Object already free"),
    _kind(r"WARNING: kernel stack (?:regs|frame pointer) at +\(\w{0,20}ptrval\)", "WARNING: kernel stack regs has bad value",
          needs_stack=False),
    _kind(r"WARNING: kernel stack regs at .{1,120} has bad '(?P<register>\w{1,9})' value",
          "WARNING: kernel stack regs has bad '{register}' value", needs_stack=False),
    _kind(r"WARNING: kernel stack frame pointer at", "WARNING: kernel stack frame pointer has bad value", needs_stack=False),
    # Warnings, by the file they are in.
    _kind(r"WARNING: .{0,300}?lib/debugobjects\.c", "WARNING: ODEBUG bug in {function}", *_WARNED, skip="_*call_rcu"),
    *(
        _kind(r"WARNING: .{0,300}?" + where, title, *_WARNED)
        for where, title in (
            (r"mm/usercopy\.c", "WARNING: bad usercopy in {function}"),
            (r"lib/kobject\.c", "WARNING: kobject bug in {function}"),
            (r"fs/proc/generic\.c", "WARNING: proc registration bug in {function}"),
            (r"lib/refcount\.c", "WARNING: refcount bug in {function}"),
            (r"kernel/locking/lockdep\.c:[0-9]{1,6} (?:at )?\w{0,40}lock_", "WARNING: locking bug in {function}"),
            (r"mm/\w{1,20}\.c:[0-9]{1,6} (?:at )?(?:__)?k[vcz]{0,2}m?alloc", "WARNING: kmalloc bug in {function}"),
            (r"mm/vmalloc\.c:[0-9]{1,6} (?:at )?__vmalloc_node", "WARNING: zero-size vmalloc in {function}"),
            (r"usb_submit_urb", "WARNING in {function}/usb_submit_urb"),
        )
    ),
    _kind(r"WARNING: " + _WARNED_AT + r"\S{1,200}:[0-9]{1,7} (?:at )?" + _F + r"(?:\+0x| \S{1,200}:[0-9])",
          "WARNING in {function}", *_WARNED),
    _kind(r"WARNING: CPU: [0-9]{1,4} PID: [0-9]{1,9} at |WARNING: \S{1,200}:[0-9]{1,7} at 0x", "WARNING in {function}", *_WARNED),
    # BUG_ON.
    _kind(r"kernel BUG at mm/usercopy\.c", "BUG: bad usercopy in {function}", _TRACE),
    _kind(r"kernel BUG at lib/list_debug\.c", "BUG: corrupted list in {function}", _TRACE, alt=_BAD_ACCESS),
    _kind(r"kernel BUG at ", "kernel BUG in {function}", _POINTER, _TRACE),
    _kind(r"Kernel BUG (?P<rest>.*)", "kernel BUG {rest}"),
    # Panics.
    _kind(r"Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: " + _F,
          "kernel panic: stack is corrupted in {function}", _LINE, _TRACE, needs_stack=False),
    _kind(r"Kernel panic - not syncing: stack-protector:", "kernel panic: stack is corrupted in {function}", _TRACE,
          needs_stack=False),
    _kind(r"Kernel panic - not syncing: corrupted stack end", "kernel panic: corrupted stack end in {function}", _STALL,
          alt=_OVERFLOW),
    _kind(r"Kernel panic - not syncing: kernel stack overflow", "kernel stack overflow in {function}", _STALL, alt=_OVERFLOW),
    # User-Mode Linux prints the registers first: arch/um/kernel/trap.c, segv().
    _kind(r"Kernel panic - not syncing: (?P<why>Kernel mode fault|Kernel tried to access user memory|Segfault with no mm)",
          "kernel panic: {why} in {function}", _POINTER, _TRACE, alt=_BAD_ACCESS, before=r"RIP: [0-9a-f]{4}:[A-Za-z_]"),
    _kind(r"Kernel panic - not syncing: (?P<why>Attempted to kill init!|Couldn't open N_TTY ldisc)", "kernel panic: {why}"),
    _kind(r"Kernel panic - not syncing: (?P<why>Fatal exception|panic_on_warn set|hung_task: blocked tasks)",
          "kernel panic: {why}", needs_stack=False, corrupted=True),
    _kind(r"Kernel panic - not syncing: (?P<why>.*)", "kernel panic: {why}"),
    _kind(r"rust_kernel: panicked", "{message} in {function}", _TRACE, later=r"panicked at .*\n(?P<message>.*)"),
    # Others.
    _kind(r"Booting the kernel\.", "unexpected kernel reboot", needs_stack=False),
    _kind(r"unregister_netdevice: waiting for", "unregister_netdevice: waiting for DEV to become free", needs_stack=False),
    _kind(r"VFS: Close", "VFS: Close: file count is zero (use-after-free)", needs_stack=False),
    _kind(r"VFS: Busy", "VFS: Busy inodes after unmount (use-after-free)", needs_stack=False),
    _kind(r"trusty: panic.{0,200}ASSERT FAILED at \([^)]{0,200}\): (?P<condition>.*)", "trusty: ASSERT FAILED: {condition}",
          needs_stack=False),
    _kind(r"trusty: panic \([^)]{0,200}\): (?P<rest>.*)", "trusty: panic: {rest}", needs_stack=False),
    _kind(r"fatal error:", "go runtime error", needs_stack=False),
    _kind(r"SYZFATAL:(?P<rest>.*)", "SYZFATAL:{rest}", alt=("SYZFATAL",), needs_stack=False),
    _kind(r"panic: Sentry detected .{0,80}stuck task", "panic: Sentry detected stuck tasks", needs_stack=False),
    _kind(r"INFO: (?P<rest>(?:Freed|Allocated) in .*)", "INFO: {rest}", needs_stack=False, corrupted=True),
    _kind(r"(?P<where>BUG|WARNING|INFO):\s*$", "{where}: corrupted", needs_stack=False, corrupted=True),
    _kind(r"(?P<rest>.*)", "{rest}", needs_stack=False),
)  # fmt: skip

# The program under test died because there was no memory: not the kernel's fault.
SUPPRESSED = (
    "fatal error: runtime: out of memory", "fatal error: runtime: cannot allocate", "fatal error: out of memory",
    "fatal error: cannot allocate", "runtime: out of memory", "panic: cannot allocate memory",
    "panic: failed to start executor binary", "signal SIGKILL: out of memory",
)  # fmt: skip
# What begins a report, and headlines below it that belong to it; True: only where the same task or CPU is known to say both.
CONTINUATIONS: tuple[tuple[re.Pattern[str], re.Pattern[str], bool], ...] = (
    (re.compile(""), re.compile(r"Kernel panic|invalid opcode:|Internal error:|INFO: (?:Freed|Allocated|Slab|Object)|"
                                r"[a-z ]*fatal error:|SYZ|unregister_netdevice:"), False),
    (re.compile(""), re.compile(r"general protection fault"), True),
    (re.compile("INFO: task"), re.compile("INFO: task"), False),
    (re.compile("rust_kernel"), re.compile(r"kernel BUG at rust/helpers"), False),
    (re.compile("BUG: Dentry"), re.compile(r"WARNING: .{0,80}umount_check"), False),
)  # fmt: skip
REPORT_END = ("Rebooting in ", "---[ end Kernel panic")  # in the last line of a report
