// A thread that is not the first one has a timer on its processor time, and executes a program that needs some.
// needs: CONFIG_POSIX_TIMERS
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char stack[65536];

static int executes(void *arguments)
{
	char **first = arguments, *again[] = { first[0], "again", NULL };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec soon = { .it_value = { .tv_nsec = 60000000 } };
	int timer;

	if (syscall(SYS_timer_create, CLOCK_THREAD_CPUTIME_ID, &event, &timer) || syscall(SYS_timer_settime, timer, 0, &soon, 0))
		syscall(SYS_exit_group, 1);
	syscall(SYS_execve, "/proc/self/exe", again, NULL);
	syscall(SYS_exit_group, 1);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		for (clock_t end = clock() + CLOCKS_PER_SEC / 3; clock() < end;)
			;
		return 0;
	}
	clone(executes, stack + sizeof(stack), CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, argv);
	sleep(10);
	return 1;
}
