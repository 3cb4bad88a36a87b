/* The 16550 serial port: all output, and lines of input for the shell. */
#include "fs.h"

#define PORT 0x3f8
#define LINE_STATUS (PORT + 5)
#define HAS_INPUT 0x01
#define CAN_SEND 0x20

void console_init(void) {
	outb(PORT + 1, 0);		/* no interrupts: whoever reads looks for input */
	outb(PORT + 3, 3);		/* 8 bits, no parity */
	outb(PORT + 2, 7);		/* FIFOs on and empty */
}

static void put_byte(char c) {
	while (!(inb(LINE_STATUS) & CAN_SEND)) ;
	outb(PORT, c);
}

void console_write(const char *text, u32 n) {
	guard_irq();
	for (u32 i = 0; i < n; i++) {
		if (text[i] == '\n') put_byte('\r');
		put_byte(text[i]);
	}
}

static char get_byte(void) {
	while (!(inb(LINE_STATUS) & HAS_INPUT)) schedule_timeout(1);
	return inb(PORT);
}

/* A line, with echo and backspace; what does not fit is dropped. */
static int console_read(struct file *file, char *user, u32 n) {
	u32 used = 0;
	for (char c = 0; used < n && c != '\n';) {
		c = get_byte();
		if (c == '\r') c = '\n';
		if ((c == '\b' || c == 127) && used) {
			used--;
			console_write("\b \b", 3);
		} else if (c == '\n' || (c >= ' ' && c != 127 && used + 1 < n)) {
			user[used++] = c;
			console_write(&c, 1);
		}
	}
	return used;
}

static int console_file_write(struct file *file, char *user, u32 n) {
	console_write(user, n);
	return n;
}

static const struct file_ops console_ops = { .read = console_read, .write = console_file_write };

/* Descriptor 0 is the console, for reading and for writing. */
static void console_open(void) {
	fd_install(file_alloc(&console_ops, NULL));
}
INITCALL(console_open);
