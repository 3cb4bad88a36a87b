/* Page tables, segments, interrupt controllers and the timer chip. */
#include "mm.h"

#define PRESENT 1
#define WRITE 2
#define USER 4
#define SIZE_4M 0x80
#define PIT_RELOAD (1193182 / HZ)
#define TSS_SELECTOR 0x28
#define LOCAL_APIC 0xfee00000

struct hvm_start_info {
	u32 magic, version, flags, n_modules, modules;	/* more follows */
};

struct hvm_module {
	u32 addr, addr_high, size, size_high;
};

struct descriptor_pointer {
	u16 limit;
	void *base;
} __attribute__((packed));

char boot_data[65536];
u32 boot_data_size;

extern char trap_vectors[], entry_INT80_32[], _text[], _etext[];
static u32 page_directory[1024] __attribute__((aligned(4096)));
static u32 first_page_table[1024] __attribute__((aligned(4096)));
static u32 tss[26], idt[256][2];
static u32 gdt[6][2] = {
	{ 0, 0 },
	{ 0x0000ffff, 0x00cf9a00 }, { 0x0000ffff, 0x00cf9200 },	/* kernel code, data */
	{ 0x0000ffff, 0x00cffa00 }, { 0x0000ffff, 0x00cff200 },	/* user code, data */
};

/* Before paging is on, because QEMU puts these at the top of memory. */
void save_boot_info(const struct hvm_start_info *info) {
	const struct hvm_module *module = (const void *)info->modules;
	if (!info->n_modules) return;
	boot_data_size = min(module->size, sizeof(boot_data));
	memcpy(boot_data, (const void *)module->addr, boot_data_size);
}

/* Virtual is physical, but page 0 is absent, code is read-only, and user memory has its own addresses, too. */
void paging_init(void) {
	for (u32 addr = 4096; addr < 0x400000; addr += 4096)
		first_page_table[addr / 4096] = addr | PRESENT | (addr >= (u32)_text && addr < (u32)_etext ? 0 : WRITE);
	page_directory[0] = (u32)first_page_table | PRESENT | WRITE;
	for (u32 i = 1; i < HEAP_END >> 22; i++) page_directory[i] = i << 22 | PRESENT | WRITE | SIZE_4M;
	page_directory[USER_BASE >> 22] = USER_PHYS | PRESENT | WRITE | USER | SIZE_4M;
	asm volatile("mov %0, %%cr3" : : "r"(page_directory));
	asm volatile("mov %%cr4, %%eax; or $0x10, %%eax; mov %%eax, %%cr4" : : : "eax");	/* PSE */
	asm volatile("mov %%cr0, %%eax; or $0x80010000, %%eax; mov %%eax, %%cr0" : : : "eax");	/* PG, WP */
}

void map_device(u32 addr) {
	page_directory[addr >> 22] = (addr & 0xffc00000) | PRESENT | WRITE | SIZE_4M;
	asm volatile("mov %0, %%cr3" : : "r"(page_directory) : "memory");
}

static void set_gate(u32 vector, void *entry, u32 type) {
	idt[vector][0] = KERNEL_CS << 16 | ((u32)entry & 0xffff);
	idt[vector][1] = ((u32)entry & 0xffff0000) | type;
}

/* The old interrupt controllers: vectors from 32 on, automatic end of interrupt, only the timer. */
static void irq_init(void) {
	static const u8 setup[][2] = {
		{ 0x20, 0x11 }, { 0xa0, 0x11 }, { 0x21, 32 }, { 0xa1, 40 }, { 0x21, 4 }, { 0xa1, 2 },
		{ 0x21, 3 }, { 0xa1, 3 }, { 0x21, 0xfe }, { 0xa1, 0xff },
	};
	for (u32 i = 0; i < ARRAY_SIZE(setup); i++) outb(setup[i][0], setup[i][1]);
	/* The local APIC passes their interrupts on; a PC's firmware does this, microvm's does not. */
	map_device(LOCAL_APIC);
	*(volatile u32 *)(LOCAL_APIC + 0xf0) = 0x1ff;	/* enabled */
	*(volatile u32 *)(LOCAL_APIC + 0x350) = 0x700;	/* LINT0: external */
}

void traps_init(void) {
	struct descriptor_pointer gdt_pointer = { sizeof(gdt) - 1, gdt }, idt_pointer = { sizeof(idt) - 1, idt };
	tss[2] = KERNEL_DS;
	tss[25] = sizeof(tss) << 16;			/* no port is open to user mode */
	gdt[5][0] = (u32)tss << 16 | (sizeof(tss) - 1);
	gdt[5][1] = ((u32)tss & 0xff000000) | 0x8900 | ((u32)tss >> 16 & 0xff);
	for (u32 i = 0; i < 48; i++) set_gate(i, trap_vectors + 16 * i, 0x8e00);
	set_gate(0x80, entry_INT80_32, 0xef00);		/* a trap gate: interrupts stay on */
	asm volatile("lgdt %0; lidt %1" : : "m"(gdt_pointer), "m"(idt_pointer));
	asm volatile("ljmp %0, $1f; 1: mov %1, %%ds; mov %1, %%es; mov %1, %%ss; mov %2, %%fs; mov %2, %%gs; ltr %w3"
		     : : "i"(KERNEL_CS), "r"(KERNEL_DS), "r"(0), "r"(TSS_SELECTOR) : "memory");
	irq_init();
}

void set_kernel_stack(u32 esp0) { tss[1] = esp0; }

/*
 * One shot per tick, set again by its handler: a machine that was starved by its host loses ticks instead of
 * getting them all at once, so a watchdog that counts ticks counts time in which the guest could work.
 */
void timer_arm(void) {
	outb(0x43, 0x30);
	outb(0x40, PIT_RELOAD & 0xff);
	outb(0x40, PIT_RELOAD >> 8);
}
