"""User-Mode Linux as a machine: its line as text, every way it can end, and that nothing of it is left."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kbench.errors import CaseError, InputError, LostMachineError
from kbench.machines import Ending, MachineRun, boot, initramfs, run, run_machine
from kbench.machines.um import environment, launched, um_argv
from kbench.machines.watch import Watch
from kbench.records import KernelImage, MachineSpec, Outcome
from kbench.runs import repro
from kbench.targets import UM

IMAGE = KernelImage(Path("/store/linux"), None, "0" * 64, UM)
OURS = "noreboot uml_dir=/dev/null con=null con0=fd:0,fd:1 ssl=null mem=128M"


def argv(cmdline: str = "", line: str = "{image} initrd={reproducer}", **other: Any) -> str:
    spec = replace(UM.machine, argv=tuple(line.split()), cmdline=cmdline, **other)
    return " ".join(um_argv(spec, IMAGE, reproducer=Path("/kept/r.cpio")))


def test_the_line() -> None:
    assert argv("panic=-1") == f"/store/linux initrd=/kept/r.cpio panic=-1 {OURS}"
    assert argv(line="{image} mem=64M initrd={reproducer}") == f"/store/linux mem=64M initrd=/kept/r.cpio {OURS[:-9]}"
    assert argv(rootfs="/images/d.img").endswith("ubd0r=/images/d.img")
    assert "{reproducer}" not in " ".join(um_argv(UM.machine, IMAGE, reproducer=None))


@pytest.mark.parametrize(
    "word",
    [
        *("eth0=tuntap,,,192.168.0.254", "vec0:transport=raw,ifname=eth0", "hostfs=/", "ubd0=/etc/passwd", "ubda=/dev/sda"),
        *("con1=xterm", "con=pty", "con0=port:9000", "ssl0=tty:/dev/tty1", "mconsole=notify:/tmp/s", "umid=x", "uml_dir=/tmp"),
        *("initrd=/etc/shadow", "dtb=/etc/passwd", "iomem=x,/dev/mem", "virtio_uml.device=/tmp/s:1", "time-travel=ext:/tmp/s"),
        *("rootfstype=hostfs", "rootflags=/etc", '"eth0=tuntap"', "dsp=/dev/dsp", "anything.path=/etc/x", "x=fd:7", "--"),
    ],
)
def test_words_that_let_a_guest_at_the_host_are_refused(word: str) -> None:
    with pytest.raises(CaseError, match="host_access"):
        argv(word)
    with pytest.raises(CaseError, match="host_access"):
        argv(line=f"{{image}} initrd={{reproducer}} {word}")
    trusted = replace(IMAGE, target=replace(UM, build=replace(UM.build, host_access=True)))
    assert word in um_argv(replace(UM.machine, cmdline=word), trusted, reproducer=None)


@pytest.mark.parametrize(
    "word",
    [
        "quiet",
        "loglevel=8",
        "init=/init",
        "root=/dev/ubda",
        "time-travel",
        "time-travel-start=5",
        "slub_debug=FZ",
        "console=tty0",
    ],
)
def test_words_of_the_kernels_own_stay(word: str) -> None:
    assert f" {word} " in argv(word)


@pytest.mark.parametrize("path", ["/images/a,/etc/shadow", "/images/a:b", "/images/a ubd1=b"])
def test_a_disk_image_whose_path_would_be_cut_is_refused(path: str) -> None:
    with pytest.raises(CaseError, match="rename"):
        argv(rootfs=path)


def test_a_reproducer_has_to_have_a_place() -> None:
    with pytest.raises(CaseError, match=r"\{reproducer\}"):
        argv(line="{image}")


def ending_of(*lines: str, exit_code: int | None) -> Ending:
    watch = Watch(MachineSpec(("{image}",), booted="^up", done="^done"), process=True, now=0.0)
    for line in lines:
        watch.line(line, 1.0)
    if exit_code is not None:
        watch.exited(exit_code, 2.0)
    seen = watch.look(1000.0)
    assert seen is not None
    return seen[0]


def test_how_a_process_ends() -> None:
    """The host's doing is no crash, whatever the kernel said of it."""
    assert ending_of("up", exit_code=0) is Ending.SHUTDOWN
    assert ending_of("up", "done", exit_code=0) is Ending.DONE
    assert ending_of("up", "reboot: Restarting system", exit_code=0) is Ending.RESET
    assert ending_of("up", "Kernel panic - not syncing: x", exit_code=-signal.SIGABRT) is Ending.CRASHED
    assert ending_of("up", exit_code=-signal.SIGSEGV) is Ending.PANICKED
    for host in (-signal.SIGKILL, -signal.SIGTERM, 1, 127):
        assert ending_of("up", exit_code=host) is Ending.LOST
        assert ending_of(exit_code=host) is Ending.LOST
    no_room = "Kernel panic - not syncing: Kernel mode signal 7"
    assert ending_of("up", no_room, exit_code=-signal.SIGABRT) is Ending.LOST


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ("userspace - PTRACE_GETREGS failed, errno = 3", Ending.LOST),
        ("userspace - ptrace set fp regs failed, errno = 14", Ending.LOST),
        ("wait_stub_done : failed to wait for SIGTRAP, pid = 7, n = 7, errno = 0, status = 0x137f", Ending.LOST),
        ("userspace - child stopped with signal 19", Ending.LOST),
        # what a program of the guest's own asks for, and gets a SIGSEGV for
        ("userspace - ptrace set fp regs failed, errno = 22", Ending.DONE),
        ("userspace - ptrace set regs failed, errno = 5", Ending.DONE),
    ],
)
def test_who_broke_a_process_of_the_guests(line: str, ending: Ending) -> None:
    assert ending_of("up", f"[    0.630000] {line}", "done", exit_code=0) is ending


