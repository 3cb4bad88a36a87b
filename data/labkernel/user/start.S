/* The beginning of the flat image of the user program, and its data. */
	.section .start, "ax"
	.globl _start
_start:
	call init

	.data
	.globl basic_test
basic_test:
	.incbin "user/basic.test"
	.byte 0

	.section .note.GNU-stack, "", @progbits
