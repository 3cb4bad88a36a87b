/* Names of addresses, from a table that the Makefile makes of the first link's symbols. */
#include "kernel.h"

struct symbol {
	u32 addr;
	const char *name;
};

extern const struct symbol kallsyms[] __attribute__((weak));
extern const u32 kallsyms_n __attribute__((weak));	/* neither is there in the first link */

/*
 * Write `function+0x1a/0x40`, or the bare address. A return address belongs to the call in front of it, which
 * may be the last instruction of its function.
 */
void symbol_name(char *out, u32 size, u32 addr, bool is_return) {
	u32 n = &kallsyms_n ? kallsyms_n : 0, i = 0;
	while (i < n && kallsyms[i].addr + is_return <= addr) i++;
	const struct symbol *next = &kallsyms[i], *symbol = next - 1;
	if (i == 0 || i == n)
		snprintf(out, size, "0x%08x", addr);
	else
		snprintf(out, size, "%s+0x%x/0x%x", symbol->name, addr - symbol->addr, next->addr - symbol->addr);
}
