/* The 16550 serial port: all output, and lines of input for the shell. */
#include "fs.h"
#include "kernel.h"
#include "mm.h"

#define PORT 0x3f8
#define LINE_STATUS (PORT + 5)
#define HAS_INPUT 0x01
#define CAN_SEND 0x20

static char line[256];			/* being typed, or waiting to be read */
static u32 line_size;
static bool line_ended;
static LIST_HEAD(line_wait);

void console_init(void) {
	outb(PORT + 1, 0);		/* no interrupts: the timer polls */
	outb(PORT + 3, 3);		/* 8 bits, no parity */
	outb(PORT + 2, 7);		/* FIFOs on and empty */
}

static void put_byte(char c) {
	while (!(inb(LINE_STATUS) & CAN_SEND)) ;
	outb(PORT, c);
}

void console_write(const char *text, u32 n) {
	u32 flags = irq_save();
	for (u32 i = 0; i < n; i++) {
		if (text[i] == '\n') put_byte('\r');
		put_byte(text[i]);
	}
	irq_restore(flags);
}

static void take_byte(char c) {
	if ((c == 8 || c == 127) && line_size) {
		line_size--;
		console_write("\b \b", 3);
	} else if (c == '\n' || (c >= ' ' && c != 127 && line_size < sizeof(line) - 1)) {
		console_write(&c, 1);
		line[line_size++] = c;
		line_ended = c == '\n';
	}
}

/* With every tick: take what was typed, with echo and backspace. */
void console_poll(void) {
	while (!line_ended && (inb(LINE_STATUS) & HAS_INPUT)) {
		char c = inb(PORT);
		take_byte(c == '\r' ? '\n' : c);
	}
	if (line_ended) wake_up(&line_wait);
}

static int console_read(struct file *file, char *user, u32 n) {
	wait_event(&line_wait, line_ended);
	n = min(n, line_size);
	copy_to_user(user, line, n);
	line_size = 0;
	line_ended = false;
	return n;
}

static int console_file_write(struct file *file, const char *user, u32 n) {
	console_write(user, n);
	return n;
}

static const struct file_ops console_ops = { .read = console_read, .write = console_file_write };

/* Descriptor 0 is the console, for reading and for writing. */
static void console_open(void) { fd_install(file_alloc(&console_ops, NULL)); }
INITCALL(console_open);
