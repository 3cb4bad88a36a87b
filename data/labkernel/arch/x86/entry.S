/* Ways into the kernel and between threads. */

/* One stub of 16 bytes for every vector, so that their addresses need no table. */
	.text
	.balign 16
	.globl trap_vectors
trap_vectors:
n = 0
	.rept 48
	.balign 16
	.if (n != 8) && ((n < 10) || (n > 14)) && (n != 17) && (n != 21)
	pushl $0			/* the processor pushed no error code */
	.endif
	pushl $n
	jmp trap_entry
	n = n + 1
	.endr

	.macro save_regs
	pushl %ds
	pushl %es
	pushal
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	cld
	pushl %esp
	.endm

	.macro restore_regs
	addl $4, %esp
	popal
	popl %es
	popl %ds
	addl $8, %esp
	iret
	.endm

	.globl trap_entry
trap_entry:
	save_regs
	call do_trap
	restore_regs

	.globl entry_INT80_32
entry_INT80_32:
	pushl $0
	pushl $0x80
	save_regs
	call do_syscall
	restore_regs

/* void switch_to(u32 *save_esp, u32 load_esp): callee-saved registers travel on the stack. */
	.globl switch_to
switch_to:
	movl 4(%esp), %eax
	movl 8(%esp), %edx
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	movl %esp, (%eax)
	movl %edx, %esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

/* void enter_user(u32 eip, u32 esp) */
	.globl enter_user
enter_user:
	movl 4(%esp), %eax
	movl 8(%esp), %ebx
	movl $0x23, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	pushl %ecx			/* ss */
	pushl %ebx			/* esp */
	pushl $0x202			/* eflags: interrupts on */
	pushl $0x1b			/* cs */
	pushl %eax			/* eip */
	xorl %ebp, %ebp
	iret

	.section .note.GNU-stack, "", @progbits
