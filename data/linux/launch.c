/*
 * Starts a User-Mode Linux kernel as a process that cannot outlive kbench, gain privileges or reach the network.
 *
 *	launch OWNER IMAGE WORDS...
 *
 * OWNER is the process whose death ends the machine. Read main() last: it is the order of things. The processes:
 *
 *	launch			dies with its owner; ends as the kernel's process ended, by the same signal
 *	  launch, process 1	of a process namespace: when it ends, the host's kernel kills all that is left in it
 *	    IMAGE		the guest's kernel
 *	      IMAGE...		its stubs: one for each address space of the guest, and helpers
 *
 * Where namespaces are not to be had, launch becomes the guest's kernel itself: it dies with its owner, its stubs with it if
 * the kernel is new enough to have them do so (v6.12 is).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BY_SIGNAL 128	  /* exit codes of process 1 from here on: the kernel died of a signal */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

/* A network and processes of its own: as root, else in a user namespace. False: neither is allowed here. */
static bool separate(void)
{
	char map[64];
	uid_t user = getuid();
	gid_t own_group = getgid();

	if (unshare(CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC) < 0)
		return false;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", user, user);
	write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", own_group, own_group);
	write_file("/proc/self/gid_map", map);
	return true;
}

/* No capabilities, and none by executing anything. */
static void renounce(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	syscall(SYS_capset, &header, none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (parent && getppid() != parent) /* it was gone before */
		_exit(127);
}

static int status_of(pid_t pid)
{
	int status;

	for (;;) {
		pid_t ended = waitpid(-1, &status, 0);

		if (ended == pid)
			return WIFSIGNALED(status) ? BY_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
		if (ended < 0 && errno != EINTR)
			return 127;
	}
}

/* To User-Mode Linux these mean to clean up at once, in a signal handler: the kernel complains of that as of a bug. */
static void block_signals(void)
{
	sigset_t polite;

	sigemptyset(&polite);
	sigaddset(&polite, SIGTERM);
	sigaddset(&polite, SIGINT);
	sigprocmask(SIG_BLOCK, &polite, NULL);
}

static void become_kernel(char **argv)
{
	renounce();
	block_signals();
	execv(argv[0], argv);
	fprintf(stderr, "launch: cannot execute %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Process 1 of the namespace. A kernel that were this one itself could not end by a signal of its own: it would be ignored. */
static int run_kernel(char **argv, int launch_lives)
{
	struct pollfd end = { launch_lives, POLLIN, 0 };
	pid_t pid;

	die_with(0);
	if (poll(&end, 1, 0) != 0) /* it was gone before; from in here its number cannot be seen */
		return 127;
	pid = fork();
	if (pid == 0) {
		die_with(0);
		setsid();
		become_kernel(argv);
	}
	return status_of(pid);
}

/* End as the kernel did. */
static int end_as(int code)
{
	if (code <= BY_SIGNAL)
		return code;
	signal(code - BY_SIGNAL, SIG_DFL);
	raise(code - BY_SIGNAL);
	return code;
}

int main(int argc, char **argv)
{
	struct rlimit no_core = { 0, 0 };
	bool separated;
	int ends[2];
	pid_t pid;

	if (argc < 3)
		return 2;
	setrlimit(RLIMIT_CORE, &no_core);
	separated = separate();
	die_with(atoi(argv[1])); /* after it: a change of credentials takes the signal back */
	if (!separated)
		become_kernel(argv + 2);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return 127;
	pid = fork();
	if (pid == 0) {
		close(ends[1]);
		_exit(run_kernel(argv + 2, ends[0]));
	}
	return end_as(status_of(pid));
}
