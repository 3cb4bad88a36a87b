/* The tick. */
#include "sched.h"

static LIST_HEAD(sleepers);
volatile u32 ticks;

#pragma weak softlockup_tick		/* not there without CONFIG_SOFTLOCKUP_DETECTOR */

void timer_tick(const struct regs *regs) {
	ticks++;
	wake_up(&sleepers);
	if (softlockup_tick) softlockup_tick(regs);
	need_resched = true;
	timer_arm();
}

/* Sleep for a number of ticks, at least one. All sleepers wake with every tick, and look whether it is theirs. */
void schedule_timeout(u32 n_ticks) {
	u32 end = ticks + max(n_ticks, 1u);
	guard_irq();
	while ((int)(end - ticks) > 0) sleep_on(&sleepers, TASK_INTERRUPTIBLE);
}

int sys_ticks(void) { return ticks & 0x7fffffff; }
