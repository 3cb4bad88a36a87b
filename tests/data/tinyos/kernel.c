#include "list.h"

static void outb(unsigned short port, unsigned char value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void print(const char *text)
{
	for (; *text; text++)
		outb(0x3f8, *text);
}

static void check(int ok, const char *what)
{
	if (ok)
		return;
	print("!! self test broken: ");
	print(what);
	print("\n!! halted\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}

void kernel_main(void)
{
	struct list list = { .n = 0 };
	int pushed = 0;

	print("TinyOS 0.1\n");
	for (int i = 1; i <= 20; i++)
		pushed += list_push(&list, i);
	check(pushed == CAPACITY, "list takes too much");
	check(list_sum(&list) == CAPACITY * (CAPACITY + 1) / 2, "list sum");
	print("all tests passed\n");
}
