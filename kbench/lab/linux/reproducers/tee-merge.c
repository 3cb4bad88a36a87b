// Two pipes share a page by tee(); a write to one must not be read from the other.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	char back[4] = "";
	int one[2], two[2];

	if (pipe(one) || pipe(two) || write(one[1], "a", 1) != 1)
		return 1;
	if (tee(one[0], two[1], 1, 0) != 1)
		return 1;
	if (write(two[1], "X", 1) != 1 || write(one[1], "b", 1) != 1)
		return 1;
	if (read(two[0], back, 2) == 2 && back[1] != 'X') {
		printf("BUG: a pipe holds what was written to another\n");
		fflush(stdout);
	}
	return 0;
}
