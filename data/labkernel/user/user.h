/* What the two halves of the user program share. */
#include "kernel.h"

enum {
#define X(name) NR_##name,
#include "syscalls.h"
#undef X
};

static inline int syscall(int number, u32 a, u32 b, u32 c, u32 d) {
	asm volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
	return number;
}

void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool repro_compile(char *text, const char *who);
int repro_run(void);
extern char repro_failed[80];		/* the first expect() that did not hold */
