/*
 * The heap: chunks of 32 bytes to 8 KiB in powers of two. Every object has a red zone on both sides, its header
 * on the left and the rest of its chunk on the right. What is freed is poisoned and stays in quarantine, until
 * many others have been freed.
 */
#include "mm.h"
#include "sched.h"

#define MIN_CLASS 32
#define MAX_CLASS 8192
#define RIGHT_REDZONE 16
#define QUARANTINE 256			/* objects */
#define POISON_FREE 0x6b

static struct list_head free_lists[MAX_CLASS / MIN_CLASS + 1];
static u32 n_freed;
static char *heap_top = _end;		/* never used memory begins here */

void heap_init(void) {
	for (u32 i = 0; i < ARRAY_SIZE(free_lists); i++) list_init(&free_lists[i]);
	kasan_poison(_end, HEAP_END - (u32)_end, KASAN_REDZONE);
}

static void remember(struct track *track, u32 ebp) {
	track->pid = current->pid;
	track->depth = stack_trace(ebp, track->addresses, TRACK_DEPTH);
}

static struct chunk *chunk_alloc(u32 class_size) {
	struct list_head *list = &free_lists[class_size / MIN_CLASS];
	struct chunk *chunk = list_entry(list->next, struct chunk, list);
	bool room = heap_top + sizeof(*chunk) + class_size <= (char *)HEAP_END;
	if (!list_empty(list) && (!room || n_freed - chunk->freed_at > QUARANTINE)) {
		list_del(&chunk->list);
		return chunk;
	}
	if (!room) return NULL;
	chunk = (struct chunk *)heap_top;
	chunk->class_size = class_size;
	heap_top += sizeof(*chunk) + class_size;
	return chunk;
}

/* Returns NULL when there is no memory left, or none that large. */
void *kmalloc(u32 size) {
	u32 class_size = MIN_CLASS;
	guard_irq();
	while (class_size < MAX_CLASS && class_size < size + RIGHT_REDZONE) class_size *= 2;
	struct chunk *chunk = size <= class_size - RIGHT_REDZONE ? chunk_alloc(class_size) : NULL;
	if (!chunk) return NULL;
	chunk->size = size;
	chunk->in_use = true;
	remember(&chunk->alloc, (u32)__builtin_frame_address(0));
	kasan_poison(chunk, sizeof(*chunk) + class_size, KASAN_REDZONE);
	kasan_poison(chunk + 1, size, 0);
	return chunk + 1;
}

void *kzalloc(u32 size) {
	void *object = kmalloc(size);
	return object ? memset(object, 0, size) : NULL;
}

void kfree(void *object) {
	struct chunk *chunk = (struct chunk *)object - 1;
	if (!object) return;
	guard_irq();
	if (!chunk->in_use) {
		kasan_report("double-free", "Free of", (u32)object, CALLER);
		BUG();
	}
	chunk->in_use = false;
	remember(&chunk->free, (u32)__builtin_frame_address(0));
	memset(object, POISON_FREE, chunk->size);
	kasan_poison(object, chunk->class_size, KASAN_FREED);
	chunk->freed_at = n_freed++;
	list_add_tail(&chunk->list, &free_lists[chunk->class_size / MIN_CLASS]);
}

/* The chunk, used or freed, that holds addr; NULL if none does. */
struct chunk *heap_find(u32 addr) {
	struct chunk *chunk = (struct chunk *)_end;
	while ((char *)chunk < heap_top && addr >= (u32)(chunk + 1) + chunk->class_size)
		chunk = (struct chunk *)((char *)(chunk + 1) + chunk->class_size);
	return addr >= (u32)chunk && (char *)chunk < heap_top ? chunk : NULL;
}
