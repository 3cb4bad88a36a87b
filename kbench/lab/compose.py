"""A history's graph becomes commits: every one with its change, its author, its date and its message. Read `compose` first.

Pure. A topic branch holds its files from fork to merge: nobody else touches them meanwhile, so a merge is the mainline with
the topic's files put in, and can neither conflict nor lose a change.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kbench.errors import InputError
from kbench.lab.additions import ADDITIONS
from kbench.lab.bugs import Plan
from kbench.lab.edits import EDITS, area_of, credit
from kbench.lab.graph import Dice, History
from kbench.lab.noops import TABLES, Table, add_row, mend_slip, reword
from kbench.lab.patch import Change, Edit, Files, Patch, apply_patch
from kbench.lab.stream import Commit

PEOPLE = (
    ("Halina Brandt", "halina", "+0100"),
    ("Teo Marrama", "teo", "+0200"),
    ("Ruth Okonjo", "ruth", "+0100"),
    ("Piet Vandersloot", "piet", "+0200"),
    ("Anja Lindqvist", "anja", "+0100"),
    ("Sunniva Dahl", "sunniva", "+0100"),
    ("Marek Zielny", "marek", "+0200"),
    ("Joao Brandao", "joao", "-0300"),
    ("Mei Tanaka", "mei", "+0900"),
    ("Oisin Kerrigan", "oisin", "+0000"),
    ("Farah Aziz", "farah", "+0500"),
    ("Dana Whitlock", "dana", "-0800"),
)
_VERSION_FILE = "include/version.h"
_FIRST_DAY = 1_614_585_600  # 1 March 2021
_TRIES = 400
_PATIENCE = 30  # tries before an edit may repeat a subject, or be one that is always possible


@dataclass
class _Topic:
    fork: int
    first: int
    merge: int
    sources: tuple[str, ...] = ()  # C files it holds
    tables: tuple[Table, ...] = ()
    subjects: list[str] = field(default_factory=list)

    @property
    def held(self) -> frozenset[str]:
        return frozenset(self.sources) | {table.path for table in self.tables}


def compose(dice: Dice, history: History, plan: Plan, base: Files, *, executable: frozenset[str] = frozenset()) -> list[Commit]:
    """Fill a history with commits.

    Parameters
    ----------
    base : mapping of str to str
        The tree of the first commit.
    executable : frozenset of str
        Those of its files that are programs.

    Raises
    ------
    InputError
        If no edit is left that would apply: there are more commits than the small kernel gives edits for.
    """
    return _Composer(dice, history, plan, base, executable).commits()


class _Composer:
    def __init__(self, dice: Dice, history: History, plan: Plan, base: Files, executable: frozenset[str]) -> None:
        self._dice, self._history, self._plan, self._base, self._executable = dice, history, plan, base, executable
        self._trees: list[dict[str, str]] = []
        self._subjects: set[str] = set()
        self._topics = _find_topics(history)
        self._p_noop = dice.fraction(0.35, 0.5)
        self._planted: dict[int, Patch] = {history.culprit: plan.culprit.patch}
        places = (*history.stretches, (history.wrong_turn, history.fix))
        for (start, end), planting in zip(places, (*plan.stretches, plan.wrong_turn), strict=True):
            assert planting.mending is not None  # by construction: only the culprit has none
            self._planted |= {start: planting.patch, end: planting.mending}
        self._anchors: list[Change] = [change for patch in self._planted.values() for change in patch.changes]
        self._protected = [re.compile(rf"\b{name}\b") for planting in plan.plantings for name in planting.functions]

    def commits(self) -> list[Commit]:
        when = _FIRST_DAY
        result = []
        for index, node in enumerate(self._history.nodes):
            for number, topic in self._topics.items():
                if topic.fork == index - 1:
                    self._take_files(number, topic)
            edit, trailer = self._edit(index)
            parent = self._trees[node.parents[0]] if node.parents else {}
            changed = {path: text for path, text in edit.files.items() if parent.get(path) != text}
            self._trees.append(parent | changed)
            when += self._dice.integer(600, 50_000)
            result.append(self._commit(index, edit, changed, when, trailer))
        return result

    def _edit(self, index: int) -> tuple[Edit, bool]:
        # The change of a commit, and whether it was written by one person (and not made by merging or releasing).
        node = self._history.nodes[index]
        if not node.parents:
            body = "A small kernel to read, to break and to bisect. It boots to its first program and runs reproducers."
            return Edit("", "Lab kernel, first public version", body, {**self._base, **_release(self._base, "0.9")}), True
        tree = self._trees[node.parents[0]]
        if len(node.parents) > 1:
            return self._merge(index), False
        if node.tag:
            return Edit("", f"Lab kernel {node.tag}", "", _release(tree, node.tag[1:])), False
        planted = self._planted.get(index)
        edit = apply_patch(tree, planted) if planted else self._ordinary(tree, node.topic, index)
        if node.topic is not None:
            self._topics[node.topic].subjects.append(f"{edit.area}: {edit.subject}")
        return edit, True

    def _ordinary(self, tree: Mapping[str, str], number: int | None, index: int) -> Edit:
        topic = None if number is None else self._topics[number]
        taken = (
            frozenset().union(*(t.held for t in self._topics.values() if t.fork < index < t.merge))
            if topic is None
            else frozenset()
        )
        for attempt in range(_TRIES):
            edit = self._propose(tree, topic, last_resort=attempt > _PATIENCE)
            if edit is None or taken & set(edit.files) or not self._harmless(tree, edit):
                continue
            if topic is not None and not set(edit.files) <= topic.held:
                continue
            subject = f"{edit.area}: {edit.subject}"
            if subject not in self._subjects or attempt > _PATIENCE:
                self._subjects.add(subject)
                return edit
        raise InputError(f"lab: commit {index} of {len(self._history.nodes)} finds no edit left; ask for fewer commits")

    def _propose(self, tree: Mapping[str, str], topic: _Topic | None, *, last_resort: bool) -> Edit | None:
        dice = self._dice
        sources = _sources(tree) if topic is None else topic.sources
        tables = TABLES if topic is None else topic.tables
        if tables and (not sources or dice.chance(0.5 if last_resort else self._p_noop)):
            writer = reword if last_resort else dice.pick((add_row, add_row, add_row, add_row, mend_slip, reword))
            return writer(dice, tree, dice.pick(tables))
        if topic is None and dice.chance(0.25):
            left = [a for a in ADDITIONS if f"{a.area}: {a.subject}" not in self._subjects]
            if left:
                return apply_patch(tree, left[0])
        editor = credit if last_resort else dice.pick(EDITS)
        return editor(dice, tree, dice.pick(sources))

    def _harmless(self, tree: Mapping[str, str], edit: Edit) -> bool:
        # Every anchor of what is planted stays one, and the functions named in crash titles keep their names.
        for path, text in edit.files.items():
            before = tree.get(path, "")
            if any(c.path == path and before.count(c.old) == 1 and text.count(c.old) != 1 for c in self._anchors):
                return False
            if any(len(name.findall(text)) < len(name.findall(before)) for name in self._protected):
                return False
        return any(tree.get(path) != text for path, text in edit.files.items())

    def _take_files(self, number: int, topic: _Topic) -> None:
        # At the fork: files nobody holds, and none that something else is planted in.
        busy = frozenset().union(*(t.held for t in self._topics.values() if t.fork < topic.first and t.merge > topic.fork))
        planted = {change.path for change in self._anchors}
        free = [path for path in _sources(self._trees[topic.fork]) if path not in busy | planted]
        tables = [table for table in TABLES if table.path not in busy]
        if tables:
            topic.tables = (self._dice.pick(tables),)
        endless = any(table.path.endswith(".rst") for table in topic.tables)  # these can be reworded for ever
        if free and not (endless and self._dice.chance(0.5)):
            topic.sources = (self._dice.pick(free),)
        if self._history.nodes[self._history.culprit].topic == number:
            topic.sources = tuple(dict.fromkeys(change.path for change in self._plan.culprit.patch.changes))

    def _merge(self, index: int) -> Edit:
        _, other = self._history.nodes[index].parents
        topic = next(t for t in self._topics.values() if t.merge == index)
        held = {path: text for path, text in self._trees[other].items() if path in topic.held}
        area = area_of(topic.sources[0]) if topic.sources else topic.tables[0].area.lower()
        name = f"{area.replace('/', '-')}-{self._dice.pick(('next', 'fixes', 'work', 'cleanups', 'for-main', 'small-things'))}"
        body = f"Pull {area} changes:\n\n" + "\n".join(f" * {subject}" for subject in topic.subjects)
        return Edit("", f"Merge branch '{name}'", body, held)

    def _commit(self, index: int, edit: Edit, changed: Mapping[str, str], when: int, by_one: bool) -> Commit:
        dice, node = self._dice, self._history.nodes[index]
        keeper = PEOPLE[4]  # who releases, merges and takes most patches
        author = dice.pick(PEOPLE) if by_one else keeper
        committer = keeper if dice.chance(0.6) else author
        subject = f"{edit.area}: {edit.subject}" if edit.area else edit.subject
        body = edit.body if not by_one else "\n".join(textwrap.wrap(edit.body, 72))
        trailers = [f"Signed-off-by: {_address(author)}"]
        if dice.chance(0.3):
            trailers.append(f"Reviewed-by: {_address(dice.pick([p for p in PEOPLE if p is not author]))}")
        if committer is not author:
            trailers.append(f"Signed-off-by: {_address(committer)}")
        parts = [subject, body, "\n".join(trailers) if by_one else ""]
        return Commit(
            node.parents,
            _address(author),
            _address(committer),
            f"{when - dice.integer(60, 590) * by_one} {author[2]}",
            f"{when} {committer[2]}",
            "\n\n".join(part for part in parts if part) + "\n",
            {path: text.encode() for path, text in changed.items()},
            node.tag,
            self._executable,
        )


def _find_topics(history: History) -> dict[int, _Topic]:
    topics = {}
    for index, node in enumerate(history.nodes):
        if node.topic is not None and node.topic not in topics:
            topics[node.topic] = _Topic(node.parents[0], index, len(history.nodes))
        elif len(node.parents) > 1:
            number = history.nodes[node.parents[1]].topic
            assert number is not None  # by construction: only topics are merged
            topics[number].merge = index
    return topics


def _release(tree: Files, version: str) -> Files:
    return {_VERSION_FILE: re.sub(r'"[\d.]+"', f'"{version}.0"', tree[_VERSION_FILE], count=1)}


def _sources(tree: Mapping[str, str]) -> Sequence[str]:
    return [path for path in tree if path.endswith(".c") and not path.startswith(("user/", "drivers/", "arch/riscv/"))]


def _address(person: tuple[str, str, str]) -> str:
    return f"{person[0]} <{person[1]}@example.org>"
