"""Commits that cannot matter to the kernel under test: documentation, another architecture, drivers whose option is off.

Data, and the little code that adds one row of it to a tree. Read `TABLES` first. A table is a file that grows a row at a
time, in an order the seed draws. A paragraph now and then comes in with a slip of the pen that somebody mends later.
"""

from __future__ import annotations

from dataclasses import dataclass

from kbench.lab.graph import Dice
from kbench.lab.patch import Edit, Files


@dataclass(frozen=True, slots=True)
class Table:
    """A file that grows row by row; `{0}`, `{1}` … in line and subject are the row's fields."""

    path: str
    area: str
    start: str  # the file before its first row
    line: str
    subject: str
    rows: tuple[tuple[str, ...], ...]
    bodies: tuple[str, ...]
    end: str = ""  # kept after the last row


def _rows(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split(" | ")) for line in text.strip().splitlines())


_SYSCALLS = """
exit | Ends the calling task; its parent frees it with wait().
getpid | Returns the number of the calling task. It cannot fail.
clone | Starts a thread that shares all memory and all descriptors with its parent.
wait | Frees a child that has ended and returns its number; 0 when all still run.
yield | Gives the rest of the tick to the next task in the run queue.
sleep | Sleeps for a number of ticks. No signal ends it early, because there are none.
ticks | Returns the ticks since boot; it wraps around after some weeks.
open | Opens a file by its path and returns the lowest free descriptor.
close | Gives the descriptor back. The file goes when its last user does.
read | Reads from the position of the descriptor and moves it on.
write | Writes at the position of the descriptor and moves it on; a file has a largest size.
dup | Makes a second descriptor of one open file; both share a position.
unlink | Removes a name. Whoever has the file open keeps it until it is closed.
rename | Gives a file another name, in another directory too.
ls | Prints all names with the sizes of their files.
pipe | Returns two descriptors, one to read from and one to write to.
uname | Prints the name and the version of the kernel.
ps | Prints all tasks with their states.
bootdata | Copies what the boot loader handed in to user memory.
poweroff | Switches the machine off.
reboot | Restarts the machine.
lkdtm | Crashes the kernel on purpose, to test whoever reads the console.
"""

_GLOSSARY = """
tick | One turn of the timer, and the longest a task runs at a stretch.
red zone | Bytes around an object that nobody may touch.
quarantine | Where freed objects wait, so that a late access still finds them freed.
dentry | A name in a directory, with the inode it leads to.
inode | A file or a directory itself, whatever it is called.
descriptor | The small number a program knows an open file by.
run queue | The tasks that could run, in the order in which they will.
wait queue | The tasks that sleep until one event.
initcall | A function that is called once at boot, before the first program.
oops | What the kernel prints when it met an error of its own.
panic | The end: the kernel stops, and says why.
shadow memory | A byte for every few bytes of memory, to say which may be touched.
system call | A program's question to the kernel, by a number in a register.
trap | An exception or an interrupt, seen from the kernel.
reproducer | A list of system calls that shows a bug.
watchdog | Looks with every tick for tasks that make no progress.
race | A bug that needs two tasks to meet at a bad moment.
noop commit | A commit after which the compiler makes the same kernel.
"""

_FAQ = """
Why is there no swap? | Because a machine with a few megabytes that boots in a blink has no use for it.
Why are virtual addresses physical ones? | Because then an address in a register dump is one to look for with a debugger.
Why one processor only? | Because preemption alone makes all the races a reader can follow.
Where are the signals? | Nowhere yet. A task ends by itself or with the machine.
Can I run it without QEMU? | Not yet, there is no driver for a real disk or a real screen.
Why is the heap so simple? | So that its checker can be simple, and that one matters.
Which compilers work? | Every gcc since version 9; clang is not tested.
Why is page 0 not mapped? | So that a NULL pointer traps instead of reading what is there.
How do I see the log of an earlier boot? | Keep the console in a file, the kernel keeps nothing.
Why 32 bits? | It is the shortest way from the first instruction to C.
How long does a build take? | Two or three seconds from scratch, and less than one after a small change.
What happens when the heap is full? | Allocations return NULL, and the callers say so with an error.
"""

