/* Tasks, sleeping and waking, mutexes and the tick. */
#pragma once

#include "kernel.h"

#define STACK_SIZE (8192 - 64)		/* with its red zone it just fits the largest heap class */

/* R, S, D and Z as ps() shows them. */
enum task_state { TASK_RUNNING, TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_DEAD };

struct task {
	u32 esp;			/* while it is not running */
	char *stack, comm[16];
	int pid;
	enum task_state state;
	struct task *parent;
	struct list_head all;		/* in the list of all tasks */
	struct list_head queue;		/* in the run queue or in one wait queue */
	u32 slept_since;		/* tick */
	u32 kernel_ticks;		/* ticks in a row spent in one system call */
	void (*start)(void);
	u32 user_eip, user_esp;		/* of a new user thread */
};

struct mutex {
	struct task *owner;
	struct list_head wait;
};

extern struct task *current;
extern struct list_head all_tasks;
extern bool need_resched;
extern volatile u32 ticks;

struct task *task_create(const char *name, void (*start)(void));
void schedule(void);
void do_exit(void) __attribute__((noreturn));
void idle(void) __attribute__((noreturn));

/* A wait queue is a list of sleeping tasks. */
void sleep_on(struct list_head *queue, enum task_state state);
void wake_up(struct list_head *queue);

#define DEFINE_MUTEX(name) struct mutex name = { NULL, { &name.wait, &name.wait } }
static inline void mutex_init(struct mutex *mutex) { *mutex = (struct mutex){ NULL, { &mutex->wait, &mutex->wait } }; }
void mutex_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

void timer_tick(const struct regs *regs);
void schedule_timeout(u32 n_ticks);
void softlockup_tick(const struct regs *regs);
