/*
 * Where the machine starts. QEMU finds the 32-bit entry in the PVH note and enters with paging off,
 * flat segments and the address of struct hvm_start_info in ebx (Xen's docs/misc/pvh.pandoc).
 */
	.section .note.pvh, "a", @note
	.long 4, 4, 18			/* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long _start

	.text
	.globl _start
_start:
	cld
	xorl %eax, %eax
	movl $__bss_start, %edi
	movl $_end, %ecx
	subl %edi, %ecx
	shrl $2, %ecx
	rep stosl
	movl $boot_stack_top, %esp
	xorl %ebp, %ebp
	pushl %ebx
	call start_kernel

	.bss
	.balign 16
	.skip 8192
	.globl boot_stack_top
boot_stack_top:

/* The user program, as a flat image, and the symbol table that the second link fills in. */
	.section .rodata
	.globl user_image, user_image_end
	.balign 4
user_image:
	.incbin "user/init.bin"
user_image_end:

	.section .note.GNU-stack, "", @progbits
