/* What C cannot say by itself on a 32-bit x86. */
#pragma once

#include "types.h"

#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define EFLAGS_IF 0x200

/* What entry.S leaves on the stack; esp and ss are only there when the trap came from user mode. */
struct regs {
	u32 edi, esi, ebp, unused_esp, ebx, edx, ecx, eax, es, ds, vector, error;
	u32 eip, cs, eflags, esp, ss;
};

static inline void outb(u16 port, u8 value) { asm volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }

static inline u8 inb(u16 port) {
	u8 value;
	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* Interrupts off; returns what irq_restore() wants. */
static inline u32 irq_save(void) {
	u32 flags;
	asm volatile("pushf; pop %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void irq_restore(const u32 *flags) { asm volatile("push %0; popf" : : "r"(*flags) : "memory", "cc"); }
/* Interrupts off to the end of the block, whichever way it is left. */
#define guard_irq() u32 guard_ __attribute__((cleanup(irq_restore), unused)) = irq_save()

static inline bool user_mode(const struct regs *regs) { return regs->cs & 3; }

struct hvm_start_info;
void save_boot_info(const struct hvm_start_info *info);
void paging_init(void);
void traps_init(void);
void set_kernel_stack(u32 esp0);
void timer_arm(void);
void map_device(u32 addr);
void enter_user(u32 eip, u32 esp) __attribute__((noreturn));
void switch_to(u32 *save_esp, u32 load_esp);
void halt_forever(void) __attribute__((noreturn));
