/* The reproducer language: a text becomes a list of operations, which threads carry out. README.md has the grammar. */
#include "user.h"

#define MAX_OPS 8192
#define MAX_VARIABLES 64
#define MAX_DEPTH 8
#define MAX_THREADS 64
#define WAIT_TICKS 2000

enum { PRINT, EXPECT, WAIT, HELP, N_BUILTINS };
enum kind { CALL, REPEAT, TICKS, THREAD };
enum argument { NUMBER, STRING, VARIABLE };

struct op {
	u8 kind, n_args, types[4];
	u8 results[2];			/* variables; none: the first, which nobody reads */
	u16 line, end;			/* end: the operation behind it and its block */
	u32 number, args[4];		/* index in call_names, or how often */
	char name[16];			/* of the call */
};

struct thread {
	int pid;			/* 0: free */
	u32 first;
	char stack[4096], buf[4096];	/* the variable `buf` points to the latter */
};

static const char *const call_names[] = { "print", "expect", "wait", "help",
#define X(name) #name,
#include "syscalls.h"
#undef X
};
static const char *const blocks[] = { "", "repeat", "for", "thread" };

static struct op ops[MAX_OPS];
static struct thread threads[MAX_THREADS], main_thread;
static char names[MAX_VARIABLES][16] = { "buf" };
static u32 values[MAX_VARIABLES], n_variables = 1, n_ops, n_complaints;
static const char *who, *expected;	/* and not seen, in the text being compiled */
static char *at;			/* where in that text */
char repro_failed[80];

static bool want(bool seen, const char *what) {
	if (!seen && !expected) expected = what;
	return seen;
}

static bool take(char c) {
	while (*at == ' ' || *at == '\t' || *at == '\r') at++;
	return *at == c && at++;
}

/* A name or a number. */
static bool take_word(char *word) {
	u32 n = 0;
	take(' ');
	for (char c; (c = at[n] | 32), (c >= 'a' && c <= 'z') || (at[n] >= '0' && at[n] <= '9') || at[n] == '_'; n++) ;
	if (!n || n > 15) return false;
	memcpy(word, at, n);
	word[n] = 0;
	at += n;
	return true;
}

static bool take_name(char *word) { return take_word(word) && *word > '9'; }

static bool take_number(u32 *number) {
	char word[16], *digit = word;
	bool negative = take('-');
	if (!take_word(word) || *word > '9') return false;
	u32 base = word[0] == '0' && word[1] == 'x' ? 16 : 10;
	if (base == 16) digit += 2;
	for (*number = 0; *digit; digit++) {
		u32 value = *digit <= '9' ? *digit - '0' : (*digit | 32) - 'a' + 10;
		if (value >= base) return false;
		*number = *number * base + value;
	}
	if (negative) *number = -*number;
	return true;
}

/* In place: what the backslashes mean, and a zero byte where the closing quote was. */
static void take_string(u32 *address) {
	char *to = at;
	for (*address = (u32)at; *at != '"'; at++) {
		if (*at == '\\' && *++at == 'n') *at = '\n';
		else if (!*at || *at == '\n') break;
		*to++ = *at;
	}
	want(take('"'), "a closing quote");
	*to = 0;
}

static int variable(const char *name, bool create) {
	for (u32 i = 0; i < n_variables; i++)
		if (strcmp(names[i], name) == 0) return i;
	if (!create || !want(n_variables < MAX_VARIABLES, "64 variables at most")) return -1;
	memcpy(names[n_variables], name, 16);
	return n_variables++;
}

static void compile_argument(struct op *op) {
	char word[16];
	if (!want(op->n_args < 4, "four arguments at most")) return;
	u32 *value = &op->args[op->n_args];
	u8 *type = &op->types[op->n_args++];
	*type = take('"') ? STRING : (*at | 32) >= 'a' && (*at | 32) <= 'z' ? VARIABLE : NUMBER;
	if (*type == STRING) take_string(value);
	else if (*type == NUMBER) want(take_number(value), "an argument");
	else want(take_word(word) && (int)(*value = variable(word, false)) >= 0, "a variable that has a value");
}

static void compile_call(struct op *op) {
	want(take('('), "'('");
	while (op->number < ARRAY_SIZE(call_names) && strcmp(call_names[op->number], op->name)) op->number++;
	if (take(')')) return;
	do compile_argument(op);
	while (take(','));
	want(take(')'), "',' or ')'");
}

static void compile_block(struct op *op) {
	char word[16] = "";
	if (op->kind != THREAD) want(take_number(&op->number), "a number");
	if (op->kind == TICKS) want(take_name(word) && !strcmp(word, "ticks"), "'ticks'");
	want(take('{'), "'{'");
}

static void compile_statement(struct op *op) {
	char second[16] = "";
	want(take_name(op->name), "a call, a block or '}'");
	for (op->kind = THREAD; op->kind && strcmp(op->name, blocks[op->kind]); op->kind--) ;
	if (op->kind) return compile_block(op);
	if (take(',')) want(take_name(second), "a name");
	if (take('=')) {
		op->results[0] = variable(op->name, true);
		if (second[0]) op->results[1] = variable(second, true);
		want(take_name(op->name), "a call");
	} else want(!second[0], "'='");
	compile_call(op);
}

