/* Memory: the map, the heap and its checker, and user pointers. */
#pragma once

#include "kernel.h"

#define HEAP_END 0xc00000		/* the heap runs from the end of the kernel to here */
#define USER_PHYS HEAP_END		/* one page of 4 MiB holds all of user memory */
#define USER_BASE 0x40000000
#define USER_SIZE 0x400000
#define TRACK_DEPTH 8
#define KASAN_REDZONE 0xfc
#define KASAN_FREED 0xfb
#define CALLER ((u32)__builtin_return_address(0))

/* Who allocated or freed an object. */
struct track {
	int pid;
	u32 depth, addresses[TRACK_DEPTH];
};

/* In front of every object, as its left red zone. */
struct chunk {
	struct list_head list;		/* of free chunks, the one freed first in front */
	u32 size, class_size;		/* as asked for, and as rounded up */
	bool in_use;
	u32 freed_at;			/* so many objects had been freed before */
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
void kasan_report(const char *bug, const char *access, u32 addr, u32 eip);
#else
static inline void kasan_poison(const void *from, u32 n, u8 value) {}
static inline void kasan_check(u32 addr, u32 size, bool write, u32 eip) {}
static inline void kasan_report(const char *bug, const char *access, u32 addr, u32 eip) {}
#endif

/* User memory is always there: where access_ok() holds it is read and written like any other. */
bool access_ok(const void *user, u32 n);
int string_from_user(char *to, const char *user, u32 size);
