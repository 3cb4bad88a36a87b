"""Why an option did not come out as asked for, from the tree's Kconfig files. Read `explain` first.

A modest reader: it follows `source`, `if`, `menu` and `choice`, and evaluates expressions over the final config. What a
macro (`$(cc-option, ...)`) would say is not known to it and never given as a reason. Files are read with `read`, an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kbench.kernels.expressions import conjuncts, value

MAX_DEPTH = 32  # of files that source each other; the tree has 6
_KEYWORD = re.compile(r"\s*([a-z_-]+)\b\s*(.*)")
_SOURCES = ("source", "osource", "rsource", "orsource")
_TYPES = ("bool", "tristate", "string", "int", "hex", "def_bool", "def_tristate")
_PROMPT = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*(?:if\s+(.*))?""")
_VARIABLE = re.compile(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)")


@dataclass(slots=True)
class Definition:
    """One place where an option is defined; a tree may have several for one option."""

    place: str  # file:line
    depends: list[str] = field(default_factory=list)  # expressions, all of which have to hold
    prompts: list[str] = field(default_factory=list)  # conditions under which it is offered; "" always
    selects: list[tuple[str, str]] = field(default_factory=list)  # option, condition
    choice: str = ""  # place of the choice it is one of


Definitions = dict[str, list[Definition]]


def parse(read: Callable[[str], str | None], variables: Mapping[str, str], top: str = "Kconfig") -> Definitions:
    """Return all definitions below a Kconfig file.

    Parameters
    ----------
    read : callable
        Path relative to the tree to its text, None when there is no such file in the tree.
    variables : mapping
        What $(SRCARCH) and the like stand for.
    """
    found: Definitions = {}
    _Reader(read, variables, found).file(top, [], 0)
    return found


class _Reader:
    """Goes through Kconfig files line by line."""

    def __init__(self, read: Callable[[str], str | None], variables: Mapping[str, str], found: Definitions) -> None:
        self._read, self._variables, self._found = read, variables, found

    def file(self, path: str, around: list[str], depth: int) -> None:
        """Read one file; `around` are the conditions it is sourced under."""
        text = self._read(path) if depth < MAX_DEPTH else None
        if text is None:
            return
        blocks: list[Definition] = []  # open if, menu and choice, with what they ask for
        current = Definition("")  # whatever the next attribute belongs to
        for number, keyword, rest in statements(text):
            conditions = [*around, *(condition for block in blocks for condition in block.depends)]
            place = f"{path}:{number}"
            if keyword in _SOURCES:
                self.file(self._path(rest, path, keyword), conditions, depth + 1)
            elif keyword in ("config", "menuconfig"):
                choice = next((block.choice for block in reversed(blocks) if block.choice), "")
                current = Definition(place, conditions, choice=choice)
                self._found.setdefault(rest.split()[0] if rest.split() else "", []).append(current)
            elif keyword in ("if", "menu", "choice"):
                current = Definition(place, [rest] if keyword == "if" else [], choice=place if keyword == "choice" else "")
                blocks.append(current)
            elif keyword in ("endif", "endmenu", "endchoice"):
                del blocks[-1:]
            elif keyword == "comment":
                current = Definition(place)
            else:
                _attribute(current, keyword, rest)

    def _path(self, rest: str, here: str, keyword: str) -> str:
        name = _VARIABLE.sub(lambda match: self._variables.get(match[1] or match[2] or match[3], ""), rest.strip().strip("\"'"))
        folder = here.rpartition("/")[0]
        return f"{folder}/{name}" if folder and keyword in ("rsource", "orsource") else name


def statements(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, first word and rest of each statement; help texts and comments are left out."""
    lines = iter(enumerate(text.expandtabs().splitlines(), 1))
    help_indent: int | None = None  # of the `help` line, while its text goes on
    for number, line in lines:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if not stripped or (help_indent is not None and indent > help_indent):
            continue
        help_indent = None
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines, (0, ""))[1]
        if stripped in ("help", "---help---"):
            help_indent = indent
        elif not stripped.startswith("#") and (match := _KEYWORD.match(whole)):
            yield number, match[1], _without_comment(match[2])


def _without_comment(rest: str) -> str:
    return re.sub(r"\s#[^\"']*$", "", rest).strip()


def _attribute(current: Definition, keyword: str, rest: str) -> None:
    if keyword == "depends":
        current.depends.append(rest.removeprefix("on").strip())
    elif keyword == "select":
        name, _, condition = rest.partition(" if ")
        current.selects.append((name.strip(), condition.strip()))
    elif (keyword in _TYPES or keyword == "prompt") and (match := _PROMPT.match(rest)):
        current.prompts.append(match[2] or "")


def explain(option: str, asked: str, final: Mapping[str, str], definitions: Definitions) -> str:
    """Return why an option is not what was asked for, "" when the Kconfig files do not tell.

    Parameters
    ----------
    option : str
        Without CONFIG_.
    asked : str
        As in a .config, "n" for off.
    final : mapping
        The config it came to.
    definitions : Definitions
    """
    places = definitions.get(option)
    if not places:
        return "this tree has no such option"
    if asked == "n":
        return _why_on(option, final, definitions)
    unmet = [_unmet(place.depends, final) for place in places]
    if all(unmet):
        return "it depends on " + " and ".join(_fewest(unmet))
    shown = [condition for place in places for condition in place.prompts]
    if not shown:
        return "it has no prompt: its default and other options decide"
    hidden = [_unmet([condition], final) for condition in shown]
    if all(hidden):
        return "it is offered only with " + " and ".join(_fewest(hidden))
    return _chosen(option, final, definitions) or _why_limited(option, asked, final, definitions)


def _why_on(option: str, final: Mapping[str, str], definitions: Definitions) -> str:
    selecting = [
        name
        for name, places in definitions.items()
        if final.get(name, "n") in "ym"
        and any(what == option and value(condition, final) != 0 for place in places for what, condition in place.selects)
    ]
    if selecting:
        return "selected by " + _some(sorted(selecting))
    shown = [condition for place in definitions[option] for condition in place.prompts]
    if not shown:
        return "it has no prompt: its default decides"
    hidden = [_unmet([condition], final) for condition in shown]
    if all(hidden):
        return "its default decides, it is offered only with " + " and ".join(_fewest(hidden))
    return "its choice has to have one on" if definitions[option][0].choice else ""


def _chosen(option: str, final: Mapping[str, str], definitions: Definitions) -> str:
    own = {place.choice for place in definitions[option]} - {""}
    others = [
        name
        for name, places in definitions.items()
        if name != option and final.get(name) == "y" and any(place.choice in own for place in places)
    ]
    return f"its choice fell on {others[0]}" if others else ""


def _why_limited(option: str, asked: str, final: Mapping[str, str], definitions: Definitions) -> str:
    if asked == "m" and final.get("MODULES", "n") == "n":
        return "MODULES is off"
    limits = [
        part
        for place in definitions[option]
        for condition in place.depends
        for part in conjuncts(condition)
        if value(part, final) == 1
    ]
    return "it depends on " + _some(limits) + ", a module" if asked == "y" and limits else ""


def _fewest(parts: list[list[str]]) -> list[str]:
    return min(parts, key=len)


def _unmet(expressions: Iterable[str], final: Mapping[str, str]) -> list[str]:
    """The parts that are certainly not met, each once."""
    parts = [part for expression in expressions for part in conjuncts(expression)]
    return list(dict.fromkeys(part for part in parts if value(part, final) == 0))


def _some(names: list[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