# ------------------------------------------------------------------ real ones


def processes(image: Path) -> list[int]:
    """Process ids of all that run this image: launchers, kernels and their stubs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(image) in entry.read_bytes():
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def kernel_of(image: Path) -> int:
    """The process that is the guest's kernel itself."""
    for pid in processes(image):
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0] == os.fsencode(image):
                return min(p for p in processes(image) if Path(f"/proc/{p}/cmdline").read_bytes().startswith(os.fsencode(image)))
        except OSError:
            continue
    return 0


def wait_until(holds: Callable[[], Any], limit_s: float = 15.0) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def um(um_kernel: KernelImage, tmp_path: Path) -> Iterator[KernelImage]:
    """A kernel of this test's own path, so that its processes are told from all others; at the end none is left."""
    image = tmp_path / "linux"
    os.link(um_kernel.path, image) if um_kernel.path.stat().st_dev == tmp_path.stat().st_dev else image.write_bytes(
        um_kernel.path.read_bytes()
    )
    image.chmod(0o755)
    before = leftovers()
    yield replace(um_kernel, path=image)
    gc.collect()
    wait_until(lambda: not processes(image))
    assert leftovers() <= before


def leftovers() -> set[str]:
    """What User-Mode Linux leaves when it is not watched: folders in the home folder, files of its memory."""
    places = (Path.home() / ".uml", Path("/dev/shm"))
    return {str(path) for place in places if place.is_dir() for path in place.iterdir()}


def once(um: KernelImage, folder: Path, code: str, **other: Any) -> MachineRun:
    """Run a C function body as the reproducer."""
    source = folder / "repro.c"
    source.write_text(PROLOGUE + "int main(void)\n{\n" + code + "\nreturn 0;\n}\n")
    spec = replace(um.target.machine, **other)
    return run(run_machine(spec, um, reproducer=initramfs(um.target, source), console=folder / "console.txt"))


