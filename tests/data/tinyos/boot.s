# Multiboot header, a stack, and off to C.
.set FLAGS, 3
.set MAGIC, 0x1BADB002
.section .multiboot
.align 4
.long MAGIC
.long FLAGS
.long -(MAGIC + FLAGS)

.section .bss
.align 16
.skip 16384
stack_top:

.section .text
.global _start
_start:
	mov $stack_top, %esp
	call kernel_main
	cli
1:	hlt
	jmp 1b
