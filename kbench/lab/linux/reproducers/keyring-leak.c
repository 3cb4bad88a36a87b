// Join the session keyring one is in already, again and again; it has as many users afterwards as before.
// needs: CONFIG_KEYS
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { JOIN_SESSION_KEYRING = 1, SETPERM = 5, ALL = 0x3f3f3f3f };

int main(void)
{
	char line[512];
	int users = 0;
	FILE *keys;

	for (int i = 0; i < 200; i++) {
		long keyring = syscall(SYS_keyctl, JOIN_SESSION_KEYRING, "kbench-session");

		if (keyring < 0 || (!i && syscall(SYS_keyctl, SETPERM, keyring, ALL)))
			return 1;
	}
	usleep(200000); /* users that are on their way out are gone then */
	keys = fopen("/proc/keys", "r");
	while (keys && fgets(line, sizeof(line), keys) && users < 100)
		if (strstr(line, "kbench-session"))
			sscanf(line, "%*s %*s %d", &users);
	if (users > 100) {
		printf("BUG: session keyring gains a user each time it is joined\n");
		fflush(stdout);
	}
	return 0;
}
