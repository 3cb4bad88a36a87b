/* Crash on demand, after Linux's drivers/misc/lkdtm: a kind for every form of crash text. */
#include "mm.h"
#include "sched.h"

static DEFINE_MUTEX(lock);

static void lkdtm_bug(void) { BUG(); }
static void lkdtm_warning(void) { WARN_ON(true); }
static void lkdtm_panic(void) { panic("dumptest"); }
static void lkdtm_null(void) { *(volatile int *)8 = 1; }
static void lkdtm_fault(void) { (void)*(volatile int *)0x6b6b6b6b; }
static void lkdtm_gpf(void) { asm volatile("mov %0, %%ss" : : "r"(0)); }
static void lkdtm_soft_lockup(void) { for (;;) asm volatile("pause"); }
static void lkdtm_hung_task(void) { mutex_lock(&lock); mutex_lock(&lock); }

static void lkdtm_read_after_free(void) {
	volatile int *object = kzalloc(64);
	kfree((void *)object);
	(void)object[4];
}

static void lkdtm_out_of_bounds(void) {
	volatile char *object = kzalloc(40);
	object[40] = 1;
}

static void lkdtm_double_free(void) {
	void *object = kzalloc(64);
	kfree(object);
	kfree(object);
}

static const struct {
	const char *name;
	void (*fn)(void);
} kinds[] = {
	{ "BUG", lkdtm_bug }, { "WARNING", lkdtm_warning }, { "PANIC", lkdtm_panic }, { "NULL", lkdtm_null },
	{ "FAULT", lkdtm_fault }, { "GPF", lkdtm_gpf }, { "HUNG_TASK", lkdtm_hung_task },
	{ "SOFT_LOCKUP", lkdtm_soft_lockup }, { "READ_AFTER_FREE", lkdtm_read_after_free },
	{ "OUT_OF_BOUNDS", lkdtm_out_of_bounds }, { "DOUBLE_FREE", lkdtm_double_free },
};

int sys_lkdtm(const char *user_kind) {
	char kind[24];
	int error = string_from_user(kind, user_kind, sizeof(kind));
	if (error < 0) return error;
	for (u32 i = 0; i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kind, kinds[i].name) == 0) return kinds[i].fn(), 0;
	return -EINVAL;
}
