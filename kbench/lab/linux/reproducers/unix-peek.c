// Peek at a Unix socket whose first byte is an urgent one: the byte behind it is there to be seen, at once.
// needs: CONFIG_UNIX CONFIG_AF_UNIX_OOB
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void wake(int signal)
{
	(void)signal;
}

int main(void)
{
	struct sigaction action = { .sa_handler = wake };
	char byte = 0;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return 1;
	sigaction(SIGALRM, &action, NULL);
	send(ends[0], "a", 1, MSG_OOB);
	send(ends[0], "b", 1, 0);
	alarm(1);
	if (recv(ends[1], &byte, 1, MSG_PEEK) != 1) {
		printf("BUG: recv() with MSG_PEEK ran for a second\n");
		fflush(stdout);
	}
	return 0;
}
