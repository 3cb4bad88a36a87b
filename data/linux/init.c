/*
 * The first and only process kbench itself starts in a Linux guest. Read main() last: it is the order of things.
 *
 * Mounts what programs expect, tests the kernel a little, runs the reproducer until it ends or its time is over, kills what
 * is left of it and ends the machine. What it has to say goes to the kernel's log, so that no line of the kernel's can fall
 * into one of its own; kbench reads it on the console:
 *
 *	kbench: up				user space is there
 *	kbench: basic test failed: WHAT		no reproducer was run
 *	kbench: waiting				for a line on the console (kbench.wait)
 *	kbench: reproducer started
 *	kbench: reproducer ended, HOW
 *	kbench: syscall NR ERRNO COUNT		what its system calls came to (kbench.trace): when first seen, and at the end
 *	kbench: done
 *	kbench# 				without a reproducer: a shell waits for a command
 *
 * Words on the kernel's command line, all optional: kbench.limit=SECONDS, kbench.trace, kbench.seed=HEX, kbench.wait,
 * kbench.root=DEVICE, kbench.settle=MILLISECONDS.
 *
 * Static, glibc, Linux 4.9 or newer (older kernels lack nothing but single features). Nothing here is trusted to work: a
 * kernel of any config boots this, and what is missing is left out.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <linux/random.h>

#define SECOND_ARCHIVE "/kbench"		/* where the second archive puts the reproducer and what it needs */
#define OFFERED "/run/kbench"		/* where it is while it runs, in a disk image too */
#define MAX_ARGUMENTS 32
#define ROOT "/root"			/* where the disk image of kbench.root is mounted */
#define KILL_S 10			/* a process that has not ended so long after SIGKILL never will */
#define STOP_ROUNDS 4			/* a process that was forking leaves a child that was not stopped */
#define STOP_MS 3
#define SETTLE_MS 20			/* a crash may follow the reproducer's end: timers, RCU, work queues */
#define LOUD 8				/* console log level that shows all but debugging */
#define EXEC_TEST 42			/* exit code of this program when it is executed as a test of exec */

static int kmsg_fd = -1;
static char cmdline[8192];

/* ------------------------------------------------------------------ words and lines */

/* One record of the kernel's log, "<12>text\n", by one write: dprintf() seeks first, which this file does not allow. */
static void log_record(char *record, size_t length)
{
	size_t level = strcspn(record, ">");

	klogctl(8, NULL, LOUD); /* again: a reproducer may have lowered it */
	if (kmsg_fd >= 0 && write(kmsg_fd, record, length) == (ssize_t)length)
		return;
	record[level] = '\n'; /* a kernel without a log: the console itself, on a line of its own */
	if (write(1, record + level, length - level) < 0)
		return;
}

/* One line, whole. */
static void say(const char *format, ...)
{
	char line[512];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = snprintf(line, sizeof(line), "<12>kbench: ");
	length += vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof(line) - 2)
		length = sizeof(line) - 2;
	line[length++] = '\n';
	log_record(line, length);
}

/* The value of a word of the command line: "" for a bare word, NULL when it is not there. */
static const char *word(const char *name)
{
	static char value[256];
	size_t length = strlen(name);

	for (const char *at = cmdline; (at = strstr(at, name)); at += length) {
		bool begins = at == cmdline || at[-1] == ' ' || at[-1] == '\n';
		const char *end = at + length;

		if (!begins || (*end && !strchr("= \n", *end)))
			continue;
		if (*end == '=')
			end++;
		snprintf(value, sizeof(value), "%.*s", (int)strcspn(end, " \n"), end);
		return value;
	}
	return NULL;
}

static long number(const char *name, long otherwise)
{
	const char *value = word(name);

	return value && *value ? strtol(value, NULL, 10) : otherwise;
}

static double now_s(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void sleep_ms(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&time, &time) < 0 && errno == EINTR)
		;
}

static ssize_t put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));

	if (fd >= 0)
		close(fd);
	return written;
}

/* ------------------------------------------------------------------ getting ready */

