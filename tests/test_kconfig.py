"""Configs and Kconfig files as text: what was asked for, what came, and why."""

# ruff: noqa: E101  Kconfig files indent by tabs, their help texts by two spaces more

from __future__ import annotations

import pytest

from kbench.kernels.expressions import conjuncts, value
from kbench.kernels.fragments import is_whole, render, settings, unlike
from kbench.kernels.kconfig import explain, parse, statements
from kbench.resources import data_dir

# In the words and the layout of real files: lib/Kconfig.debug, mm/Kconfig, net/Kconfig and arch/um/Kconfig.
TREE = {
    "Kconfig": """
# SPDX-License-Identifier: GPL-2.0
mainmenu "Linux/$(ARCH) $(KERNELVERSION) Kernel Configuration"
comment "Compiler: $(CC_VERSION_TEXT)"
source "scripts/Kconfig.include"
source "arch/$(SRCARCH)/Kconfig"
source "arch/$SRCARCH/Kconfig.old"
source "net/Kconfig"
source "gone/Kconfig"
source "../outside"
""",
    "scripts/Kconfig.include": "comma       := ,\nif-success = $(shell,{ $(1); } && echo y)\n",
    "arch/um/Kconfig": """
config UML
	bool
	default y
	select ARCH_NO_PREEMPT

config ARCH_NO_PREEMPT
	bool

config EXPERT
	bool "Configure standard kernel features (expert users)"
	help
	  if this were read as a statement, everything below would depend on it
	  select UML

	  endif
config DEBUG_ATOMIC_SLEEP
	bool "Sleep inside atomic section checking"
	depends on DEBUG_KERNEL && !ARCH_NO_PREEMPT && \\
		(SMP || EXPERT) # as in lib/Kconfig.debug

config SMALL
	bool "small" if EXPERT
	default y

config KASAN
	bool "KASAN" if $(cc-option,-fsanitize=kernel-address)
	depends on $(success,test "$(X)" = y) || HAVE_ARCH_KASAN
config LEVEL
	int "level"
	range 0 3
	depends on MODULES="y" || GCC_VERSION >= 90000
""",
    "arch/um/Kconfig.old": 'choice\n\tprompt "unwinder"\nconfig ORC\n\tbool "ORC"\nconfig POINTER\n\tbool "pointer"\nendchoice\n',
    "net/Kconfig": """
menuconfig NET
	bool "Networking support"

if NET

menu "options"
	depends on INET != n
source "net/core/Kconfig"
endmenu
rsource "core/Kconfig.more"

endif
""",
    "net/core/Kconfig": 'config SCTP\n\ttristate "SCTP"\n\tselect CRC if SMP\n\tselect LIB\n',
    "net/core/Kconfig.more": 'config CRC\n\tbool "crc"\nconfig LIB\n\ttristate "lib"\n',
}
DEFINITIONS = parse(TREE.get, {"SRCARCH": "um"})


def test_settings_later_lines_win() -> None:
    text = """CONFIG_A=y   # a reason
# CONFIG_B is not set
CONFIG_NAME="a # b"  # quoted
CONFIG_N=-1
CONFIG_A=n
junk CONFIG_X=y
CONFIG_E=
CONFIG_B=m
"""
    assert settings(text) == {"NAME": '"a # b"', "N": "-1", "A": "n", "E": "n", "B": "m"}
    assert list(settings(text)) == ["NAME", "N", "A", "E", "B"]
    assert settings(render(settings(text))) == settings(text)


def test_a_whole_config_is_told_from_a_fragment() -> None:
    head = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/um 6.12.111 Kernel Configuration\n#\n"
    assert is_whole(head + "CONFIG_A=y\n")
    assert not is_whole("# for the Linux crash in fs/pipe.c\nCONFIG_A=y\n")


