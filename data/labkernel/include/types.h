/* Basic types, error numbers and the doubly linked list. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))

enum errno {
	ENOENT = 2, EBADF = 9, ECHILD = 10, EAGAIN = 11, ENOMEM = 12, EFAULT = 14, EINVAL = 22, EMFILE = 24,
	EFBIG = 27, EPIPE = 32, ENAMETOOLONG = 36, ENOSYS = 38,
};

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD(name) struct list_head name = { &(name), &(name) }
#define list_entry(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define list_for_each(pos, head) for (struct list_head *pos = (head)->next; pos != (head); pos = pos->next)

static inline void list_init(struct list_head *list) { list->next = list->prev = list; }
static inline bool list_empty(const struct list_head *head) { return head->next == head; }

/* At the end of a list; or in front of an entry. */
static inline void list_add_tail(struct list_head *entry, struct list_head *head) {
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

static inline void list_del(struct list_head *entry) {
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}