static const struct {
	const char *type, *where, *options;
} mounts[] = {
	{ "proc", "/proc", NULL },
	{ "sysfs", "/sys", NULL },
	{ "devtmpfs", "/dev", NULL },
	{ "devpts", "/dev/pts", "newinstance,ptmxmode=0666" },
	{ "tmpfs", "/dev/shm", NULL },
	{ "mqueue", "/dev/mqueue", NULL },
	{ "tmpfs", "/tmp", NULL },
	{ "tmpfs", "/run", NULL },
	{ "debugfs", "/sys/kernel/debug", NULL },
	{ "tracefs", "/sys/kernel/tracing", NULL },
	{ "configfs", "/sys/kernel/config", NULL },
	{ "bpf", "/sys/fs/bpf", NULL },
	{ "cgroup2", "/sys/fs/cgroup", NULL },
	{ "fusectl", "/sys/fs/fuse/connections", NULL },
};

static const struct {
	const char *name;
	mode_t mode;
	unsigned int major, minor;
} nodes[] = {
	{ "null", S_IFCHR, 1, 3 }, { "zero", S_IFCHR, 1, 5 }, { "full", S_IFCHR, 1, 7 }, { "random", S_IFCHR, 1, 8 },
	{ "urandom", S_IFCHR, 1, 9 }, { "kmsg", S_IFCHR, 1, 11 }, { "tty", S_IFCHR, 5, 0 }, { "console", S_IFCHR, 5, 1 },
	{ "ptmx", S_IFCHR, 5, 2 },
};

/* Mount what the kernel has, below `root` ("" is the guest's own). Without devtmpfs the usual nodes are made. */
static void mount_all(const char *root)
{
	char path[128];

	for (size_t i = 0; i < sizeof(mounts) / sizeof(*mounts); i++) {
		snprintf(path, sizeof(path), "%s%s", root, mounts[i].where);
		mkdir(path, 0755);
		if (mount(mounts[i].type, path, mounts[i].type, 0, mounts[i].options) == 0 && !strcmp(mounts[i].where, "/tmp"))
			chmod(path, 01777);
	}
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		snprintf(path, sizeof(path), "%s/dev/%s", root, nodes[i].name);
		mknod(path, nodes[i].mode | 0666, makedev(nodes[i].major, nodes[i].minor));
	}
	snprintf(path, sizeof(path), "%s/dev/fd", root);
	if (symlink("/proc/self/fd", path) < 0)
		return;
}

static void read_cmdline(void)
{
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? 0 : read(fd, cmdline, sizeof(cmdline) - 1);

	cmdline[length > 0 ? length : 0] = 0;
	if (fd >= 0)
		close(fd);
}

/* Stir the kernel's random state with bytes written in hex; machines from one saved state would all draw the same numbers. */
static void seed(const char *hex)
{
	struct {
		struct rand_pool_info info;
		unsigned char bytes[64];
	} pool;
	unsigned int byte;
	int fd, length = 0;

	for (; length < (int)sizeof(pool.bytes) && isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]); hex += 2) {
		sscanf(hex, "%2x", &byte);
		pool.bytes[length++] = byte;
	}
	pool.info.entropy_count = 8 * length;
	pool.info.buf_size = length;
	fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	ioctl(fd, RNDADDENTROPY, &pool);
	ioctl(fd, RNDRESEEDCRNG);
	close(fd);
}

/* Without echo a shell edits no lines, it prints its prompt and reads. */
static void stop_echo(void)
{
	struct termios console;

	if (tcgetattr(0, &console) < 0)
		return;
	console.c_lflag &= ~ECHO;
	tcsetattr(0, TCSANOW, &console);
}

/* Wait for a line on the console: the machine is saved here, and each run begins here with random bytes of its own. */
static void wait_for_line(void)
{
	char line[256];
	size_t length = 0;

	stop_echo();
	say("waiting");
	while (length < sizeof(line) - 1 && read(0, line + length, 1) == 1 && line[length] != '\n')
		length++;
	line[length] = 0;
	seed(line);
	say("up");
}

/* ------------------------------------------------------------------ basic tests */

