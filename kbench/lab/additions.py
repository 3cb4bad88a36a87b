"""Additions to the shared headers and to lib/, in the order in which they come into a history. Data; read `ADDITIONS`."""

from __future__ import annotations

from kbench.lab.patch import Change, Patch

_TYPES, _X86, _STRING, _KERNEL = "include/types.h", "include/x86.h", "lib/string.c", "include/kernel.h"


def _before(path: str, anchor: str, addition: str) -> Change:
    return Change(path, anchor, addition + anchor)


def _macro(area_subject: str, body: str, definition: str) -> Patch:
    return Patch("types", area_subject, body, (_before(_TYPES, "#define min(a, b)", definition + "\n"),))


def _inline(subject: str, body: str, code: str) -> Patch:
    return Patch("x86", subject, body, (_before(_X86, "static inline bool user_mode(", code + "\n"),))


def _function(name: str, body: str, prototype: str, code: str) -> Patch:
    changes = (
        _before(_STRING, "int strcmp(const char *a, const char *b) {", f"{prototype} {{\n{code}}}\n\n"),
        _before(_KERNEL, "int strcmp(const char *a, const char *b);", f"{prototype};\n"),
    )
    return Patch("string", f"add {name}()", body, changes)


def _error(name: str, number: int, what: str) -> Patch:
    change = _before(_TYPES, "\tENOENT = ", f"\t{name} = {number},\n")
    return Patch("errno", f"add {name}", f"{number}, as in Linux: {what}.", (change,))


ADDITIONS: tuple[Patch, ...] = (
    # Some edits wait for the first two.
    _macro(
        "add likely() and unlikely()",
        "So that error paths can be told from the common ones.",
        "#define likely(x) __builtin_expect(!!(x), 1)\n#define unlikely(x) __builtin_expect(!!(x), 0)",
    ),
    Patch(
        "kernel.h",
        "add pr_debug()",
        "Messages for developers, which cost nothing unless CONFIG_DEBUG is set.",
        (
            _before(
                _KERNEL,
                "void printk(const char *format, ...)",
                "#ifdef CONFIG_DEBUG\n#define pr_debug(...) printk(__VA_ARGS__)\n#else\n"
                "#define pr_debug(...) do { } while (0)\n#endif\n\n",
            ),
        ),
    ),
    _function(
        "memcmp",
        "For whoever has to compare bytes that may be zero.",
        "int memcmp(const void *a, const void *b, size_t n)",
        "\tconst u8 *one = a, *two = b;\n"
        "\tfor (; n; n--, one++, two++)\n\t\tif (*one != *two) return *one - *two;\n\treturn 0;\n",
    ),
    _function(
        "strnlen",
        "A length for text that may lack its end.",
        "size_t strnlen(const char *s, size_t max)",
        "\tsize_t n = 0;\n\twhile (n < max && s[n]) n++;\n\treturn n;\n",
    ),
    _function(
        "strchr",
        "Three places search for a character by hand.",
        "char *strchr(const char *s, int c)",
        "\tfor (; *s; s++)\n\t\tif (*s == c) return (char *)s;\n\treturn NULL;\n",
    ),
    Patch(
        "types",
        "add list_add()",
        "The counterpart of list_add_tail(): a new first entry.",
        (
            _before(
                _TYPES,
                "static inline void list_del(struct list_head *entry)",
                "/* As the first one. */\nstatic inline void list_add(struct list_head *entry, struct list_head *head) {\n"
                "\tlist_add_tail(entry, head->next);\n}\n\n",
            ),
        ),
    ),
    _macro("add BIT()", "Reads better than a shift.", "#define BIT(n) (1u << (n))"),
    _macro("add round_up()", "For powers of two only.", "#define round_up(x, to) (((x) + (to) - 1) & ~((to) - 1))"),
    _macro("add swap()", "Needed for sorting.", "#define swap(a, b) do { typeof(a) c_ = (a); (a) = (b); (b) = c_; } while (0)"),
    _macro(
        "walk a list backwards",
        "For whoever wants the newest entry first.",
        "#define list_for_each_prev(pos, head) for (struct list_head *pos = (head)->prev; pos != (head); pos = pos->prev)",
    ),
    _macro(
        "add list_first()",
        "Shorter than list_entry() of the next one.",
        "#define list_first(head, type, member) list_entry((head)->next, type, member)",
    ),
    _inline(
        "add cpu_relax()",
        "Tells the processor that it is in a waiting loop.",
        'static inline void cpu_relax(void) {\n\tasm volatile("pause" : : : "memory");\n}\n',
    ),
    _inline(
        "add outl()",
        "The PCI configuration space wants 32 bits at a time.",
        'static inline void outl(u16 port, u32 value) {\n\tasm volatile("outl %0, %1" : : "a"(value), "Nd"(port));\n}\n',
    ),
    _inline(
        "add inl()",
        "As wide as outl().",
        "static inline u32 inl(u16 port) {\n\tu32 value;\n"
        '\tasm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));\n\treturn value;\n}\n',
    ),
    _inline("name more bits of eflags", "For the register dump, one day.", "#define EFLAGS_TF 0x100\n#define EFLAGS_DF 0x400\n"),
    _error("EINTR", 4, "interrupted"),
    _error("EIO", 5, "input or output failed"),
    _error("EBUSY", 16, "in use"),
    _error("ENODEV", 19, "no such device"),
    _error("ENFILE", 23, "too many open files"),
    _error("ENOTTY", 25, "not a terminal"),
    _error("ESPIPE", 29, "a pipe has no position"),
    _error("EROFS", 30, "read-only"),
    _error("EDOM", 33, "out of a function's domain"),
    _error("ERANGE", 34, "result too large"),
    _error("EDEADLK", 35, "would deadlock"),
    _error("EOVERFLOW", 75, "too large for its type"),
    _error("ETIMEDOUT", 110, "timed out"),
)
