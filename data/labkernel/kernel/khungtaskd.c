/* Tasks that wait for a lock too long. Counts ticks the guest handled, never wall clock. */
#include "sched.h"

#define THRESHOLD HZ

static void check_task(const struct task *task) {
	if (task->state != TASK_UNINTERRUPTIBLE || ticks - task->slept_since < THRESHOLD) return;
	printk("INFO: task %s:%d blocked for more than %u seconds.\n", task->comm, task->pid, THRESHOLD / HZ);
	printk("      Not tainted\n");
	printk("task:%s state:D pid:%d ppid:%d\n", task->comm, task->pid, task->parent->pid);
	show_trace(task->esp + 12);	/* where switch_to() left its ebp */
	panic("hung_task: blocked tasks");
}

static void khungtaskd(void) {
	for (;;) {
		schedule_timeout(HZ / 4);
		guard_irq();
		list_for_each(pos, &all_tasks) check_task(list_entry(pos, struct task, all));
	}
}

static void khungtaskd_start(void) { task_create("khungtaskd", khungtaskd); }
INITCALL(khungtaskd_start);
