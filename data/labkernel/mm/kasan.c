/*
 * The address sanitiser: the compiler calls one of the functions at the end before every access to memory.
 * One shadow byte stands for 8 bytes: 0 all may be used, 1 to 7 only so many, else why not.
 */
#include "mm.h"
#include "sched.h"

#define GRANULE 8

static u8 shadow[HEAP_END / GRANULE];
static bool reporting;

void kasan_poison(const void *from, u32 n, u8 value) {
	memset(shadow + (u32)from / GRANULE, value, n / GRANULE);
	if (!value && n % GRANULE) shadow[((u32)from + n) / GRANULE] = n % GRANULE;
}

static void show_track(const char *what, const struct track *track) {
	printk("\n");
	printk("%s by task %d:\n", what, track->pid);
	show_addresses(track->addresses, track->depth);
}

static void show_object(u32 addr) {
	const struct chunk *chunk = heap_find(addr);
	u32 object = (u32)(chunk + 1);
	if (!chunk) return;
	show_track("Allocated", &chunk->alloc);
	if (!chunk->in_use) show_track("Freed", &chunk->free);
	printk("\n");
	printk("The buggy address is located %d bytes inside of\n", (int)(addr - object));
	printk(" %u-byte region [%08x, %08x)\n", chunk->size, object, object + chunk->size);
}

void kasan_report(const char *bug, const char *access, u32 addr, u32 eip) {
	irq_save();
	reporting = true;
	printk("==================================================================\n");
	printk("BUG: KASAN: %s in %pB\n", bug, (void *)eip);
	printk("%s addr %08x by task %s/%d\n", access, addr, current->comm, current->pid);
	printk("\n");
	show_task_line();
	show_trace((u32)__builtin_frame_address(0));
	show_object(addr);
	printk("==================================================================\n");
	panic("kasan.fault=panic set ...");
}

void kasan_check(u32 addr, u32 size, bool write, u32 eip) {
	char access[32];
	for (u32 at = addr; at < addr + size; at = (at | (GRANULE - 1)) + 1) {
		if (at >= HEAP_END || reporting) return;
		u8 value = shadow[at / GRANULE];
		u32 last = min(addr + size - 1 - (at & ~(GRANULE - 1)), GRANULE - 1u);	/* byte of this granule */
		if (value == 0 || (value < GRANULE && last < value)) continue;
		snprintf(access, sizeof(access), "%s of size %u at", write ? "Write" : "Read", size);
		kasan_report(value == KASAN_FREED ? "use-after-free" : "slab-out-of-bounds", access, addr, eip);
	}
}

#define ACCESS(size)                                                                                       \
	void __asan_load##size##_noabort(u32 addr) { kasan_check(addr, size, false, CALLER); }             \
	void __asan_store##size##_noabort(u32 addr) { kasan_check(addr, size, true, CALLER); }
ACCESS(1) ACCESS(2) ACCESS(4) ACCESS(8) ACCESS(16)

void __asan_loadN_noabort(u32 addr, u32 size) { kasan_check(addr, size, false, CALLER); }
void __asan_storeN_noabort(u32 addr, u32 size) { kasan_check(addr, size, true, CALLER); }
void __asan_handle_no_return(void) {}
