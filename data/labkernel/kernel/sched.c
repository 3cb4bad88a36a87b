/* Tasks: one run queue, a turn of one tick each. */
#include "kernel.h"
#include "mm.h"
#include "sched.h"

static struct task idle_task = { .comm = "swapper" };
static LIST_HEAD(run_queue);
static int last_pid, n_tasks;

struct task *current = &idle_task;
LIST_HEAD(all_tasks);
bool need_resched;

/* Where a new task comes from switch_to(). */
static void task_start(void) {
	asm volatile("sti");
	current->start();
	do_exit();
}

static struct task *task_alloc(void) {
	struct task *task = kzalloc(sizeof(*task));
	if (task) task->stack = kzalloc(STACK_SIZE);
	if (!task || !task->stack) {
		kfree(task);
		return NULL;
	}
	u32 *frame = (u32 *)(task->stack + STACK_SIZE) - 8;
	frame[4] = (u32)task_start;	/* below it: edi, esi, ebx and an ebp that ends the trace */
	task->esp = (u32)frame;
	return task;
}

/* Returns NULL when there are too many tasks, or no memory. */
struct task *task_create(const char *name, void (*start)(void)) {
	struct task *task = n_tasks < NR_TASKS ? task_alloc() : NULL;
	if (!task) return NULL;
	snprintf(task->comm, sizeof(task->comm), "%s", name);
	task->start = start;
	task->parent = current;
	u32 flags = irq_save();
	n_tasks++;
	task->pid = ++last_pid;
	list_add_tail(&task->all, &all_tasks);
	list_add_tail(&task->queue, &run_queue);
	irq_restore(flags);
	return task;
}

static void __schedule(void) {
	struct task *prev = current, *next = &idle_task;
	need_resched = false;
	if (prev->state == TASK_RUNNING && prev != &idle_task) list_add_tail(&prev->queue, &run_queue);
	if (!list_empty(&run_queue)) {
		next = list_entry(run_queue.next, struct task, queue);
		list_del(&next->queue);
	}
	if (next == prev) return;
	current = next;
	set_kernel_stack((u32)next->stack + STACK_SIZE);
	switch_to(&prev->esp, next->esp);
}

void schedule(void) {
	u32 flags = irq_save();
	__schedule();
	irq_restore(flags);
}

void idle(void) {
	timer_arm();			/* again: while interrupts were off its edge was lost */
	for (;;) {
		asm volatile("sti; hlt");
		schedule();
	}
}

/* With interrupts off, so that nobody wakes the queue before it is slept on. */
void __wait_on(struct list_head *queue, enum task_state state) {
	current->slept_since = ticks;
	current->kernel_ticks = 0;
	current->state = state;
	list_add_tail(&current->queue, queue);
	schedule();
}

void wake_up(struct list_head *queue) {
	u32 flags = irq_save();
	while (!list_empty(queue)) {
		struct task *task = list_entry(queue->next, struct task, queue);
		list_del(&task->queue);
		task->state = TASK_RUNNING;
		list_add_tail(&task->queue, &run_queue);
	}
	irq_restore(flags);
}

static void timeout(struct timer *timer) { wake_up(timer->data); }

void schedule_timeout(u32 n_ticks) {
	LIST_HEAD(queue);
	struct timer timer = { .fn = timeout, .data = &queue };
	u32 flags = irq_save();
	timer_add(&timer, n_ticks);
	__wait_on(&queue, TASK_INTERRUPTIBLE);
	irq_restore(flags);
}

void mutex_init(struct mutex *mutex) {
	mutex->owner = NULL;
	list_init(&mutex->wait);
}

void mutex_lock(struct mutex *mutex) {
	u32 flags = irq_save();
	while (mutex->owner) __wait_on(&mutex->wait, TASK_UNINTERRUPTIBLE);
	mutex->owner = current;
	irq_restore(flags);
}

/* All waiters try again: nobody counts as blocked while the mutex still changes hands. */
void mutex_unlock(struct mutex *mutex) {
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
	u32 flags = irq_save();
	list_for_each(pos, &all_tasks) {
		struct task *task = list_entry(pos, struct task, all);
		if (task->parent != current) continue;
		result = task->state == TASK_DEAD ? task->pid : 0;
		if (!result) continue;
		list_del(&task->all);
		n_tasks--;
		kfree(task->stack);
		kfree(task);
		break;
	}
	irq_restore(flags);
	return result;
}

static void user_thread(void) { enter_user(current->user_eip, current->user_esp); }

/* A new user thread in the same memory, with the same files. */
int sys_clone(u32 eip, u32 esp) {
	u32 flags = irq_save();		/* it must not start before it knows where */
	struct task *task = task_create("repro", user_thread);
	if (task) task->user_eip = eip, task->user_esp = esp;
	irq_restore(flags);
	return task ? task->pid : -EAGAIN;
}

int sys_getpid(void) { return current->pid; }
int sys_yield(void) { return schedule(), 0; }
int sys_sleep(u32 n_ticks) { return schedule_timeout(n_ticks), 0; }

int sys_ps(void) {
	u32 flags = irq_save();
	list_for_each(pos, &all_tasks) {
		const struct task *task = list_entry(pos, struct task, all);
		printk("%5d %c %s\n", task->pid, "RSDZ"[task->state], task->comm);
	}
	irq_restore(flags);
	return 0;
}
