"""Kconfig's expressions (Documentation/kbuild/kconfig-language.rst, "Menu dependencies"). Pure. Read `value` first."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

#: A tristate: 0 is n, 1 is m, 2 is y; None when a macro decides, which is not evaluated here.
Tristate = int | None
# A node is a word, ("!", node), (operator, node, node); words keep their quotes.
Node = str | tuple["str | Node", ...]
_TOKEN = re.compile(
    r"""\s*(\|\||&&|!=|<=|>=|[!=<>()]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\$\((?:[^()]|\([^()]*\))*\)|[\w./+-]+)""", re.ASCII
)
_COMPARISONS = ("=", "!=", "<", ">", "<=", ">=")
_LEVELS = {"n": 0, "m": 1, "y": 2}
MAX_TOKENS = 2000  # bounds the recursion; the longest of the tree has some hundred


def value(expression: str, config: Mapping[str, str]) -> Tristate:
    """Return what an expression comes to over a config; an empty one is y, one that cannot be read None."""
    node = _parse(expression)
    return None if node is None else _value(node, config)


def conjuncts(expression: str) -> list[str]:
    """Return the parts of an expression that all have to hold, as text."""
    node = _parse(expression)
    return [] if node in (None, "y") else [_text(part) for part in _flat(node)]


def _parse(expression: str) -> Node | None:
    tokens: list[str] = []
    position = 0
    while expression[position:].strip():
        match = _TOKEN.match(expression, position)
        if not match or len(tokens) > MAX_TOKENS:
            return None
        tokens.append(match[1])
        position = match.end()
    if not tokens:
        return "y"
    try:
        node = _either(tokens)
    except (IndexError, RecursionError):
        return None
    return node if not tokens else None


def _either(tokens: list[str]) -> Node:
    return _chain(tokens, "||", _both)


def _both(tokens: list[str]) -> Node:
    return _chain(tokens, "&&", _comparison)


def _chain(tokens: list[str], operator: str, operand: Callable[[list[str]], Node]) -> Node:
    node = operand(tokens)
    while tokens and tokens[0] == operator:
        node = (tokens.pop(0), node, operand(tokens))
    return node


def _comparison(tokens: list[str]) -> Node:
    node = _single(tokens)
    if tokens and tokens[0] in _COMPARISONS:
        node = (tokens.pop(0), node, _single(tokens))
    return node


def _single(tokens: list[str]) -> Node:
    token = tokens.pop(0)
    if token == "!":
        return ("!", _single(tokens))
    if token == "(":
        node = _either(tokens)
        if tokens.pop(0) != ")":
            raise IndexError
        return node
    return token


def _value(node: Node, config: Mapping[str, str]) -> Tristate:
    if isinstance(node, str):
        return None if "$" in node else _LEVELS.get(_word(node, config), 0)
    operator, *operands = node
    if operator in _COMPARISONS:
        return _compare(str(operator), operands[0], operands[1], config)
    values = [_value(operand, config) for operand in operands]
    if operator == "!":
        return None if values[0] is None else 2 - values[0]
    known = [each for each in values if each is not None]
    strongest = 0 if operator == "&&" else 2
    if strongest in known:
        return strongest
    return None if len(known) < len(values) else (min if operator == "&&" else max)(known)


def _compare(operator: str, left: Node, right: Node, config: Mapping[str, str]) -> Tristate:
    if not isinstance(left, str) or not isinstance(right, str) or "$" in left + right:
        return None
    one, two = _word(left, config), _word(right, config)
    if operator in ("=", "!="):
        return 2 if (one == two) == (operator == "=") else 0
    try:
        difference = int(one, 0) - int(two, 0)
    except ValueError:
        return None
    holds = {"<": difference < 0, ">": difference > 0, "<=": difference <= 0, ">=": difference >= 0}
    return 2 if holds[operator] else 0


def _word(word: str, config: Mapping[str, str]) -> str:
    """The value of an option, or the word itself when it is a constant."""
    if word[0] in "\"'":
        return word[1:-1]
    if word in _LEVELS or word[0].isdigit():
        return word
    return config.get(word, "n").strip('"')


def _flat(node: Node) -> list[Node]:
    if not isinstance(node, str) and node[0] == "&&":
        return [*_flat(node[1]), *_flat(node[2])]
    return [node]


def _text(node: Node) -> str:
    if isinstance(node, str):
        return node
    if node[0] == "!":
        return f"!{_bracketed(node[1])}"
    if node[0] in _COMPARISONS:
        return f"{_text(node[1])}{node[0]}{_text(node[2])}"
    return f"{_bracketed(node[1])} {node[0]} {_bracketed(node[2])}"


def _bracketed(node: Node) -> str:
    text = _text(node)
    return f"({text})" if not isinstance(node, str) and node[0] in ("||", "&&") else text
