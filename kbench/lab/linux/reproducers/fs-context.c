// Give a file descriptor where a file system expects the name of its source.
// needs: CONFIG_TMPFS
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SET_FD = 5, MANY = 100 };

int main(void)
{
	int context = syscall(SYS_fsopen, "tmpfs", 0), given = open("/dev/null", O_RDWR), others[MANY];

	if (context < 0)
		return 1;
	syscall(SYS_fsconfig, context, SET_FD, "source", NULL, given);
	close(context);
	for (int i = 0; i < MANY; i++) /* one of them takes the place of whatever was freed */
		others[i] = open("/dev/null", O_RDWR);
	close(given);
	for (int i = 0; i < MANY; i++)
		close(others[i]);
	return 0;
}