static bool fork_and_exec(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execl("/init", "/init", "exec-test", NULL);
		_exit(1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXEC_TEST;
}

static bool pipe_carries(void)
{
	char got[4] = "";
	int ends[2];
	bool same;

	if (pipe(ends) < 0)
		return false;
	same = write(ends[1], "abc", 3) == 3 && read(ends[0], got, 3) == 3 && !strcmp(got, "abc");
	close(ends[0]);
	close(ends[1]);
	return same;
}

static bool file_keeps(void)
{
	char got[4] = "";
	int fd = open("/tmp/basic-test", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool same = fd >= 0 && write(fd, "abc", 3) == 3 && pread(fd, got, 3, 0) == 3 && !strcmp(got, "abc");

	if (fd >= 0)
		close(fd);
	unlink("/tmp/basic-test");
	return same;
}

static bool memory_maps(void)
{
	size_t length = 16 << 12; /* little: a page fault is dear in User-Mode Linux */
	char *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return false;
	for (size_t i = 0; i < length; i += 4096)
		memory[i] = 1;
	return munmap(memory, length) == 0;
}

static bool time_passes(void)
{
	double began = now_s();

	sleep_ms(1);
	return now_s() - began >= 0.001;
}

static const struct {
	const char *name;
	bool (*passes)(void);
} basic_tests[] = {
	{ "fork and exec", fork_and_exec },
	{ "pipe", pipe_carries },
	{ "file on tmpfs", file_keeps },
	{ "mmap", memory_maps },
	{ "timer", time_passes },
};

/* ------------------------------------------------------------------ system calls of the reproducer */

#ifndef PTRACE_GET_SYSCALL_INFO
#define PTRACE_GET_SYSCALL_INFO 0x420e
#endif
#define TRACE_OPTIONS \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)
#define MAX_PAIRS 2048
#define MAX_TASKS 4096

/* As in <linux/ptrace.h> since v5.3, which glibc's own headers may not have. */
struct syscall_seen {
	uint8_t op; /* 1: entry, 2: exit */
	uint8_t pad[3];
	uint32_t arch;
	uint64_t instruction_pointer, stack_pointer;
	union {
		struct {
			uint64_t nr, args[6];
		} entry;
		struct {
			int64_t rval;
			uint8_t is_error;
		} exit;
	};
};

static struct {
	long nr;
	int error;
	unsigned long count;
} pairs[MAX_PAIRS];
static size_t n_pairs;
static struct {
	pid_t pid;
	long nr;
} tasks[MAX_TASKS]; /* the call each task is in, by pid modulo the size: a clash loses a count, no more */
static bool tracing, trace_fails;

static void count_pair(long nr, int error)
{
	size_t i = 0;

	while (i < n_pairs && (pairs[i].nr != nr || pairs[i].error != error))
		i++;
	if (i == MAX_PAIRS)
		return;
	if (i == n_pairs) {
		pairs[n_pairs].nr = nr;
		pairs[n_pairs++].error = error;
		say("syscall %ld %d %d", nr, error, 1); /* now: the next call may be the one that crashes */
	}
	pairs[i].count++;
}

/* The same by its registers, for User-Mode Linux, which has no such request. */
static bool look_at_registers(pid_t pid, struct syscall_seen *seen)
{
#ifdef __x86_64__
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) < 0)
		return false;
	if (tasks[pid % MAX_TASKS].pid == pid) {
		seen->op = 2;
		seen->exit.rval = registers.rax;
		seen->exit.is_error = seen->exit.rval < 0 && seen->exit.rval >= -4095;
	} else if ((long)registers.rax == -ENOSYS) { /* else a new task comes back from fork */
		seen->op = 1;
		seen->entry.nr = registers.orig_rax;
	}
	return true;
#else
	(void)pid, (void)seen;
	return false;
#endif
}

static void look_at_syscall(pid_t pid)
{
	struct syscall_seen seen = { 0 };
	size_t slot = pid % MAX_TASKS;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(seen), &seen) < 0 && !look_at_registers(pid, &seen)) {
		trace_fails = true;
	} else if (seen.op == 1) {
		tasks[slot].pid = pid;
		tasks[slot].nr = seen.entry.nr;
	} else if (seen.op == 2 && tasks[slot].pid == pid) {
		count_pair(tasks[slot].nr, seen.exit.is_error ? -seen.exit.rval : 0);
		tasks[slot].pid = 0;
	}
}

/* Let a stopped task go on; a signal that is its own is handed to it. */
static void go_on(pid_t pid, int status)
{
	int stopped_by = WSTOPSIG(status), deliver = 0;

	if (stopped_by == (SIGTRAP | 0x80))
		look_at_syscall(pid);
	else if (status >> 16 == 0 && stopped_by != SIGSTOP) /* a new task begins with a SIGSTOP of the tracer's making */
		deliver = stopped_by;
	ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)deliver);
}

