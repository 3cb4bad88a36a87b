/* Tasks that spend too long in one system call. Counts ticks the guest handled, never wall clock. */
#include "sched.h"

#define THRESHOLD HZ

void softlockup_tick(const struct regs *regs) {
	if (user_mode(regs) || !current->pid) current->kernel_ticks = 0;
	else if (++current->kernel_ticks >= THRESHOLD) {
		printk("watchdog: BUG: soft lockup - CPU#0 stuck for %us! [%s:%d]\n", THRESHOLD / HZ, current->comm, current->pid);
		show_regs(regs);
		panic("softlockup: hung tasks");
	}
}
