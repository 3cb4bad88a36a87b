# `nm -n` of the first link -> the table that kallsyms.c searches.
$2 == "t" || $2 == "T" {
	if ($1 == last || $3 == "_text") next
	last = $1
	table = table sprintf("\t.long 0x%s, name_%d\n", $1, n)
	names = names sprintf("name_%d:\t.asciz \"%s\"\n", n, $3)
	n++
}
END {
	printf "\t.section .kallsyms, \"a\"\n\t.globl kallsyms, kallsyms_n\nkallsyms:\n%s", table
	printf "kallsyms_n:\t.long %d\n%s", n, names
	print "\t.section .note.GNU-stack, \"\", @progbits"
}