static void tell_syscalls(void)
{
	if (trace_fails || !n_pairs)
		say("trace: not available");
	for (size_t i = 0; !trace_fails && i < n_pairs; i++)
		say("syscall %ld %d %lu", pairs[i].nr, pairs[i].error, pairs[i].count);
}

/* ------------------------------------------------------------------ the reproducer */

/* The reproducer is no part of a disk image: it is shown on the tmpfs that is the image's /run. */
static bool offer(const char *root)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", root, OFFERED);
	mkdir(path, 0755);
	return mount(SECOND_ARCHIVE, path, NULL, MS_BIND, NULL) == 0;
}

/* The disk image becomes the reproducer's root. It is never written to: what has to be writable is a tmpfs. */
static bool enter_disk(const char *device)
{
	static const char *const types[] = { "ext4", "ext3", "ext2", "btrfs", "xfs", "f2fs", "squashfs", "erofs", "iso9660", "vfat" };
	static const char *const options[] = { "", "noload", "norecovery" };
	int why = ENODEV;

	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		for (size_t k = 0; k < sizeof(options) / sizeof(*options); k++) {
			if (mount(device, ROOT, types[i], MS_RDONLY, options[k]) < 0) {
				why = why == ENODEV ? errno : why; /* ENODEV: no such file system in this kernel */
				continue;
			}
			mount_all(ROOT);
			return offer(ROOT) && chroot(ROOT) == 0 && chdir("/") == 0;
		}
	errno = why;
	return false;
}

/* The arguments of the reproducer, one a line of a file beside it. */
static void read_arguments(char **arguments)
{
	static char text[4096];
	int fd = open(OFFERED "/arguments", O_RDONLY | O_CLOEXEC), n = 1;
	ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	text[length > 0 ? length : 0] = 0;
	for (char *line = strtok(text, "\n"); line && n < MAX_ARGUMENTS - 1; line = strtok(NULL, "\n"))
		arguments[n++] = line;
	arguments[n] = NULL;
}

/* In the child: become the reproducer, a shell script included. Never returns. */
static void become(const char *program)
{
	char *arguments[MAX_ARGUMENTS] = { (char *)program };

	read_arguments(arguments);
	setsid();
	ioctl(0, TIOCSCTTY, 1);
	if (chdir("/tmp") < 0)
		_exit(126);
	if (tracing) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(126);
		raise(SIGSTOP);
	}
	execv(program, arguments);
	dprintf(2, "kbench: cannot execute the reproducer: %s\n", strerror(errno));
	_exit(127);
}

/* Arrange for a signal at `end`, 0 for none; false: it is past. */
static bool stop_in_time(double end, double now)
{
	struct itimerval alarm = { { 0, 0 }, { 0, 0 } };
	double left = end - now;

	if (end && left <= 0)
		return false;
	alarm.it_value.tv_sec = end ? (long)left : 0;
	alarm.it_value.tv_usec = end ? (long)((left - (long)left) * 1e6) + 1 : 0;
	alarm.it_interval.tv_usec = end ? 10000 : 0; /* the first may come before waitpid() waits */
	setitimer(ITIMER_REAL, &alarm, NULL);
	return true;
}

static void nothing(int signal)
{
	(void)signal;
}

/* Reap until `main_pid` has ended (or, if 0, until no child is left) or the clock reaches `end` (0: never). */
static bool reap(pid_t main_pid, double end, int *status_of_main)
{
	bool over = false;
	int status;

	while (!over && stop_in_time(end, now_s())) {
		pid_t pid = waitpid(-1, &status, __WALL);

		over = pid < 0 && errno == ECHILD;
		if (pid < 0)
			continue;
		if (tracing && WIFSTOPPED(status))
			go_on(pid, status);
		else if (pid == main_pid && !WIFSTOPPED(status)) {
			*status_of_main = status;
			over = true;
		}
	}
	stop_in_time(0, 0);
	return over;
}

static void ended_how(char *text, size_t size, bool in_time, int status, long limit)
{
	if (!in_time)
		snprintf(text, size, "stopped after %ld s", limit);
	else if (WIFSIGNALED(status))
		snprintf(text, size, "killed by signal %d", WTERMSIG(status));
	else
		snprintf(text, size, "exit %d", WEXITSTATUS(status));
}

