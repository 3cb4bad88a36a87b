// Urgent bytes on a Unix socket, each read on its own, then what is left of them.
// needs: CONFIG_UNIX CONFIG_AF_UNIX_OOB
#include <sys/socket.h>

int main(void)
{
	char byte;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		return 1;
	for (int i = 0; i < 2; i++) {
		send(ends[0], "1", 1, MSG_OOB);
		recv(ends[1], &byte, 1, MSG_OOB);
	}
	send(ends[0], "3", 1, MSG_OOB);
	recv(ends[1], &byte, 1, MSG_DONTWAIT);
	recv(ends[1], &byte, 1, MSG_OOB | MSG_DONTWAIT);
	send(ends[0], "4", 1, 0); /* its buffer takes the place of the one that was freed, and used */
	return 0;
}
