/*
 * Was a function of a User-Mode Linux kernel entered while the reproducer ran? A debugger of one question.
 *
 *	entered FD BEGIN FUNCTIONS OUTER END IMAGE WORDS...
 *
 * BEGIN, FUNCTIONS, OUTER and END are lists of addresses in hex, with commas. IMAGE is started as this program's child. Until
 * it comes by an address of BEGIN, those of OUTER it comes by are crossed out. Then breakpoints stand at FUNCTIONS, END and
 * what is left of OUTER; at the first of those it is killed. Written to the file descriptor FD: "began" and then the address,
 * each on a line. Read main() last.
 *
 * The kernel is traced, its stubs are not: they are its own children, and it traces them itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#define MAX_BREAKPOINTS 64
#define INT3 0xcc

static struct breakpoint {
	unsigned long address;
	unsigned char byte; /* what was there */
} breakpoints[MAX_BREAKPOINTS];
static size_t n_breakpoints;

static bool put_byte(pid_t pid, unsigned long address, unsigned char byte, unsigned char *before)
{
	long word;

	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, address, NULL);
	if (before)
		*before = word;
	return !errno && ptrace(PTRACE_POKETEXT, pid, address, (word & ~0xffL) | byte) == 0;
}

static bool set_all(pid_t pid, const char *addresses)
{
	char *end;

	for (; *addresses; addresses = *end ? end + 1 : end) {
		struct breakpoint *here = &breakpoints[n_breakpoints];

		here->address = strtoul(addresses, &end, 16);
		if (n_breakpoints == MAX_BREAKPOINTS || !put_byte(pid, here->address, INT3, &here->byte))
			return false;
		n_breakpoints++;
	}
	return true;
}

static bool clear(pid_t pid, unsigned long address)
{
	for (size_t i = 0; i < n_breakpoints; i++)
		if (breakpoints[i].address == address) {
			bool cleared = put_byte(pid, address, breakpoints[i].byte, NULL);

			breakpoints[i] = breakpoints[--n_breakpoints];
			return cleared;
		}
	return false;
}

/* The address of the breakpoint the kernel stands at, its program counter put back there; 0: at none. */
static unsigned long hit(pid_t pid)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) < 0)
		return 0;
	for (size_t i = 0; i < n_breakpoints; i++)
		if (breakpoints[i].address == registers.rip - 1) {
			registers.rip--;
			return ptrace(PTRACE_SETREGS, pid, NULL, &registers) < 0 ? 0 : registers.rip;
		}
	return 0;
}

static bool is_in(unsigned long address, const char *addresses)
{
	char *end;

	for (; *addresses; addresses = *end ? end + 1 : end)
		if (strtoul(addresses, &end, 16) == address)
			return true;
	return false;
}

static pid_t start(char **argv, int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		close(fd);
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL)) < 0)
		exit(127);
	return pid;
}

int main(int argc, char **argv)
{
	bool began = false, works = true;
	int status, fd;
	pid_t pid;

	if (argc < 7)
		return 2;
	fd = atoi(argv[1]);
	pid = start(argv + 6, fd);
	for (long deliver = 0; works && ptrace(PTRACE_CONT, pid, NULL, deliver) == 0 && waitpid(pid, &status, __WALL) == pid;) {
		unsigned long address = 0;

		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		deliver = WSTOPSIG(status);
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) { /* the kernel may execute itself again */
			n_breakpoints = 0;
			works = set_all(pid, argv[2]) && set_all(pid, argv[4]);
			deliver = 0;
		} else if (deliver == SIGTRAP) {
			address = hit(pid);
		}
		if (!address)
			continue;
		deliver = 0;
		if (began) {
			dprintf(fd, "%lx\n", address);
			kill(pid, SIGKILL);
			return 0;
		}
		works = clear(pid, address);
		if (is_in(address, argv[2])) {
			began = true;
			dprintf(fd, "began\n");
			works = works && set_all(pid, argv[3]) && set_all(pid, argv[5]);
		}
	}
	return 127;
}
