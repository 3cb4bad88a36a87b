"""Names of C++ and Rust functions, as their compilers mangle them, in the form people write. Read `demangled`.

Sources: the Itanium C++ ABI, 5.1 (names of functions only), and Rust RFC 2603 (paths; what a generic is made for is left out).
"""

from __future__ import annotations

import re

_MAX_DEPTH = 50
_LEGACY_HASH = re.compile(r"h[0-9a-f]{16}")


def demangled(symbol: str) -> str:
    """The name a person would write; the symbol itself when it is not mangled, or not in a way that is known here."""
    try:
        if symbol.startswith("_R"):
            return _Rust(symbol).path()
        return _cpp(symbol) if symbol.startswith("_Z") else symbol
    except (ValueError, IndexError, RecursionError):
        return symbol


def _cpp(symbol: str) -> str:
    # _Z <length> <name> …, or nested: _ZN <length> <name> … E.
    position = 3 if symbol[2] == "N" else 2
    parts: list[str] = []
    while symbol[position].isdecimal() and (not parts or symbol[2] == "N"):
        length = re.match(r"[0-9]{1,3}", symbol[position:])
        if not length:
            break
        begin = position + length.end()
        position = begin + int(length[0])
        parts.append(symbol[begin:position])
    parts = [part for part in parts if not _LEGACY_HASH.fullmatch(part)]
    if not parts or not all(parts):
        raise ValueError(symbol)
    return "::".join(parts)


class _Rust:
    # A reader of one symbol, RFC 2603 "Syntax of mangled names".

    def __init__(self, symbol: str) -> None:
        self._text, self._at, self._depth = symbol, 2, 0

    def path(self) -> str:
        self._depth += 1
        tag = self._next()
        if self._depth > _MAX_DEPTH:
            raise ValueError(tag)
        read = {"C": self._identifier, "N": self._nested, "M": self._inherent, "X": self._trait, "Y": self._trait_of,
                "I": self._generic, "B": self._back}[tag] if tag in "CNMXYIB" else None  # fmt: skip
        if read is None:
            raise ValueError(tag)
        return read()

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _nested(self) -> str:
        self._next()  # the name space
        outer, inner = self.path(), self._identifier()
        return f"{outer}::{inner}" if inner else outer

    def _inherent(self) -> str:
        self._impl()
        return f"<{self._type()}>"

    def _trait(self) -> str:
        self._impl()
        return f"<{self._type()} as {self.path()}>"

    def _trait_of(self) -> str:
        return f"<{self._type()} as {self.path()}>"

    def _impl(self) -> None:
        self._disambiguator()
        self.path()

    def _generic(self) -> str:
        outer = self.path()
        while self._text[self._at] != "E":
            self._type()
        self._at += 1
        return outer

    def _type(self) -> str:
        if self._text[self._at] in "RQPO":  # references and pointers
            self._at += 1
            return "&" + self._type()
        if self._text[self._at].islower():
            return self._next()  # a basic type, by its letter
        return self.path()

    def _back(self) -> str:
        to, here = 2 + self._number(), self._at
        if to >= here:
            raise ValueError(to)
        self._at = to
        path = self.path()
        self._at = here
        return path

    def _identifier(self) -> str:
        self._disambiguator()
        length = re.compile(r"u?(0|[1-9][0-9]{0,3})_?").match(self._text, self._at)
        if not length:
            raise ValueError(self._text)
        begin, self._at = length.end(), length.end() + int(length[1])
        return self._text[begin : self._at]

    def _disambiguator(self) -> None:
        if self._text[self._at] == "s":
            self._at += 1
            self._number()

    def _number(self) -> int:
        digits = re.compile(r"([0-9a-zA-Z]{0,13})_").match(self._text, self._at)
        if not digits:
            raise ValueError(self._text)
        self._at = digits.end()
        value = 0
        for digit in digits[1]:
            value = value * 62 + "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".index(digit)
        return value + 1 if digits[1] else 0
