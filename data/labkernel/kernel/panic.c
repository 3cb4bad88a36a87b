/* Warnings, oopses and panics, in the form Linux prints them, so that tools for Linux can read them. */
#include "sched.h"
#include "version.h"

#define MAX_TRACE 32

extern struct bug_entry bug_table[], bug_table_end[];

/* Follow the chain of frame pointers up one stack: the return addresses. Returns how many there were. */
u32 stack_trace(u32 ebp, u32 *addresses, u32 n) {
	u32 found = 0, limit = ebp + STACK_SIZE;
	while (found < n && ebp >= 4096 && ebp < limit) {
		const u32 *frame = (const u32 *)ebp;
		if (frame[1]) addresses[found++] = frame[1];
		ebp = frame[0] > ebp ? frame[0] : 0;	/* downwards it can only be broken */
	}
	return found;
}

void show_addresses(const u32 *addresses, u32 n) {
	for (u32 i = 0; i < n; i++) printk(" %pB\n", (void *)addresses[i]);
}

void show_trace(u32 ebp) {
	u32 addresses[MAX_TRACE];
	printk("Call Trace:\n");
	show_addresses(addresses, stack_trace(ebp, addresses, MAX_TRACE));
}

void show_task_line(void) {
	printk("CPU: 0 PID: %d Comm: %s Not tainted " LAB_VERSION "\n", current->pid, current->comm);
}

void show_regs(const struct regs *regs) {
	show_task_line();
	printk("EIP: %pS\n", (void *)regs->eip);
	printk("EAX: %08x EBX: %08x ECX: %08x EDX: %08x\n", regs->eax, regs->ebx, regs->ecx, regs->edx);
	printk("ESI: %08x EDI: %08x EBP: %08x ESP: %08x\n", regs->esi, regs->edi, regs->ebp, (u32)&regs->esp);
	printk("DS: %04x ES: %04x CS: %04x EFLAGS: %08x\n", regs->ds & 0xffff, regs->es & 0xffff, regs->cs, regs->eflags);
	show_trace(regs->ebp);
}

void panic(const char *format, ...) {
	char reason[128];
	va_list args;
	irq_save();
	va_start(args, format);
	vsnprintf(reason, sizeof(reason), format, args);
	va_end(args);
	printk("Kernel panic - not syncing: %s\n", reason);
	show_task_line();
	show_trace((u32)__builtin_frame_address(0));
	printk("---[ end Kernel panic - not syncing: %s ]---\n", reason);
	outb(0x505, 1);			/* -device pvpanic tells the host; without it nobody listens */
	halt_forever();
}

void oops(const struct regs *regs, const char *what, u32 error) {
	irq_save();
	printk("%s: %04x [#1]\n", what, error);
	show_regs(regs);
	printk("---[ end trace 0000000000000000 ]---\n");
	panic("Fatal exception");
}

/* An invalid opcode in the kernel: BUG(), WARN_ON(), or code that is no code. */
void handle_bug(struct regs *regs) {
	const struct bug_entry *bug = bug_table;
	while (bug < bug_table_end && bug->addr != regs->eip) bug++;
	if (bug == bug_table_end) oops(regs, "invalid opcode", 0);
	printk("------------[ cut here ]------------\n");
	if (!bug->is_warning) {
		printk("kernel BUG at %s:%u!\n", bug->file, bug->line);
		oops(regs, "invalid opcode", 0);
	}
	printk("WARNING: CPU: 0 PID: %d at %s:%u %pS\n", current->pid, bug->file, bug->line, (void *)regs->eip);
	show_regs(regs);
	printk("---[ end trace 0000000000000000 ]---\n");
#ifdef CONFIG_PANIC_ON_WARN
	panic("panic_on_warn set ...");
#endif
	regs->eip += 2;			/* go on after the ud2 */
}
