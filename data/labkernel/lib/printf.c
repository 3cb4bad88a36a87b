/* Formatted text, for the kernel and for the user program. */
#include "kernel.h"

#pragma weak symbol_name		/* the user program, and a kernel without CONFIG_KALLSYMS, have none */

struct buffer {
	char *start;
	u32 size, used;
};

static void put(struct buffer *out, char c) {
	if (out->used + 1 < out->size) out->start[out->used++] = c;
}

static void put_number(struct buffer *out, u32 value, u32 base, u32 width, char fill) {
	char digits[12];
	u32 n = 0;
	do digits[n++] = "0123456789abcdef"[value % base];
	while (value /= base);
	for (; width > n; width--) put(out, fill);
	while (n) put(out, digits[--n]);
}

/* %s %c %d %u %x, %pS for a symbol, %pB for that of a return address; width and zero fill. Returns the length written. */
int vsnprintf(char *start, u32 size, const char *format, va_list args) {
	struct buffer out = { start, size, 0 };
	char symbol[64];
	for (; *format; format++) {
		if (*format != '%') {
			put(&out, *format);
			continue;
		}
		char fill = *++format == '0' ? '0' : ' ';
		u32 width = 0;
		for (; *format >= '0' && *format <= '9'; format++) width = width * 10 + *format - '0';
		u32 value = va_arg(args, u32);
		const char *text = (const char *)value;
		if (*format == 'p') {
			format++;
			text = symbol;
			if (symbol_name) symbol_name(symbol, sizeof(symbol), value, *format == 'B');
			else snprintf(symbol, sizeof(symbol), "0x%08x", value);
		}
		if (*format == 'c') put(&out, value);
		else if (text == symbol || *format == 's') while (*text) put(&out, *text++);
		else if (*format == 'd' && (int)value < 0) put(&out, '-'), put_number(&out, -value, 10, width, fill);
		else put_number(&out, value, *format == 'x' ? 16 : 10, width, fill);
	}
	if (size) start[out.used] = 0;
	return out.used;
}

int snprintf(char *out, u32 size, const char *format, ...) {
	va_list args;
	va_start(args, format);
	int n = vsnprintf(out, size, format, args);
	va_end(args);
	return n;
}
