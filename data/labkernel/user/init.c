/* The first user program: a basic test of the system calls, then the reproducer, or else a shell. */
#include "user.h"

extern char basic_test[];		/* user/basic.test */
static char text[sizeof(boot_data) + 1];

void say(const char *format, ...) {
	char line[160];
	va_list args;
	va_start(args, format);
	syscall(NR_write, 0, (u32)line, vsnprintf(line, sizeof(line), format, args), 0);
	va_end(args);
}

#ifdef CONFIG_SHELL
static void shell(void) {
	for (;;) {
		say("lab# ");
		int n = syscall(NR_read, 0, (u32)text, 256, 0);
		char *end = text;
		while (*end >= 'a' && *end <= 'z') end++;
		if (*end == '\n') memcpy(end, "()\n", 4);	/* `ps` is short for `ps()` */
		if (n > 1 && repro_compile(text, "sh")) say("= %d\n", repro_run());
		memset(text, 0, 256);
	}
}
#endif

void init(void) {
	say("init: started\n");
	if (repro_compile(basic_test, "init")) repro_run();
	if (repro_failed[0]) say("init: basic test failed: %s\n", repro_failed);
	else say("init: basic tests passed\n");
	int size = syscall(NR_bootdata, (u32)text, sizeof(text) - 1, 0, 0);
#ifdef CONFIG_SHELL
	if (size == 0) shell();
#endif
	if (size > 0 && repro_compile(text, "repro")) {
		say("repro: started\n");
		repro_run();
		say("repro: done\n");
	}
	syscall(NR_poweroff, 0, 0, 0, 0);
}
