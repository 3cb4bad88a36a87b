/*
 * The heap: chunks of 32 bytes to 8 KiB in powers of two. Every object has a red zone on both sides, its header
 * on the left and the rest of its chunk on the right; what is freed is poisoned and waits in a quarantine
 * before it is used again.
 */
#include "kernel.h"
#include "mm.h"
#include "sched.h"

#define MIN_CLASS 32
#define MAX_CLASS 8192
#define RIGHT_REDZONE 16
#define QUARANTINE 256			/* objects */
#define POISON_FREE 0x6b

static struct chunk *free_lists[MAX_CLASS / MIN_CLASS + 1];
static struct chunk *quarantine[QUARANTINE];
static u32 n_freed;
static char *heap_top = _end;		/* never used memory begins here */

void heap_init(void) { kasan_poison(_end, HEAP_END - (u32)_end, KASAN_REDZONE); }

static void remember(struct track *track, u32 ebp) {
	track->pid = current->pid;
	track->depth = stack_trace(ebp, track->addresses, TRACK_DEPTH);
}

static void free_list_add(struct chunk *chunk) {
	struct chunk **list = &free_lists[chunk->class_size / MIN_CLASS];
	chunk->next = *list;
	*list = chunk;
}

/* What was freed QUARANTINE frees ago may be used again. */
static void quarantine_add(struct chunk *chunk) {
	struct chunk **slot = &quarantine[n_freed++ % QUARANTINE];
	if (*slot) free_list_add(*slot);
	*slot = chunk;
}

static struct chunk *chunk_alloc(u32 class_size) {
	struct chunk **list = &free_lists[class_size / MIN_CLASS], *chunk = (struct chunk *)heap_top;
	bool room = heap_top + sizeof(*chunk) + class_size <= (char *)HEAP_END;
	for (u32 i = 0; !*list && !room && i < QUARANTINE; i++) quarantine_add(NULL);
	if (*list) {
		chunk = *list;
		*list = chunk->next;
		return chunk;
	}
	if (!room) return NULL;
	chunk->class_size = class_size;
	heap_top += sizeof(*chunk) + class_size;
	return chunk;
}

/* Returns NULL when there is no memory left, or none that large. */
void *kmalloc(u32 size) {
	u32 class_size = MIN_CLASS, flags = irq_save();
	while (class_size < MAX_CLASS && class_size < size + RIGHT_REDZONE) class_size *= 2;
	struct chunk *chunk = size <= class_size - RIGHT_REDZONE ? chunk_alloc(class_size) : NULL;
	if (chunk) {
		chunk->size = size;
		chunk->in_use = true;
		remember(&chunk->alloc, (u32)__builtin_frame_address(0));
		kasan_poison(chunk, sizeof(*chunk) + class_size, KASAN_REDZONE);
		kasan_poison(chunk + 1, size, 0);
	}
	irq_restore(flags);
	return chunk ? chunk + 1 : NULL;
}

void *kzalloc(u32 size) {
	void *object = kmalloc(size);
	return object ? memset(object, 0, size) : NULL;
}

void kfree(void *object) {
	struct chunk *chunk = (struct chunk *)object - 1;
	if (!object) return;
	u32 flags = irq_save();
	if (!chunk->in_use) {
		kasan_report_free((u32)object, (u32)__builtin_return_address(0));
		BUG();
	}
	chunk->in_use = false;
	remember(&chunk->free, (u32)__builtin_frame_address(0));
	memset(object, POISON_FREE, chunk->size);
	kasan_poison(object, chunk->class_size, KASAN_FREED);
	quarantine_add(chunk);
	irq_restore(flags);
}

/* The chunk, used or freed, that holds addr; NULL if none does. */
struct chunk *heap_find(u32 addr) {
	struct chunk *chunk = (struct chunk *)_end;
	while ((char *)chunk < heap_top && addr >= (u32)(chunk + 1) + chunk->class_size)
		chunk = (struct chunk *)((char *)(chunk + 1) + chunk->class_size);
	return addr >= (u32)chunk && (char *)chunk < heap_top ? chunk : NULL;
}
