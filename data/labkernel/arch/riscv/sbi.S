/* void sbi_putchar(int c): the legacy console call of the supervisor binary interface. */
	.text
	.globl sbi_putchar
sbi_putchar:
	li a7, 1
	ecall
	ret

/* void sbi_shutdown(void) */
	.globl sbi_shutdown
sbi_shutdown:
	li a7, 8
	ecall