PROLOGUE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>
static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		perror(path);
}
"""


@pytest.mark.linux
@pytest.mark.parametrize(
    ("code", "ending", "text"),
    [
        ('printf("hello\\n");', Ending.DONE, "hello"),
        ("return 3;", Ending.DONE, "reproducer ended, exit 3"),
        ("abort();", Ending.DONE, "killed by signal 6"),
        ("for (;;) pause();", Ending.DONE, "stopped after 2 s"),
        ("for (;;);", Ending.DONE, "stopped after 2 s"),
        ("signal(SIGCHLD, SIG_IGN); for (;;) if (!fork()) usleep(20000), _exit(0);", Ending.DONE, "stopped after 2 s"),
        ("if (fork() == 0) { setsid(); for (;;) pause(); }", Ending.DONE, "reproducer ended, exit 0"),
        ("signal(SIGTERM, SIG_IGN); kill(1, SIGKILL); kill(-1, SIGTERM);", Ending.DONE, "reproducer ended, exit 0"),
        ("reboot(RB_POWER_OFF);", Ending.SHUTDOWN, "Power down"),
        ("reboot(RB_AUTOBOOT);", Ending.RESET, "Restarting system"),
        ('put("/dev/kmsg", "BUG: made up\\n"); sleep(9);', Ending.CRASHED, "BUG: made up"),
        ('write(1, "\\0\\xff\\n\\x1b[2J no end", 16);', Ending.DONE, "exit 0"),
        ('system("dmesg -n 1"); put("/proc/sys/kernel/printk", "0 0 0 0");', Ending.DONE, "exit 0"),
    ],
)  # fmt: skip
def test_endings(um: KernelImage, tmp_path: Path, code: str, ending: Ending, text: str) -> None:
    shown = once(um, tmp_path, code, repro_s=2.0)
    assert (shown.ending, shown.booted) == (ending, True), shown.text[-2000:]
    assert text in shown.text
    assert shown.text.encode("utf-8", "replace")[:50] in (tmp_path / "console.txt").read_bytes()


@pytest.mark.linux
def test_threads(um: KernelImage) -> None:
    """Each has its own TLS, errno and floating-point registers, and lives through bad addresses."""
    with_threads = Path(__file__).parent / "data" / "reproducers" / "threads.c"
    shown = run(run_machine(um.target.machine, um, reproducer=initramfs(um.target, with_threads), console=None))
    assert "reproducer ended, exit 0" in shown.text, shown.text[-2000:]


@pytest.mark.linux
def test_system_calls_are_counted(um: KernelImage, tmp_path: Path) -> None:
    code = 'close(99); close(99); if (!fork()) { close(99); _exit(0); } wait(NULL); open("/nowhere", 0);'
    shown = once(um, tmp_path, code, cmdline="kbench.trace")
    assert shown.ending is Ending.DONE
    assert {"kbench: syscall 3 9 3", "kbench: syscall 257 2 1"} <= {line.partition("] ")[2] for line in shown.text.splitlines()}


@pytest.mark.linux
def test_what_cannot_be_killed_is_a_crash(um: KernelImage, tmp_path: Path) -> None:
    """Two that trace each other, and have asked to be stopped before the other ends."""
    code = "int a = getpid(), b = fork(); ptrace(PTRACE_SEIZE, b ? b : a, 0, PTRACE_O_TRACEEXIT); for (;;) pause();"
    (tmp_path / "repro.c").write_text(PROLOGUE + f"#include <sys/ptrace.h>\nint main(void) {{ {code} }}\n")
    limited = replace(um, target=replace(um.target, machine=replace(um.target.machine, repro_s=1.0)))
    assert repro(limited, tmp_path / "repro.c", runs=1).titles == {"BUG: reproducer cannot be killed": 1}


@pytest.mark.linux
def test_registers_no_processor_takes_are_no_trouble_of_the_hosts(um: KernelImage, tmp_path: Path) -> None:
    (tmp_path / "repro.c").write_text(
        PROLOGUE + "#include <ucontext.h>\nstatic void spoil(int number, siginfo_t *info, void *context)\n"
        "{ memset((char *)((ucontext_t *)context)->uc_mcontext.fpregs + 512, 0xff, 64); }\n"
        "int main(void) { struct sigaction a = { .sa_sigaction = spoil, .sa_flags = SA_SIGINFO };\n"
        "sigaction(SIGUSR1, &a, NULL); raise(SIGUSR1); return 0; }\n"
    )
    shown = run(run_machine(um.target.machine, um, reproducer=initramfs(um.target, tmp_path / "repro.c"), console=None))
    assert shown.ending is Ending.DONE
    assert "killed by signal 11" in shown.text


NO_NAMESPACES = """
#include <errno.h>
#include <stddef.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
int main(int argc, char **argv)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 1;
	execv(argv[1], argv + 1);
	return 127;
}
"""


@pytest.mark.linux
@pytest.mark.parametrize("namespaces", [True, False], ids=["ordinary user", "no namespaces"])
def test_without_privileges(um: KernelImage, namespaces: bool) -> None:
    """Started by an ordinary user, and where the host gives no namespaces."""
    threads = initramfs(um.target, Path(__file__).parent / "data" / "reproducers" / "threads.c")
    launch, owner, *rest = launched(["linux", "initrd=threads.cpio", *um_argv(um.target.machine, um, reproducer=None)[1:]])
    with tempfile.TemporaryDirectory() as place:  # pytest's own folder is for its user only
        kept = {"launch": launch, "linux": um.path, "threads.cpio": threads, "xstate.so": environment()["LD_PRELOAD"]}
        for name, path in kept.items():
            shutil.copy(str(path), f"{place}/{name}")
        Path(place).chmod(0o755)
        subprocess.run(["gcc", "-xc", "-", "-o", f"{place}/refuse"], input=NO_NAMESPACES, text=True, check=True)
        before = [] if namespaces else [f"{place}/refuse"]
        ended = subprocess.run(
            [*before, f"{place}/launch", owner, f"{place}/linux", *rest[1:]],
            cwd=place, env={**os.environ, "LD_PRELOAD": f"{place}/xstate.so"},
            user=65534 if namespaces and os.getuid() == 0 else None, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended
    assert "reproducer ended, exit 0" in ended.stdout


@pytest.mark.linux
def test_a_flood_is_cut_and_read_to_its_end(um: KernelImage, tmp_path: Path) -> None:
    code = 'for (int i = 0; i < 30000; i++) printf("%099d\\n", i);'
    shown = once(um, tmp_path, code)
    assert shown.ending is Ending.DONE
    assert "bytes left out" in shown.text
    assert (tmp_path / "console.txt").stat().st_size < 3 << 20


@pytest.mark.linux
def test_the_fault_of_the_host_is_no_crash(um: KernelImage, tmp_path: Path) -> None:
    """Killed, or stopped and never let go on: lost."""
    for number in (signal.SIGKILL, signal.SIGSTOP):
        (tmp_path / "console.txt").unlink(missing_ok=True)
        threading.Thread(target=_signal_when_up, args=(um.path, tmp_path / "console.txt", number)).start()
        with pytest.raises(LostMachineError) as lost:
            once(um, tmp_path, "for (;;) pause();", silence_s=3.0)
        assert "User-Mode Linux" in str(lost.value)
        wait_until(lambda: not processes(um.path))


@pytest.mark.linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_of_the_guests_that_the_host_ends_is_no_crash(um: KernelImage, tmp_path: Path, number: int) -> None:
    """Killed, or stopped: the guest's kernel goes on as if the reproducer had done it."""
    threading.Thread(target=_signal_newest_stub, args=(um.path, tmp_path / "console.txt", number)).start()
    with pytest.raises(LostMachineError, match="host trouble"):
        once(um, tmp_path, "for (;;);")


