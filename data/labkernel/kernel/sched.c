/* Tasks: one run queue, a turn of one tick each. */
#include "mm.h"
#include "sched.h"

static struct task idle_task = { .comm = "swapper" };
static LIST_HEAD(run_queue);
static int last_pid;

struct task *current = &idle_task;
LIST_HEAD(all_tasks);
bool need_resched;

/* Where a new task comes from switch_to(). */
static void task_start(void) {
	asm volatile("sti");
	current->start();
	do_exit();
}

/* Returns NULL when there is no memory. */
struct task *task_create(const char *name, void (*start)(void)) {
	struct task *task = kzalloc(sizeof(*task));
	char *stack = task ? kzalloc(STACK_SIZE) : NULL;
	if (!stack) {
		kfree(task);
		return NULL;
	}
	u32 *frame = (u32 *)(stack + STACK_SIZE) - 8;
	frame[4] = (u32)task_start;	/* below it: edi, esi, ebx and an ebp that ends the trace */
	task->esp = (u32)frame;
	task->stack = stack;
	snprintf(task->comm, sizeof(task->comm), "%s", name);
	task->start = start;
	task->parent = current;
	guard_irq();
	task->pid = ++last_pid;
	list_add_tail(&task->all, &all_tasks);
	list_add_tail(&task->queue, &run_queue);
	return task;
}

void schedule(void) {
	struct task *prev = current, *next = &idle_task;
	guard_irq();
	need_resched = false;
	if (prev->state == TASK_RUNNING && prev != &idle_task) list_add_tail(&prev->queue, &run_queue);
	if (!list_empty(&run_queue)) {
		next = list_entry(run_queue.next, struct task, queue);
		list_del(&next->queue);
	}
	current = next;
	set_kernel_stack((u32)next->stack + STACK_SIZE);
	if (next != prev) switch_to(&prev->esp, next->esp);
}

void idle(void) {
	timer_arm();			/* again: while interrupts were off its edge was lost */
	for (;;) {
		asm volatile("sti; hlt");
		schedule();
	}
}

/* Called with interrupts off, so that nothing wakes the queue between the caller's look and its sleep. */
void sleep_on(struct list_head *queue, enum task_state state) {
	current->slept_since = ticks;
	current->kernel_ticks = 0;
	current->state = state;
	list_add_tail(&current->queue, queue);
	schedule();
}

void wake_up(struct list_head *queue) {
	guard_irq();
	while (!list_empty(queue)) {
		struct task *task = list_entry(queue->next, struct task, queue);
		list_del(&task->queue);
		task->state = TASK_RUNNING;
		list_add_tail(&task->queue, &run_queue);
	}
}

void mutex_lock(struct mutex *mutex) {
	guard_irq();
	while (mutex->owner) sleep_on(&mutex->wait, TASK_UNINTERRUPTIBLE);
	mutex->owner = current;
}

/* All waiters try again: nobody counts as blocked while the mutex still changes hands. */
void mutex_unlock(struct mutex *mutex) {
	guard_irq();
	mutex->owner = NULL;
	wake_up(&mutex->wait);
}

void do_exit(void) {
	if (current->pid == 1) panic("Attempted to kill init!");
	irq_save();
	current->state = TASK_DEAD;	/* its parent frees it */
	schedule();
	BUG();
}

int sys_exit(void) { do_exit(); }

/* Free one child that has ended. Returns its pid, 0 when all still run, -ECHILD when there is none. */
int sys_wait(void) {
	int result = -ECHILD;
	guard_irq();
	list_for_each(pos, &all_tasks) {
		struct task *task = list_entry(pos, struct task, all);
		if (task->parent != current) continue;
		result = 0;
		if (task->state != TASK_DEAD) continue;
		result = task->pid;
		list_del(&task->all);
		kfree(task->stack);
		kfree(task);
		break;
	}
	return result;
}

static void user_thread(void) { enter_user(current->user_eip, current->user_esp); }

/* A new user thread in the same memory, with the same files. */
int sys_clone(u32 eip, u32 esp) {
	guard_irq();			/* it must not start before it knows where */
	struct task *task = task_create("repro", user_thread);
	if (!task) return -EAGAIN;
	task->user_eip = eip;
	task->user_esp = esp;
	return task->pid;
}

int sys_getpid(void) { return current->pid; }
int sys_yield(void) { return schedule(), 0; }
int sys_sleep(u32 n_ticks) { return schedule_timeout(n_ticks), 0; }

int sys_ps(void) {
	guard_irq();
	list_for_each(pos, &all_tasks) {
		const struct task *task = list_entry(pos, struct task, all);
		printk("%5d %c %s\n", task->pid, "RSDZ"[task->state], task->comm);
	}
	return 0;
}
