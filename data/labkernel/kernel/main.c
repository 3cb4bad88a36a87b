/* From the first C function to the first user program. */
#include "kernel.h"
#include "mm.h"
#include "sched.h"
#include "version.h"

extern char user_image[], user_image_end[];
extern void (*const initcalls[])(void), (*const initcalls_end[])(void);
u32 boot_seed;

/* What differs from boot to boot; seed=N on the command line makes it the same. */
static u32 make_seed(void) {
	const char *option = strstr(boot_cmdline, "seed=");
	u32 seed = 0;
	if (!option) asm volatile("rdtsc" : "=a"(seed) : : "edx");
	else for (option += 5; *option >= '0' && *option <= '9'; option++) seed = seed * 10 + *option - '0';
	seed = (seed ^ seed >> 16) * 0x85ebca6b;	/* MurmurHash3's finaliser */
	seed = (seed ^ seed >> 13) * 0xc2b2ae35;
	return seed ^ seed >> 16;
}

static void start_init(void) {
	memcpy((void *)USER_BASE, user_image, user_image_end - user_image);
	enter_user(USER_BASE, USER_BASE + USER_SIZE - 16);
}

void start_kernel(const struct hvm_start_info *info) {
	save_boot_info(info);
	console_init();
	timer_arm();
	printk("Lab kernel version " LAB_VERSION " (i386)\n");
	printk("Command line: %s\n", boot_cmdline);
	paging_init();
	traps_init();
	heap_init();
	boot_seed = make_seed();
	printk("Memory: heap %u KiB, user %u KiB, boot data %u bytes\n", (HEAP_END - (u32)_end) / 1024, USER_SIZE / 1024,
	       boot_data_size);
	task_create("init", start_init);
	for (void (*const *call)(void) = initcalls; call < initcalls_end; call++) (*call)();
	idle();
}
