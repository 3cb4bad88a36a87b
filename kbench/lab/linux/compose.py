"""A history's graph becomes commits on top of Linux. Read `compose` first.

No file is edited by two ordinary commits, and none that something is planted in. So a merge is the mainline with the topic's
files put in, and can neither conflict nor lose a change, and every planted change finds its place as the source has it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from kbench.errors import InputError
from kbench.lab.bugs import Planting
from kbench.lab.compose import PEOPLE
from kbench.lab.graph import Dice, History, Node
from kbench.lab.linux.edits import comment_edit, header_edit, source_edit
from kbench.lab.linux.places import COMPILED, HEADERS, noise
from kbench.lab.patch import AnchorError, Edit, Patch, apply_patch
from kbench.lab.stream import Commit

_FIRST_DAY = 1_735_776_000  # 2 January 2025: the day after the base commit's
_TRIES = 400
_SUBLEVEL = re.compile(r"^SUBLEVEL = (\d+)$", re.M)
Read = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of a history's commits touch what, as shares of all of them."""

    compiled: float = 0.1  # what a small config compiles; what is planted, and the releases, count as such
    headers: float = 0.01  # headers that everything includes, among these


def plantings_at(history: History, culprit: Patch, stretches: Sequence[Planting], wrong_turn: Planting) -> dict[int, Patch]:
    """The commits that are planted: position, and what they do. `stretches` in the order of `history.stretches`."""
    planted = {history.culprit: culprit}
    for (start, end), planting in zip(history.stretches, stretches, strict=True):
        planted |= {start: planting.patch, end: _mending(planting)}
    return planted | {history.wrong_turn: wrong_turn.patch, history.fix: _mending(wrong_turn)}


def _mending(planting: Planting) -> Patch:
    assert planting.mending is not None  # by construction: only a culprit has none
    return planting.mending


def compose(
    dice: Dice, history: History, planted: Mapping[int, Patch], paths: Sequence[str], read: Read, shares: Shares
) -> list[Commit]:
    """Fill a history with commits; position 0 is the base, which is there already and has none.

    Parameters
    ----------
    planted : mapping of int to Patch
        What certain commits do; see `plantings_at`.
    paths : sequence of str
        The base's files.
    read : callable
        Gives the text of one of them.

    Raises
    ------
    InputError
        If the source has too few files, or none of the ones something is to be planted in.
    """
    return _Composer(dice, history, planted, paths, read, shares).commits()