def test_unlike() -> None:
    asked = {"A": "y", "B": "n", "C": "y", "D": "n", "S": '""', "V": "10"}
    assert unlike(asked, {"A": "y", "D": "y", "V": "9"}) == {"C": ("y", ""), "D": ("n", "y"), "V": ("10", "9")}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("Y", 2),
        ("M", 1),
        ("GONE", 0),
        ("!M", 1),
        ("Y && M", 1),
        ("GONE || M", 1),
        ("!(Y && GONE)", 2),
        ("M=m", 2),
        ('M!="y"', 2),
        ("N >= 90000", 2),
        ("N < 90000", 0),
        ("$(cc-option,-f(x))", None),
        ("GONE && $(success,a && b)", 0),
        ("Y || $(x)", 2),
        ("Y && $(x)", None),
        ("", 2),
        ("Y &&", None),
        ("((((", None),
        ("Y Y", None),
        ("@", None),
        ("(" * 1500 + "Y", None),
    ],
)
def test_expressions(expression: str, expected: int | None) -> None:
    assert value(expression, {"Y": "y", "M": "m", "N": "120200"}) == expected


def test_conjuncts() -> None:
    assert conjuncts("A && (B || !C) && (D && E=y)") == ["A", "B || !C", "D", "E=y"]
    assert conjuncts("") == conjuncts("((") == []


def test_help_is_no_statement() -> None:
    words = [(keyword, rest.split()) for _, keyword, rest in statements(TREE["arch/um/Kconfig"])]
    assert ("endif", []) not in words
    assert ("select", ["UML"]) not in words
    assert ("depends", ["on", "DEBUG_KERNEL", "&&", "!ARCH_NO_PREEMPT", "&&", "(SMP", "||", "EXPERT)"]) in words


@pytest.mark.parametrize(
    ("option", "asked", "final", "reason"),
    [
        ("NO_SUCH", "y", {}, "this tree has no such option"),
        ("DEBUG_ATOMIC_SLEEP", "y", {"DEBUG_KERNEL": "y", "ARCH_NO_PREEMPT": "y", "SMP": "y"}, "it depends on !ARCH_NO_PREEMPT"),
        ("DEBUG_ATOMIC_SLEEP", "y", {}, "it depends on DEBUG_KERNEL and SMP || EXPERT"),
        ("SCTP", "m", {"INET": "y"}, "it depends on NET"),
        ("SCTP", "m", {"NET": "y", "INET": "y", "SCTP": "y"}, "MODULES is off"),
        ("CRC", "y", {}, "it depends on NET"),
        ("CRC", "n", {"NET": "y", "SCTP": "y", "SMP": "y", "CRC": "y"}, "selected by SCTP"),
        ("LIB", "n", {"NET": "y", "SCTP": "m", "LIB": "m"}, "selected by SCTP"),
        ("SMALL", "n", {"SMALL": "y"}, "its default decides, it is offered only with EXPERT"),
        ("UML", "n", {"UML": "y"}, "it has no prompt: its default decides"),
        ("ARCH_NO_PREEMPT", "y", {}, "it has no prompt: its default and other options decide"),
        ("ORC", "y", {"POINTER": "y"}, "its choice fell on POINTER"),
        ("POINTER", "n", {"POINTER": "y"}, "its choice has to have one on"),
        ("KASAN", "y", {}, ""),  # the compiler decides: not known here
        ("LEVEL", "3", {"GCC_VERSION": "80000"}, 'it depends on MODULES="y" || GCC_VERSION>=90000'),
    ],
)
def test_reasons(option: str, asked: str, final: dict[str, str], reason: str) -> None:
    assert explain(option, asked, final, DEFINITIONS) == reason


def test_files_that_source_each_other_come_to_an_end() -> None:
    assert list(parse({"Kconfig": 'source "Kconfig"\nconfig A\n\tbool "a"\n'}.get, {})) == ["A"]


@pytest.mark.parametrize("name", ["um", "x86_64", "aarch64"])
def test_every_option_of_a_base_has_its_reason(name: str) -> None:
    text = (data_dir() / "linux" / f"{name}.config").read_text()
    lines = [line for line in text.splitlines() if line.startswith("CONFIG_")]
    assert len(lines) == len(settings(text)) > 50, "each option once"
    assert all(len(line.partition("# ")[2].strip()) > 3 for line in lines)
