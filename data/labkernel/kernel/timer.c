/* The tick and the timers. */
#include "kernel.h"
#include "sched.h"

static LIST_HEAD(timers);
volatile u32 ticks;

#pragma weak softlockup_tick		/* not there without CONFIG_SOFTLOCKUP_DETECTOR */

static void run_timers(void) {
	while (!list_empty(&timers)) {
		struct timer *timer = list_entry(timers.next, struct timer, list);
		if ((int)(timer->expires - ticks) > 0) break;
		list_del(&timer->list);
		timer->fn(timer);
	}
}

void timer_tick(const struct regs *regs) {
	ticks++;
	run_timers();
	if (softlockup_tick) softlockup_tick(regs);
	console_poll();
	need_resched = true;
	timer_arm();
}

/* The function runs in the timer interrupt, n_ticks from now; at least one. */
void timer_add(struct timer *timer, u32 n_ticks) {
	u32 flags = irq_save();
	struct list_head *pos = timers.next;
	timer->expires = ticks + max(n_ticks, 1u);
	while (pos != &timers && (int)(list_entry(pos, struct timer, list)->expires - timer->expires) <= 0) pos = pos->next;
	list_add_tail(&timer->list, pos);
	irq_restore(flags);
}

int sys_ticks(void) { return ticks & 0x7fffffff; }