_DEBUGGING = """
Attach a debugger | Start QEMU with -s -S and connect gdb to port 1234; the symbols are in the ELF file.
Read a call trace | The first line is where it happened. A question mark is a return address that may be stale.
Find a line of code | Give the address to addr2line together with the ELF file.
Find out who freed an object | The report names both stacks: who allocated it and who freed it.
See all tasks | The ps call prints them with their states.
Make time stand still | Build with a low CONFIG_HZ; races become rarer and traces easier to read.
Make a race likelier | Build with a high CONFIG_HZ and run more threads.
Log more | Build with CONFIG_DEBUG=y and read the console.
Watch a variable | A hardware watch point works: watch -l NAME in gdb.
Compare two kernels | Disassemble both with objdump -d and compare the texts.
Catch a hang | The watchdog names the task, where it sleeps and for how long.
"""

_CSRS = """
sstatus | 0x100 | supervisor status
sie | 0x104 | interrupts enabled
stvec | 0x105 | address of the trap handler
scounteren | 0x106 | counters user mode may read
senvcfg | 0x10a | environment of user mode
sscratch | 0x140 | free for the trap handler
sepc | 0x141 | where a trap came from
scause | 0x142 | why it came
stval | 0x143 | bad address or instruction
sip | 0x144 | interrupts pending
stimecmp | 0x14d | next timer interrupt
satp | 0x180 | page table and its mode
scontext | 0x5a8 | context for the debugger
cycle | 0xc00 | cycles, low half
time | 0xc01 | wall clock, low half
instret | 0xc02 | instructions retired, low half
cycleh | 0xc80 | cycles, high half
timeh | 0xc81 | wall clock, high half
instreth | 0xc82 | instructions retired, high half
"""

_SBI = """
set_timer | 0x54494d45 | 0
send_ipi | 0x735049 | 0
remote_fence_i | 0x52464e43 | 0
remote_sfence_vma | 0x52464e43 | 1
hart_start | 0x48534d | 0
hart_stop | 0x48534d | 1
hart_get_state | 0x48534d | 2
hart_suspend | 0x48534d | 3
system_reset | 0x53525354 | 0
console_write | 0x4442434e | 0
console_read | 0x4442434e | 1
console_write_byte | 0x4442434e | 2
probe_extension | 0x10 | 3
get_impl_id | 0x10 | 1
"""

_CAUSES = """
0 | instruction address misaligned
1 | instruction access fault
2 | illegal instruction
3 | breakpoint
4 | load address misaligned
5 | load access fault
6 | store address misaligned
7 | store access fault
8 | call from user mode
9 | call from supervisor mode
12 | instruction page fault
13 | load page fault
15 | store page fault
"""

_KEYS = """
0x01 | 27 | Escape
0x02 | '1' | 1
0x03 | '2' | 2
0x04 | '3' | 3
0x05 | '4' | 4
0x06 | '5' | 5
0x07 | '6' | 6
0x08 | '7' | 7
0x09 | '8' | 8
0x0a | '9' | 9
0x0b | '0' | 0
0x0c | '-' | minus
0x0d | '=' | equals
0x0e | 8 | backspace
0x0f | 9 | Tab
0x10 | 'q' | Q
0x11 | 'w' | W
0x12 | 'e' | E
0x13 | 'r' | R
0x14 | 't' | T
0x15 | 'y' | Y
0x16 | 'u' | U
0x17 | 'i' | I
0x18 | 'o' | O
0x19 | 'p' | P
0x1c | 10 | Enter
0x1e | 'a' | A
0x1f | 's' | S
0x20 | 'd' | D
0x21 | 'f' | F
0x22 | 'g' | G
0x23 | 'h' | H
0x39 | ' ' | the space bar
"""

_CLOCK = """
seconds | 0x00
minutes | 0x02
hours | 0x04
weekday | 0x06
day | 0x07
month | 0x08
year | 0x09
status_a | 0x0a
status_b | 0x0b
century | 0x32
"""

_PCI = """
0x0100 | SCSI controller
0x0101 | IDE controller
0x0106 | SATA controller
0x0108 | NVM controller
0x0200 | Ethernet controller
0x0300 | VGA controller
0x0401 | audio device
0x0500 | RAM memory
0x0600 | host bridge
0x0601 | ISA bridge
0x0604 | PCI bridge
0x0700 | serial controller
0x0880 | system peripheral
0x0900 | keyboard controller
0x0c03 | USB controller
0x0c05 | SMBus
0x1000 | encryption controller
"""

