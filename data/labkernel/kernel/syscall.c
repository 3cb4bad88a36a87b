/* System calls: the table, user pointers, and the calls that belong to no subsystem. */
#include "kernel.h"
#include "mm.h"
#include "sched.h"
#include "version.h"

/* What is not compiled stays NULL and returns -ENOSYS. */
#define X(name) extern int sys_##name() __attribute__((weak));
#include "syscalls.h"
#undef X

static int (*const syscalls[])() = {
#define X(name) sys_##name,
#include "syscalls.h"
};

void do_syscall(struct regs *regs) {
	int (*call)() = regs->eax < ARRAY_SIZE(syscalls) ? syscalls[regs->eax] : NULL;
	current->kernel_ticks = 0;
	regs->eax = call ? call(regs->ebx, regs->ecx, regs->edx, regs->esi) : -ENOSYS;
	if (need_resched) schedule();
}

bool access_ok(const void *user, u32 n) {
	return (u32)user >= USER_BASE && n <= USER_SIZE && (u32)user - USER_BASE <= USER_SIZE - n;
}

int copy_from_user(void *to, const void *user, u32 n) {
	if (!access_ok(user, n)) return -EFAULT;
	memcpy(to, user, n);
	return 0;
}

int copy_to_user(void *user, const void *from, u32 n) {
	if (!access_ok(user, n)) return -EFAULT;
	memcpy(user, from, n);
	return 0;
}

/* Copy a string with its end; returns its length. */
int string_from_user(char *to, const char *user, u32 size) {
	for (u32 i = 0; i < size; i++) {
		if (copy_from_user(to + i, user + i, 1)) return -EFAULT;
		if (!to[i]) return i;
	}
	return -ENAMETOOLONG;
}

int sys_uname(void) {
	printk("Lab kernel version " LAB_VERSION " (i386)\n");
	return 0;
}

/* The reproducer, or whatever was handed in at boot; returns its size. */
int sys_bootdata(char *user, u32 n) {
	return copy_to_user(user, boot_data, min(n, boot_data_size)) ? -EFAULT : (int)boot_data_size;
}