static void compile_line(u32 line, u32 *open, u32 *depth) {
	struct op *op = &ops[n_ops];
	take(' ');
	if (!*at || *at == '\n' || *at == '#') return;
	if (*depth && take('}')) {
		ops[open[--*depth]].end = n_ops;
		return;
	}
	if (!want(n_ops < MAX_OPS, "8192 statements at most")) return;
	*op = (struct op){ .line = line, .end = ++n_ops };
	compile_statement(op);
	if (op->kind && want(*depth < MAX_DEPTH, "8 open blocks at most")) open[(*depth)++] = n_ops - 1;
}

/* The text is changed and has to stay. Says what is wrong with it. */
bool repro_compile(char *text, const char *name) {
	u32 open[MAX_DEPTH], depth = 0, line = 0;
	who = name;
	expected = NULL;
	n_ops = n_complaints = 0;
	for (at = text; *at && !expected; at += *at == '\n') {
		compile_line(++line, open, &depth);
		if (take('#')) while (*at && *at != '\n') at++;
		want(!*at || *at == '\n', "the end of the line");
	}
	want(!depth, "'}'");
	if (expected) say("%s: line %u: expected %s\n", who, line, expected);
	return !expected;
}

static int run(struct thread *self, u32 first, u32 end);

static void thread_main(struct thread *self) {
	run(self, self->first, ops[self->first - 1].end);
	syscall(NR_exit, 0, 0, 0, 0);
}

static int start_thread(u32 first) {
	struct thread *thread = threads;
	while (thread < threads + MAX_THREADS && __sync_lock_test_and_set(&thread->pid, -1)) thread++;
	if (thread == threads + MAX_THREADS) return -EAGAIN;
	u32 *stack = (u32 *)thread->buf - 2;
	stack[1] = (u32)thread;		/* thread_main's argument, above where a return address would be */
	thread->first = first;
	int pid = syscall(NR_clone, (u32)thread_main, (u32)stack, 0, 0);
	thread->pid = max(pid, 0);
	return pid;
}

/* Wait for all threads this one has started, but not for ever. Returns 0 when all have ended. */
static int wait_all(void) {
	u32 start = syscall(NR_ticks, 0, 0, 0, 0);
	int pid;
	while ((pid = syscall(NR_wait, 0, 0, 0, 0)) >= 0) {
		for (u32 i = 0; pid && i < MAX_THREADS; i++)
			if (threads[i].pid == pid) threads[i].pid = 0;
		if (!pid && syscall(NR_ticks, 0, 0, 0, 0) - start > WAIT_TICKS) return -EAGAIN;
		if (!pid) syscall(NR_sleep, 1, 0, 0, 0);
	}
	return 0;
}

static int expect(u32 value, u32 wanted, const char *what) {
	if ((int)value == -ENOSYS) syscall(NR_exit, 0, 0, 0, 0);
	if (value != wanted && !repro_failed[0])
		snprintf(repro_failed, sizeof(repro_failed), "%s: expected %d, got %d", what, wanted, value);
	return 0;
}

static int run_call(struct thread *self, const struct op *op) {
	u32 args[4];
	for (u32 i = 0; i < 4; i++)
		args[i] = op->types[i] != VARIABLE ? op->args[i] : op->args[i] ? values[op->args[i]] : (u32)self->buf;
	switch (op->number) {
	case PRINT: return say("%s %d\n", op->types[0] == STRING ? (char *)args[0] : "", args[op->types[0] == STRING]), 0;
	case EXPECT: return expect(args[0], args[1], (char *)args[2]);
	case WAIT: return wait_all();
	case HELP:
		for (u32 i = 0; i < ARRAY_SIZE(call_names); i++) say("%s%c", call_names[i], i % 8 == 7 ? '\n' : ' ');
		return say("\n"), 0;
	default: return syscall(op->number - N_BUILTINS, args[0], args[1], args[2], args[3]);
	}
}

/* Carries out the operations from first up to end. Returns what the last call did. */
static int run(struct thread *self, u32 first, u32 end) {
	int result = 0;
	for (u32 i = first; i < end; i = ops[i].end) {
		const struct op *op = &ops[i];
		u32 start = op->kind == TICKS ? syscall(NR_ticks, 0, 0, 0, 0) : 0;
		if (op->kind == REPEAT) for (u32 n = 0; n < op->number; n++) run(self, i + 1, op->end);
		if (op->kind == TICKS)
			do run(self, i + 1, op->end);
			while (syscall(NR_ticks, 0, 0, 0, 0) - start < op->number);
		if (op->kind == CALL || op->kind == THREAD) result = op->kind ? start_thread(i + 1) : run_call(self, op);
		if ((op->kind == THREAD && result < 0) || (op->kind == CALL && result == -ENOSYS))
			if (n_complaints++ < 10) say("%s: line %u: no %s\n", who, op->line, op->kind ? "thread" : op->name);
		bool halves = op->results[1] && result >= 0;
		values[op->results[0]] = halves ? result & 0xffff : result;
		values[op->results[1]] = halves ? result >> 16 : result;
	}
	return result;
}

/* Ends when the top level and all threads have ended, or when the threads do not within WAIT_TICKS. */
int repro_run(void) {
	int result = run(&main_thread, 0, n_ops);
	wait_all();
	return result;
}
