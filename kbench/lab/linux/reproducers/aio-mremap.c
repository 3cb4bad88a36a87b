// A child inherits the mapping of an aio ring, but not its context; then it moves the mapping.
// needs: CONFIG_AIO
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	unsigned long context = 0;

	if (syscall(SYS_io_setup, 8, &context))
		return 1;
	if (!fork()) {
		mremap((void *)context, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)0x10000000);
		_exit(0);
	}
	wait(NULL);
	return 0;
}