def _signal_newest_stub(image: Path, console: Path, number: int) -> None:
    wait_until(lambda: console.exists() and b"reproducer started" in console.read_bytes())
    time.sleep(0.5)  # the reproducer's own address space is there, and runs
    os.kill(max(processes(image)), number)


def _signal_when_up(image: Path, console: Path, number: int) -> None:
    wait_until(lambda: console.exists() and b"reproducer started" in console.read_bytes())
    os.kill(kernel_of(image), number)


@pytest.mark.linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_owner_dies(um: KernelImage, tmp_path: Path, number: int) -> None:
    """Its stubs neither, though they are processes of their own that would go on without their kernel."""
    source = tmp_path / "repro.c"
    source.write_text("#include <unistd.h>\nint main(void) { fork(); fork(); for (;;); }\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom kbench.records import KernelImage\nfrom kbench.runs import repro\n"
        "from kbench.targets import UM\n"
        f"repro(KernelImage(Path({str(um.path)!r}), None, '0' * 64, UM), {str(source)!r}, runs=4)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_until(lambda: len(processes(um.path)) > 4)
    time.sleep(0.5)
    owner.send_signal(number)
    owner.wait()
    wait_until(lambda: not processes(um.path))


@pytest.mark.linux
def test_a_machine_that_takes_commands(um: KernelImage) -> None:
    with boot(um.target.machine, um) as machine:
        assert machine.run("echo $((6 * 7))").stdout == "42\n"
        assert machine.run("cd /proc").stdout == ""
        assert machine.run("pwd").stdout == "/proc\n"
        with pytest.raises(InputError, match="monitor"):
            machine.qmp("query-status")
        assert machine.run("poweroff -f").ending is Ending.SHUTDOWN


@pytest.mark.linux
def test_a_guest_has_no_network_and_no_privileges_on_the_host(um: KernelImage) -> None:
    with boot(um.target.machine, um):
        kernel = kernel_of(um.path)
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{kernel}/status").read_text().splitlines() if ":\t" in line)
        assert fields["NoNewPrivs"] == "1"
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
        assert Path(f"/proc/{kernel}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


@pytest.mark.linux
def test_runs_side_by_side(um: KernelImage, tmp_path: Path) -> None:
    """From the user's own file to a rate; a reproducer of a shell is as good."""
    script = tmp_path / "repro.sh"
    script.write_text("echo from the shell; uname -r\n")
    runs = repro(um, script, runs=6, consoles=tmp_path / "consoles")
    assert runs.counts == {Outcome.OK: 6}
    assert "from the shell" in (tmp_path / "consoles" / "run-005.txt").read_text()
