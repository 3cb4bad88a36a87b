/* System calls: the table, user pointers, and the calls that belong to no subsystem. */
#include "mm.h"
#include "sched.h"

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

/* Copy a string with its end; returns its length. */
int string_from_user(char *to, const char *user, u32 size) {
	for (u32 i = 0; i < size; i++) {
		if (!access_ok(user + i, 1)) return -EFAULT;
		to[i] = user[i];
		if (!to[i]) return i;
	}
	return -ENAMETOOLONG;
}

/* The reproducer, or whatever was handed in at boot; returns its size. */
int sys_bootdata(char *user, u32 n) {
	if (!access_ok(user, n)) return -EFAULT;
	memcpy(user, boot_data, min(n, boot_data_size));
	return boot_data_size;
}
