/* From the first C function to the first user program. */
#include "mm.h"
#include "sched.h"
#include "version.h"

extern char user_image[], user_image_end[];
extern void (*const initcalls[])(void), (*const initcalls_end[])(void);

static void start_init(void) {
	memcpy((void *)USER_BASE, user_image, user_image_end - user_image);
	enter_user(USER_BASE, USER_BASE + USER_SIZE - 16);
}

int sys_uname(void) {
	printk("Lab kernel version " LAB_VERSION " (i386)\n");
	return 0;
}

void start_kernel(const struct hvm_start_info *info) {
	save_boot_info(info);
	console_init();
	timer_arm();
	sys_uname();
	paging_init();
	traps_init();
	heap_init();
	printk("Memory: heap %u KiB, boot data %u bytes\n", (HEAP_END - (u32)_end) / 1024, boot_data_size);
	task_create("init", start_init);
	for (void (*const *call)(void) = initcalls; call < initcalls_end; call++) (*call)();
	idle();
}
