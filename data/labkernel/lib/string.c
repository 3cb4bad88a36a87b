/* Memory and strings; the compiler calls memcpy and memset by itself. */
#include "mm.h"

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

int strcmp(const char *a, const char *b) {
	while (*a && *a == *b) a++, b++;
	return (u8)*a - (u8)*b;
}