class _Composer:
    def __init__(
        self, dice: Dice, history: History, planted: Mapping[int, Patch], paths: Sequence[str], read: Read, shares: Shares
    ) -> None:
        self._dice, self._history, self._planted, self._read = dice, history, planted, read
        kept = {change.path for patch in planted.values() for change in patch.changes}
        here = set(paths) - kept
        self._pools: dict[str, list[str]] = {
            "header": [path for path in HEADERS if path in here],
            "compiled": [path for path in COMPILED if path in here],
            "noise": [path for path in noise(paths) if path in here],
        }
        self._kinds = self._draw_kinds(shares)
        self._changed: list[dict[str, str]] = [{}]  # by position: what differs from the base
        self._topics: dict[int, list[tuple[Edit, set[str]]]] = {}

    def _draw_kinds(self, shares: Shares) -> dict[int, str]:
        # Which ordinary commits touch a header, which compiled files; exact numbers, drawn places.
        nodes = self._history.nodes
        plain = [i for i, node in enumerate(nodes) if node.plain and i not in self._planted]
        n_headers = min(round(shares.headers * len(nodes)), len(self._pools["header"]))
        spent = len(self._planted) + len(self._history.tags) + n_headers
        wanted = ["header"] * n_headers + ["compiled"] * max(0, round(shares.compiled * len(nodes)) - spent)
        kinds = dict.fromkeys(plain, "noise")
        for kind in wanted[: len(plain)]:
            kinds[plain.pop(self._dice.integer(0, len(plain) - 1))] = kind
        return kinds

    def commits(self) -> list[Commit]:
        when, result = _FIRST_DAY, []
        for index, node in enumerate(self._history.nodes[1:], start=1):
            edit, by_one = self._edit(index, node)
            parent = self._changed[node.parents[0]]
            self._changed.append({**parent, **edit.files})
            if node.topic is not None:
                self._topics.setdefault(node.topic, []).append((edit, set(edit.files)))
            when += self._dice.integer(600, 20_000)
            result.append(_commit(self._dice, node, edit, when, by_one=by_one))
        return result

    def _edit(self, index: int, node: Node) -> tuple[Edit, bool]:
        if len(node.parents) > 1:
            return self._merge(node), False
        if node.tag:
            return self._release(node), False
        return self._planted_edit(index, node) if index in self._planted else self._ordinary(self._kinds[index]), True

    def _text(self, position: int, path: str) -> str:
        return self._changed[position].get(path) or self._read(path)

    def _planted_edit(self, index: int, node: Node) -> Edit:
        patch = self._planted[index]
        try:
            return apply_patch({c.path: self._text(node.parents[0], c.path) for c in patch.changes}, patch)
        except AnchorError as error:
            what = f"'{patch.area}: {patch.subject}'"
            raise InputError(
                f"lab: {what} finds no place in this source ({error}); choose another kind, or Linux 6.12"
            ) from error

    def _ordinary(self, kind: str) -> Edit:
        editor = {"header": header_edit, "compiled": source_edit, "noise": comment_edit}[kind]
        pool = self._pools[kind]
        for _ in range(_TRIES):
            if not pool:
                break
            path = self._dice.pick(pool)
            text = self._read(path)
            edit = editor(self._dice, text, path) if text else None
            if edit is not None and edit.files[path] != text:
                pool.remove(path)
                return replace(edit, area=_area(path))
        raise InputError(f"lab: expected files of kind {kind!r} left to edit, the source has no more; ask for fewer commits")

    def _merge(self, node: Node) -> Edit:
        topic = self._history.nodes[node.parents[1]].topic
        assert topic is not None  # by construction: only topics are merged
        edits = self._topics[topic]
        theirs = self._changed[node.parents[1]]
        held = {path: theirs[path] for _, touched in edits for path in touched}
        area = edits[0][0].area.replace("/", "-")
        name = f"{area}-{self._dice.pick(('next', 'fixes', 'for-linus', 'cleanups', 'work'))}"
        body = f"Pull {edits[0][0].area} changes:\n\n" + "\n".join(f" * {edit.area}: {edit.subject}" for edit, _ in edits)
        return Edit("", f"Merge branch '{name}'", body, held)

    def _release(self, node: Node) -> Edit:
        makefile = self._text(node.parents[0], "Makefile")
        assert node.tag is not None
        return Edit(
            "", f"Linux {node.tag[1:]}", "", {"Makefile": _SUBLEVEL.sub(f"SUBLEVEL = {node.tag.split('.')[2]}", makefile)}
        )


def named_releases(history: History, makefile: str) -> History:
    """Give the releases the names that follow on the source's own, "v6.12.118" on 6.12.117.

    Raises
    ------
    InputError
        If the Makefile says no version.
    """
    found = [re.search(rf"^{word} = (\d*)$", makefile, re.M) for word in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    version, level, sublevel = (match[1] if match else "" for match in found)
    if not (version and level and sublevel):
        raise InputError(
            "lab: expected VERSION, PATCHLEVEL and SUBLEVEL in the source's Makefile, not all are there; name another"
        )
    nodes, count = list(history.nodes), int(sublevel)
    for index in history.tags:
        count += 1
        nodes[index] = replace(nodes[index], tag=f"v{version}.{level}.{count}")
    return replace(history, nodes=tuple(nodes))


def _area(path: str) -> str:
    parts = path.removesuffix(".c").removesuffix(".h").removesuffix(".rst").split("/")
    if parts[0] == "Documentation":
        return "docs/" + parts[-1]
    return "/".join(parts[-2:] if parts[0] in ("drivers", "arch", "fs", "net", "sound") and len(parts) > 2 else parts[-1:])


def _commit(dice: Dice, node: Node, edit: Edit, when: int, *, by_one: bool) -> Commit:
    keeper = PEOPLE[4]  # who releases, merges and takes most patches
    author = dice.pick(PEOPLE) if by_one else keeper
    committer = keeper if dice.chance(0.6) else author
    subject = f"{edit.area}: {edit.subject}" if edit.area else edit.subject
    body = "\n".join(textwrap.wrap(edit.body, 72)) if by_one else edit.body
    signed = dict.fromkeys((_address(author), _address(committer)))
    parts = [subject, body, "\n".join(f"Signed-off-by: {who}" for who in signed) if by_one else ""]
    return Commit(
        node.parents,
        _address(author),
        _address(committer),
        f"{when - dice.integer(60, 590) * by_one} {author[2]}",
        f"{when} {committer[2]}",
        "\n\n".join(part for part in parts if part) + "\n",
        {path: text.encode() for path, text in edit.files.items()},
        node.tag,
    )


def _address(person: tuple[str, str, str]) -> str:
    return f"{person[0]} <{person[1]}@example.org>"
