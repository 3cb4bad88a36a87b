/* Ways to end; the host can tell them apart. */
#include "kernel.h"

#define GED_REGS 0xfea00200		/* microvm's ACPI registers: sleep control, sleep status, reset */

void halt_forever(void) { for (;;) asm volatile("cli; hlt"); }

int sys_poweroff(void) {
	printk("reboot: Power down\n");
	irq_save();
	map_device(GED_REGS);
	*(volatile u8 *)GED_REGS = 0x34;					/* enter S5: microvm */
	asm volatile("outw %0, %1" : : "a"((u16)0x2000), "Nd"((u16)0x604));	/* pc and q35 */
	halt_forever();
}

int sys_reboot(void) {
	printk("reboot: Restarting system\n");
	irq_save();
	map_device(GED_REGS);
	*(volatile u8 *)(GED_REGS + 2) = 0x42;	/* microvm */
	outb(0xcf9, 6);				/* pc and q35 */
	halt_forever();
}
