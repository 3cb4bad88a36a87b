// Readers wait on a pipe whose last writer closes it: all of them have to learn of it.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READERS = 2, LOOKS = 40 };

/* Computes for a while. Whether a tick of the kernel's clock falls into that time decides who runs next. */
static void compute(long us)
{
	struct timespec from, now;

	clock_gettime(CLOCK_REALTIME, &from);
	do
		clock_gettime(CLOCK_REALTIME, &now);
	while ((now.tv_sec - from.tv_sec) * 1000000 + (now.tv_nsec - from.tv_nsec) / 1000 < us);
}

/* Goes on at a time that has nothing to do with the ticks. */
static void lose_step(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	compute(10000 - now.tv_nsec / 1000 % 10000);
}

int main(void)
{
	int ends[2], ended = 0;
	pid_t readers[READERS];
	char byte;

	if (pipe(ends))
		return 1;
	lose_step();
	for (int i = 0; i < READERS; i++) {
		readers[i] = fork();
		if (!readers[i]) {
			close(ends[1]);
			_exit(read(ends[0], &byte, 1) != 0);
		}
	}
	compute(5000);
	close(ends[1]); /* do they wait already? */
	for (int i = 0; i < LOOKS && ended < READERS; i++) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			ended++;
		usleep(10000);
	}
	if (ended < READERS) {
		printf("BUG: a reader of a closed pipe waits for ever\n");
		fflush(stdout);
	}
	for (int i = 0; i < READERS; i++)
		kill(readers[i], SIGKILL);
	return 0;
}
