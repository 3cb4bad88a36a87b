// As the C programs syzkaller writes are: a process a round, threads that wait for calls to make, bad addresses survived.
// The exit code is 0 if every thread had a TLS, an errno and floating-point registers of its own.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 5
#define THREADS 8
#define DATA 0x20000000ul

static __thread int own = 7, skips_faults;
static __thread sigjmp_buf before;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int right, survived, running;
static struct worker {
	int call, ready;
} workers[THREADS];

static void on_fault(int number, siginfo_t *info, void *context)
{
	if (!skips_faults)
		_exit(number);
	siglongjmp(before, 1);
}

static void make_call(int call)
{
	double half = call + 0.5;

	own += call;
	skips_faults = 1;
	if (sigsetjmp(before, 0) == 0) {
		*(volatile int *)(DATA + 64 * call) = call;
		*(volatile int *)16 = 1;
	} else {
		__atomic_fetch_add(&survived, 1, __ATOMIC_SEQ_CST);
	}
	skips_faults = 0;
	syscall(-1);
	usleep(1000);
	pthread_mutex_lock(&lock);
	right += errno == ENOSYS && half == call + 0.5 && own == 7 + call;
	pthread_mutex_unlock(&lock);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	while (!__atomic_load_n(&worker->ready, __ATOMIC_ACQUIRE))
		syscall(SYS_futex, &worker->ready, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL);
	make_call(worker->call);
	__atomic_fetch_sub(&running, 1, __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static void run_round(void)
{
	for (int i = 0; i < THREADS; i++) {
		pthread_attr_t attributes;
		pthread_t thread;

		workers[i].call = i;
		pthread_attr_init(&attributes);
		pthread_attr_setstacksize(&attributes, 128 << 10);
		__atomic_fetch_add(&running, 1, __ATOMIC_SEQ_CST);
		if (pthread_create(&thread, &attributes, work, &workers[i]))
			_exit(2);
	}
	for (int i = 0; i < THREADS; i++) {
		__atomic_store_n(&workers[i].ready, 1, __ATOMIC_RELEASE);
		syscall(SYS_futex, &workers[i].ready, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
	}
	while (__atomic_load_n(&running, __ATOMIC_SEQ_CST))
		usleep(1000);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_NODEFER | SA_SIGINFO };
	int status, good = 0;

	mmap((void *)DATA, 0x1000000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED | MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
	sigaction(SIGSEGV, &action, NULL);
	for (int round = 0; round < ROUNDS; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setpgrp();
			run_round();
			_exit(right == THREADS && survived == THREADS && own == 7 ? 0 : 1);
		}
		while (waitpid(-1, &status, __WALL) != pid)
			;
		good += status == 0;
	}
	return good == ROUNDS ? 0 : 1;
}
