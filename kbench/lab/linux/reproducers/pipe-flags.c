// A page of a file goes into a pipe by splice(); what is written to the pipe afterwards must not end up in the file.
// needs: CONFIG_SHMEM
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	static char block[65536];
	char back[4] = "";
	off64_t at = 0;
	int ends[2], file = open("/tmp/read-only", O_CREAT | O_WRONLY, 0444);

	if (write(file, "abcdefgh", 8) != 8 || pipe(ends))
		return 1;
	close(file);
	file = open("/tmp/read-only", O_RDONLY);
	for (int i = 0; i < 16; i++) /* every place of the ring has been written to once */
		if (write(ends[1], block, 4096) != 4096)
			return 1;
	if (read(ends[0], block, sizeof(block)) != sizeof(block))
		return 1;
	if (splice(file, &at, ends[1], NULL, 1, 0) != 1 || write(ends[1], "XY", 2) != 2)
		return 1;
	if (pread(file, back, 3, 0) == 3 && back[1] != 'b') {
		printf("BUG: page cache of a read-only file changed\n");
		fflush(stdout);
	}
	return 0;
}