_MAINTAINERS = """
HEAP | mm/ | Halina Brandt <halina@example.org>
PIPES | fs/pipe.c | Teo Marrama <teo@example.org>
FILE SYSTEM | fs/ | Piet Vandersloot <piet@example.org>
SCHEDULER | kernel/sched.c | Anja Lindqvist <anja@example.org>
TIMER | kernel/timer.c | Sunniva Dahl <sunniva@example.org>
PRINTK | kernel/printk.c | Marek Zielny <marek@example.org>
HUNG TASKS | kernel/khungtaskd.c | Anja Lindqvist <anja@example.org>
X86 | arch/x86/ | Joao Brandao <joao@example.org>
RISC-V SKETCH | arch/riscv/ | Mei Tanaka <mei@example.org>
DOCUMENTATION | Documentation/ | Ruth Okonjo <ruth@example.org>
KEYBOARD | drivers/keyboard.c | Oisin Kerrigan <oisin@example.org>
REAL-TIME CLOCK | drivers/rtc.c | Farah Aziz <farah@example.org>
"""

_TODO = """
swap the linear search in the descriptor table for a bitmap
let pipes grow
signals, at least SIGKILL
a second processor
measure how long interrupts stay off
user memory for each task
a file system that survives a reboot
poll() for pipes
let the heap return whole pages
priorities in the scheduler
a test that fills the heap
show the load in ps
read the real-time clock at boot
say which option is missing when a call is not there
a network device
let exec() start a second program
"""

_DOC_BODIES = (
    "People new to the tree ask for this.",
    "This was only in somebody's head.",
    "No code is touched.",
    "From the notes of the last review.",
    "Found missing while explaining it to a student.",
)
_RISCV_BODIES = ("For the port, which does not boot yet.", "Taken from the privileged specification.", "The port needs it next.")
_DRIVER_BODIES = (
    "Off by default, and not in the test configuration.",
    "Only built when the option is set.",
    "Tried on an old laptop.",
)

TABLES: tuple[Table, ...] = (
    Table(
        "Documentation/syscalls.rst",
        "Documentation",
        "System calls\n============\n\nIn no order.\n",
        "\n{0}\n    {1}\n",
        "describe {0}()",
        _rows(_SYSCALLS),
        _DOC_BODIES,
    ),
    Table(
        "Documentation/glossary.rst",
        "Documentation",
        "Glossary\n========\n",
        "\n{0}\n    {1}\n",
        "explain the word {0}",
        _rows(_GLOSSARY),
        _DOC_BODIES,
    ),
    Table(
        "Documentation/faq.rst",
        "Documentation",
        "Questions\n=========\n",
        "\n**{0}**\n{1}\n",
        "answer '{0}'",
        _rows(_FAQ),
        _DOC_BODIES,
    ),
    Table(
        "Documentation/debugging.rst",
        "Documentation",
        "Debugging\n=========\n",
        "\n* {0}: {1}\n",
        "how to: {0}",
        _rows(_DEBUGGING),
        _DOC_BODIES,
    ),
    Table(
        "MAINTAINERS",
        "MAINTAINERS",
        "Who looks after what. A patch goes to the address, the list is lab@example.org.\n",
        "\n{0}\nM:\t{2}\nF:\t{1}\n",
        "add an entry for {1}",
        _rows(_MAINTAINERS),
        ("As agreed on the list.", "Somebody has to."),
    ),
    Table(
        "TODO",
        "TODO",
        "Wanted, in no order:\n\n",
        "- {0}\n",
        "{0}",
        _rows(_TODO),
        ("So that it is not forgotten.", "Any takers?"),
    ),
    Table(
        "arch/riscv/csr.h",
        "riscv",
        "/* Control and status registers. */\n",
        "#define CSR_{0} {1}\t/* {2} */\n",
        "add the number of {0}",
        _rows(_CSRS),
        _RISCV_BODIES,
    ),
    Table(
        "arch/riscv/sbi.c",
        "riscv",
        '/* Calls to the firmware. */\n#include "sbi.h"\n',
        "\nlong sbi_{0}(long a0, long a1)\n{{\n\treturn sbi_call({1}, {2}, a0, a1);\n}}\n",
        "call the firmware's {0}()",
        _rows(_SBI),
        _RISCV_BODIES,
    ),
    Table(
        "arch/riscv/trap.c",
        "riscv/trap",
        "/* Names of the causes of traps. */\nstatic const char *const causes[16] = {\n",
        '\t[{0}] = "{1}",\n',
        "name cause {0}, {1}",
        _rows(_CAUSES),
        _RISCV_BODIES,
        "};\n",
    ),
    Table(
        "drivers/keyboard.c",
        "keyboard",
        "/* From scan codes to characters; with CONFIG_KEYBOARD only. */\nstatic const char keymap[128] = {\n",
        "\t[{0}] = {1},\n",
        "map {2}",
        _rows(_KEYS),
        _DRIVER_BODIES,
        "};\n",
    ),
    Table(
        "drivers/rtc.c",
        "rtc",
        "/* The real-time clock; with CONFIG_RTC only. */\nunsigned char rtc_read(unsigned char index);\n",
        "\nunsigned char rtc_{0}(void)\n{{\n\treturn rtc_read({1});\n}}\n",
        "read {0}",
        _rows(_CLOCK),
        _DRIVER_BODIES,
    ),
    Table(
        "drivers/pci.c",
        "pci",
        "/* Names of device classes; with CONFIG_PCI only. */\n"
        "static const struct { int class; const char *name; } classes[] = {\n",
        '\t{{ {0}, "{1}" }},\n',
        "know class {0}, {1}",
        _rows(_PCI),
        _DRIVER_BODIES,
        "};\n",
    ),
)

