/* Memory and strings; the compiler calls memcpy and memset by itself. */
#include "kernel.h"
#include "mm.h"

#define CALLER ((u32)__builtin_return_address(0))

void *memcpy(void *to, const void *from, size_t n) {
	void *start = to;
	kasan_check((u32)from, n, false, CALLER);
	kasan_check((u32)to, n, true, CALLER);
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	return start;
}

void *memset(void *to, int byte, size_t n) {
	void *start = to;
	kasan_check((u32)to, n, true, CALLER);
	asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
	return start;
}

size_t strlen(const char *s) {
	size_t n = 0;
	while (s[n]) n++;
	return n;
}

int strcmp(const char *a, const char *b) {
	while (*a && *a == *b) a++, b++;
	return (u8)*a - (u8)*b;
}

/* Where in text the word begins, or NULL. */
char *strstr(const char *text, const char *word) {
	for (; *text; text++) {
		size_t i = 0;
		while (word[i] && text[i] == word[i]) i++;
		if (!word[i]) return (char *)text;
	}
	return NULL;
}
