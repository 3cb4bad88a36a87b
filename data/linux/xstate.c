/*
 * Lets User-Mode Linux before v6.13 run on a processor whose extended state is larger than it knows. Preloaded into it.
 *
 * It has room for KNOWN bytes of the state: x87, SSE, AVX, AVX-512, protection keys. With AMX there is more, and a host takes
 * a state back only as a whole: the guest's first process dies of "ptrace set fp regs failed, errno = 14". So the part that
 * was asked for is cut out of the whole here, and is made whole again, with what is missing in its initial state.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>

#define NOTE 0x202	      /* NT_X86_XSTATE */
#define KNOWN 2696	      /* bytes: arch/x86/um/user-offsets.c, HOST_FP_SIZE */
#define KNOWN_FEATURES 0x2ffu /* components that lie in them, bits of XSTATE_BV */
#define XSTATE_BV 512	      /* offset; Intel SDM volume 1, 13.4.2 */
#define MOST 65536	      /* bytes; any processor's state */

static unsigned char whole[MOST];
static size_t whole_size;

static long get(pid_t pid, struct iovec *wanted)
{
	struct iovec all = { whole, MOST };
	long result = syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NOTE, &all);
	uint64_t features;

	if (result < 0)
		return result;
	whole_size = all.iov_len;
	memcpy(&features, whole + XSTATE_BV, sizeof(features));
	features &= KNOWN_FEATURES;
	memcpy(whole + XSTATE_BV, &features, sizeof(features));
	if (wanted->iov_len > whole_size)
		wanted->iov_len = whole_size;
	memcpy(wanted->iov_base, whole, wanted->iov_len);
	return result;
}

static long set(pid_t pid, const struct iovec *part)
{
	struct iovec all = { whole, whole_size };

	memset(whole + part->iov_len, 0, whole_size - part->iov_len);
	memcpy(whole, part->iov_base, part->iov_len);
	return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NOTE, &all);
}

/* As the C library's, whose header gives it a request of a type of its own: the words of PEEK requests come by a pointer. */
long ptrace(enum __ptrace_request request, ...)
{
	long peeked = 0, result;
	struct iovec *state;
	void *address, *data;
	va_list arguments;
	pid_t pid;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	state = data;
	if ((long)address == NOTE && request == PTRACE_GETREGSET && state->iov_len <= KNOWN)
		return get(pid, state);
	if ((long)address == NOTE && request == PTRACE_SETREGSET && state->iov_len < whole_size)
		return set(pid, state);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return syscall(SYS_ptrace, request, pid, address, data);
	result = syscall(SYS_ptrace, request, pid, address, &peeked);
	return result < 0 ? result : peeked;
}