/*
 * Kill every process but this one until none is left. What cannot be killed hangs in the kernel: that is its bug.
 *
 * They are stopped first, so that none is killed while it forks: v6.12's User-Mode Linux does not survive that.
 */
static bool kill_all(void)
{
	double end = now_s() + KILL_S;
	int status;

	if (reap(0, now_s() + 0.001, &status))
		return true;
	for (int i = 0; i < STOP_ROUNDS && !tracing; i++) {
		kill(-1, SIGSTOP);
		sleep_ms(STOP_MS);
	}
	do {
		kill(-1, SIGKILL); /* again and again: one of them may be forking */
		if (reap(0, now_s() + 0.1, &status))
			return true;
	} while (now_s() < end);
	return false;
}

static void run_reproducer(const char *program)
{
	long limit = number("kbench.limit", 0);
	struct sigaction wake = { .sa_handler = nothing };
	int status = 0;
	char how[64];
	bool in_time;
	pid_t pid;

	sigaction(SIGALRM, &wake, NULL);
	tracing = word("kbench.trace") != NULL;
	say("reproducer started");
	pid = fork();
	if (pid == 0)
		become(program);
	if (tracing && (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status) ||
			ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)TRACE_OPTIONS) < 0 ||
			ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)) {
		trace_fails = true;
		tracing = false;
		kill(pid, SIGCONT);
	}
	in_time = reap(pid, limit ? now_s() + limit : 0, &status);
	ended_how(how, sizeof(how), in_time, status, limit);
	if (!kill_all()) {
		/* In the words of a crash report: nothing else tells a deadlock from a machine that is only slow. */
		char hangs[] = "<8>BUG: reproducer cannot be killed\n";

		log_record(hangs, sizeof(hangs) - 1);
		put("/proc/sysrq-trigger", "w");
	}
	say("reproducer ended, %s", how);
	if (word("kbench.trace"))
		tell_syscalls();
}

/* ------------------------------------------------------------------ the end */

static void run_shell(void)
{
	stop_echo();
	for (;;) {
		pid_t pid = fork();

		if (pid == 0) {
			setsid();
			ioctl(0, TIOCSCTTY, 1);
			setenv("PS1", "kbench# ", 1);
			execl("/bin/sh", "sh", NULL);
			_exit(127);
		}
		reap(pid, 0, &(int){ 0 });
		if (access("/bin/sh", X_OK) < 0)
			break;
	}
	say("basic test failed: no shell for this architecture; name a static busybox in KBENCH_BUSYBOX");
}

/* Each architecture has its own quickest way out; where the first does not work the next one does. */
static void end_machine(void)
{
	sync();
	reboot(word("kbench.reboot") ? RB_AUTOBOOT : RB_POWER_OFF);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

static bool kernel_works(void)
{
	for (size_t i = 0; i < sizeof(basic_tests) / sizeof(*basic_tests); i++)
		if (!basic_tests[i].passes()) {
			say("basic test failed: %s: %s", basic_tests[i].name, strerror(errno));
			return false;
		}
	return true;
}

static void test_and_run(void)
{
	const char *program = OFFERED "/reproducer", *device;

	if (!kernel_works())
		return;
	device = word("kbench.root");
	if (device ? !enter_disk(device) : !offer("")) {
		say("basic test failed: cannot mount %s: %s", device ? device : SECOND_ARCHIVE, strerror(errno));
		return;
	}
	if (access(program, X_OK) < 0) {
		run_shell();
		return;
	}
	if (word("kbench.wait"))
		wait_for_line();
	run_reproducer(program);
	sleep_ms(number("kbench.settle", SETTLE_MS));
	say("done");
	/* A console full of the reproducer's words drops the kernel's own; a process's wait until there is room. */
	if (write(1, "\nkbench: done\n", 14) == 14)
		tcdrain(1);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "exec-test"))
		return EXEC_TEST;
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1);
	setenv("HOME", "/tmp", 1);
	mount_all("");
	read_cmdline();
	kmsg_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	put("/proc/sys/kernel/printk_devkmsg", "on\n"); /* else ten lines in five seconds; the line end is looked for */
	put("/proc/sys/kernel/hung_task_all_cpu_backtrace", "0");
	if (word("kbench.seed"))
		seed(word("kbench.seed"));
	say("up");
	test_and_run();
	end_machine();
}
