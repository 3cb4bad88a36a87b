/* Memory: the map, the heap and its checker, and user pointers. */
#ifndef MM_H
#define MM_H

#include "types.h"

#define HEAP_END 0xc00000		/* the heap runs from the end of the kernel to here */
#define USER_PHYS HEAP_END		/* one page of 4 MiB holds all of user memory */
#define USER_BASE 0x40000000
#define USER_SIZE 0x400000
#define TRACK_DEPTH 8
#define KASAN_REDZONE 0xfc
#define KASAN_FREED 0xfb

/* Who allocated or freed an object. */
struct track {
	int pid;
	u32 depth, addresses[TRACK_DEPTH];
};

/* In front of every object, as its left red zone. */
struct chunk {
	struct chunk *next;		/* in a free list */
	u32 size, class_size, in_use;	/* size as asked for, and as rounded up */
	struct track alloc, free;
};

extern char _end[];

void heap_init(void);
void *kmalloc(u32 size);
void *kzalloc(u32 size);
void kfree(void *object);
struct chunk *heap_find(u32 addr);

#if defined(CONFIG_KASAN) && !defined(__USER__)
void kasan_poison(const void *from, u32 n, u8 value);
void kasan_check(u32 addr, u32 size, bool write, u32 eip);
void kasan_report_free(u32 addr, u32 eip);
#else
static inline void kasan_poison(const void *from, u32 n, u8 value) {}
static inline void kasan_check(u32 addr, u32 size, bool write, u32 eip) {}
static inline void kasan_report_free(u32 addr, u32 eip) {}
#endif

bool access_ok(const void *user, u32 n);
int copy_from_user(void *to, const void *user, u32 n);
int copy_to_user(void *user, const void *from, u32 n);
int string_from_user(char *to, const char *user, u32 size);

#endif
