/* A guest for the tests of kbench.machines: does what the words of its command line say, in order.
 *
 *   say:TEXT     print TEXT and a newline; _ is a space     flood:N   print N KiB of numbered lines, 16 bytes each
 *   wait:N       spin for about N milliseconds              binary    print all 256 bytes, then a newline
 *   reproducer   print the file given as -initrd            echo      prompt, read a line, print it back; for ever
 *   loop         print numbered lines for ever              hang      stop for ever, printing nothing
 *   poweroff     ACPI, as the pc machine has it             reset     triple fault
 *   panic        pvpanic, port 0x505                        exit:N    isa-debug-exit, port 0xf4
 *
 * gcc -m32 -ffreestanding -fno-pic -fno-stack-protector -O1 -nostdlib -static -Wl,-Ttext=0x100000,-N,--build-id=none
 */
typedef unsigned char u8;
typedef unsigned int u32;

__asm__(".section .text.start, \"ax\"\n"
	".align 4\n.long 0x1badb002, 0, -0x1badb002\n" /* multiboot: magic, flags, checksum */
	".globl _start\n_start: mov $stack_top, %esp\npush %ebx\ncall guest\n"
	".bss\n.space 4096\nstack_top:\n.text\n");

static void outb(unsigned short port, u8 value) { __asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port)); }
static u8 inb(unsigned short port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void put(u8 c)
{
	while (!(inb(0x3fd) & 0x20))
		;
	outb(0x3f8, c);
}

static void print(const char *s)
{
	for (; *s && *s != ' '; s++)
		put(*s == '_' ? ' ' : *s);
}

static void print_number(u32 n) /* with its newline 16 bytes, 15 digits */
{
	char digits[16];
	for (int i = 14; i >= 0; i--, n /= 10)
		digits[i] = '0' + n % 10;
	digits[15] = 0;
	print(digits);
	put('\n');
}

static u32 number(const char *s)
{
	u32 n = 0;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n * 10 + *s - '0';
	return n;
}

static void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void wait(u32 ms)
{
	unsigned long long end = __builtin_ia32_rdtsc() + ms * 2500000ull;
	while (__builtin_ia32_rdtsc() < end)
		;
}

static void echo(void)
{
	for (;;) {
		print("tiny#_");
		for (u8 c = 0; c != '\n';) {
			while (!(inb(0x3fd) & 1))
				;
			c = inb(0x3f8);
			c = c == '\r' ? '\n' : c;
			put(c);
		}
		print("answer\n");
	}
}

static int word_is(const char *word, const char *name)
{
	while (*name && *word == *name)
		word++, name++;
	return !*name;
}

static void obey(const char *word, const u32 *multiboot)
{
	if (word_is(word, "say:"))
		print(word + 4), put('\n');
	else if (word_is(word, "flood:"))
		for (u32 i = 0, n = number(word + 6) * 64; i < n; i++)
			print_number(i);
	else if (word_is(word, "wait:"))
		wait(number(word + 5));
	else if (word_is(word, "binary")) {
		for (int i = 0; i < 256; i++)
			put(i);
		put('\n');
	} else if (word_is(word, "reproducer")) {
		const u32 *module = (const u32 *)multiboot[6];
		for (const u8 *p = (const u8 *)module[0]; multiboot[5] && p < (const u8 *)module[1]; p++)
			put(*p);
	} else if (word_is(word, "echo"))
		echo();
	else if (word_is(word, "loop"))
		for (u32 i = 0;; i++)
			print_number(i), wait(2);
	else if (word_is(word, "hang"))
		halt();
	else if (word_is(word, "poweroff"))
		__asm__ volatile("outw %0, %1" ::"a"((unsigned short)0x2000), "Nd"((unsigned short)0x604));
	else if (word_is(word, "reset"))
		__asm__ volatile("push $0; push $0; lidt (%esp); int3");
	else if (word_is(word, "panic"))
		outb(0x505, 1), halt();
	else if (word_is(word, "exit:"))
		outb(0xf4, number(word + 5));
}

void guest(const u32 *multiboot)
{
	const char *word = (const char *)multiboot[4];
	while (*word) {
		obey(word, multiboot);
		while (*word && *word != ' ')
			word++;
		while (*word == ' ')
			word++;
	}
	halt();
}
