/* Exceptions, interrupts and the way back. */
#include "sched.h"

#define INVALID_OPCODE 6
#define PAGE_FAULT 14
#define TIMER 32

static const char *const trap_names[TIMER] = {
	"divide error", "debug", "NMI", "int3", "overflow", "bounds", "invalid opcode", "device not available",
	"double fault", "coprocessor segment overrun", "invalid TSS", "segment not present", "stack segment",
	"general protection fault", "page fault", "spurious interrupt", "coprocessor error", "alignment check",
};

static void page_fault(const struct regs *regs, u32 addr) {
	if (addr < 4096)
		printk("BUG: kernel NULL pointer dereference, address: %08x\n", addr);
	else
		printk("BUG: unable to handle page fault for address: %08x\n", addr);
	printk("#PF: supervisor %s access in kernel mode\n", regs->error & 2 ? "write" : "read");
	printk("#PF: error_code(0x%04x) - %s\n", regs->error, regs->error & 1 ? "permissions violation" : "not-present page");
	oops(regs, "Oops", regs->error);
}

static void exception(struct regs *regs) {
	const char *name = trap_names[regs->vector] ? trap_names[regs->vector] : "unknown trap";
	u32 addr;
	asm volatile("mov %%cr2, %0" : "=r"(addr));
	if (user_mode(regs)) {
		printk("traps: %s[%d] %s ip:%x address:%x\n", current->comm, current->pid, name, regs->eip, addr);
		do_exit();
	}
	if (regs->vector == PAGE_FAULT) page_fault(regs, addr);
	else if (regs->vector == INVALID_OPCODE) handle_bug(regs);
	else oops(regs, name, regs->error);
}

void do_trap(struct regs *regs) {
	bool preempt = user_mode(regs);
#ifdef CONFIG_PREEMPT
	preempt = true;
#endif
	if (regs->vector < TIMER) exception(regs);
	else if (regs->vector == TIMER) timer_tick(regs);
	if (preempt && need_resched && (regs->eflags & EFLAGS_IF)) schedule();
}
