/* printk: lines of the kernel log, on the console. */
#include "kernel.h"
#include "sched.h"

static bool line_open;

void printk(const char *format, ...) {
	char text[256];
	va_list args;
	u32 flags = irq_save();
#ifdef CONFIG_PRINTK_TIME
	if (!line_open) {
		u32 us = ticks % HZ * (1000000 / HZ) + timer_elapsed_us();
		console_write(text, snprintf(text, sizeof(text), "[%5u.%06u] ", ticks / HZ, us));
	}
#endif
	va_start(args, format);
	int n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	console_write(text, n);
	line_open = n && text[n - 1] != '\n';
	irq_restore(flags);
}
