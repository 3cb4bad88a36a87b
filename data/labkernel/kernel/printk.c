/* printk: lines of the kernel log, on the console. */
#include "sched.h"

static bool line_open;

void printk(const char *format, ...) {
	char text[256];
	va_list args;
	guard_irq();
#ifdef CONFIG_PRINTK_TIME
	if (!line_open)
		console_write(text, snprintf(text, sizeof(text), "[%5u.%06u] ", ticks / HZ, ticks % HZ * (1000000 / HZ)));
#endif
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	console_write(text, n);
	line_open = n && text[n - 1] != '\n';
}