_SLIPS = (
    (" the ", " the the "),
    ("cannot", "can not"),
    (" because ", " becuase "),
    ("address", "adress"),
    ("memory", "memroy"),
    (" its ", " it's "),
)
_WORDINGS = (
    (" has to ", " must "),
    (" does not ", " doesn't "),
    ("nobody", "no one"),
    (" which ", " that "),
    (" until ", " till "),
    (" whoever ", " who "),
    (" together with ", " along with "),
    (" small ", " little "),
    (" makes ", " creates "),
)


def add_row(dice: Dice, files: Files, table: Table) -> Edit | None:
    """One more row of the table; None when all of them are there."""
    text = files.get(table.path, table.start + table.end)
    rows = [row for row in table.rows if table.line.format(*row) not in text and not _slipped(table.line.format(*row), text)]
    if not rows:
        return None
    row = dice.pick(rows)
    line = table.line.format(*row)
    slips = [(right, wrong) for right, wrong in _SLIPS if right in line and table.path.endswith(".rst")]
    if slips and dice.chance(0.25):
        line = line.replace(*dice.pick(slips), 1)
    text = text[: len(text) - len(table.end)] + line + table.end
    return Edit(table.area, table.subject.format(*row), dice.pick(table.bodies), {table.path: text})


def mend_slip(dice: Dice, files: Files, table: Table) -> Edit | None:
    """Correct one slip of the pen that an earlier row came with."""
    text = files.get(table.path, "")
    slips = [(wrong, right) for right, wrong in _SLIPS if wrong in text and table.path.endswith(".rst")]
    if not slips:
        return None
    wrong, right = dice.pick(slips)
    name = table.path.rpartition("/")[2]
    return Edit(
        table.area, f"fix a typo in {name}", f"s/{wrong.strip()}/{right.strip()}/", {table.path: text.replace(wrong, right, 1)}
    )


def reword(dice: Dice, files: Files, table: Table) -> Edit | None:
    """Another word for the same thing; never runs out, because it goes both ways."""
    text = files.get(table.path, "")
    pairs = [(a, b) for one, two in _WORDINGS for a, b in ((one, two), (two, one)) if a in text and table.path.endswith(".rst")]
    if not pairs:
        return None
    old, new = dice.pick(pairs)
    at = dice.pick([k for k in range(len(text)) if text.startswith(old, k)])
    name = table.path.rpartition("/")[2]
    body = f"'{new.strip()}' reads better than '{old.strip()}' here."
    return Edit(table.area, f"reword a line of {name}", body, {table.path: text[:at] + new + text[at + len(old) :]})


def _slipped(line: str, text: str) -> bool:
    return any(right in line and line.replace(right, wrong, 1) in text for right, wrong in _SLIPS)
