/* OpenSBI enters in supervisor mode with the hart in a0 and the device tree in a1. */
	.section .text
	.globl _start
_start:
	la sp, boot_stack_top
	mv s0, zero
	tail start_kernel
