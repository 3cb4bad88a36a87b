/* Printing, warnings and panics, and what the boot loader handed in. */
#pragma once

#include "x86.h"

#define HZ CONFIG_HZ
#define INITCALL(fn) static void (*const initcall_##fn)(void) __attribute__((used, section(".initcall"))) = fn

/* Every warning is a ud2 instruction with a row in this table, so that its trap brings all registers. */
struct bug_entry {
	u32 addr;
	const char *file;
	u32 line, is_warning;
};

register u32 stack_pointer asm("esp");	/* named by an asm, it makes its function keep a frame */

#define BUG_ENTRY(is_warning)                                                                                \
	asm volatile("1: ud2\n .pushsection .bug_table, \"a\"\n .long 1b, %c1, %c2, %c3\n .popsection"       \
		     : "+r"(stack_pointer) : "i"(__FILE__), "i"(__LINE__), "i"(is_warning))
#define BUG() do { BUG_ENTRY(0); __builtin_unreachable(); } while (0)
#define WARN_ON(condition) ({ bool warn_ = (condition); if (warn_) BUG_ENTRY(1); warn_; })

extern char boot_data[65536];
extern u32 boot_data_size;

void printk(const char *format, ...) __attribute__((format(printf, 1, 2)));
int vsnprintf(char *out, u32 size, const char *format, va_list args);
int snprintf(char *out, u32 size, const char *format, ...) __attribute__((format(printf, 3, 4)));
void panic(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void oops(const struct regs *regs, const char *format, u32 error) __attribute__((noreturn));
void handle_bug(struct regs *regs);
u32 stack_trace(u32 ebp, u32 *addresses, u32 n);
void show_addresses(const u32 *addresses, u32 n);
void show_trace(u32 ebp);
void show_regs(const struct regs *regs);
void show_task_line(void);
void symbol_name(char *out, u32 size, u32 addr, bool is_return);

void console_init(void);
void console_write(const char *text, u32 n);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int strcmp(const char *a, const char *b);
