"""Another config for a bisection, chosen once the bug was seen. Read `Minimise` first.

Which configs are tried is the business of who minimises; here each is built and run on the original commit, and judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from kbench.bisection.answers import Answers
from kbench.bisection.result import observation
from kbench.errors import InputError, LostMachineError
from kbench.evidence import SYZKALLER_RULE, decide
from kbench.records import Step, Verdict


class Minimise(Protocol):
    """Chooses the config that a bisection goes on with.

    It must ask the same again when it is given the same answers: a bisection is resumed by answering from the journal.
    """

    def __call__(self, config: str | None, test: Callable[[str], Verdict]) -> str | None:
        """Return `config`, the case's own (None: it has none), or another one that `test` found BAD: the bug shows.

        An error it raises ends the bisection.
        """
        ...


class ConfigTests:
    """Tests configs on the original commit, by syzkaller's rule whatever the strategy.

    Parameters
    ----------
    answers : Answers
    own : str or None
        The case's config.
    answer : callable
        Builds and runs the original commit with the config of now, as a step of the given stage.
    """

    def __init__(self, answers: Answers, own: str | None, answer: Callable[[str], Step]) -> None:
        self._answers, self._own, self._answer = answers, own, answer
        self._titles = set(answers.steps[-1].titles)
        self._showing: dict[str, int] = {}  # config to the step that shows the bug with it

    def test(self, config: str) -> Verdict:
        """Build and run with a config; a kernel that does not build is SKIP.

        Raises
        ------
        LostMachineError
            Its runs could not be carried out.
        """
        self._answers.configure(config)
        name = hashlib.sha256(config.encode()).hexdigest()[:12]
        step = self._answer(f"config {name}")
        verdict = decide(observation(step.position or 0, step), SYZKALLER_RULE, titles=self._titles)
        self._answers.change(verdict=verdict)
        if verdict is None:
            raise LostMachineError(
                f"config: expected runs with config {name}, most of {len(step.runs)} could not be carried out; mend the machine"
            )
        if verdict is Verdict.BAD:
            self._showing[config] = len(self._answers.steps) - 1
        return verdict

    def chosen(self, config: str | None) -> Step | None:
        """Go on with a config and return the step that shows the bug with it; None: the case's own stays.

        Raises
        ------
        InputError
            The bug was not seen with it.
        """
        if config is None or config == self._own:
            self._answers.configure(None)
            return None
        if config not in self._showing:
            raise InputError("config: expected the case's config or one that shows the bug, got another; test it first")
        self._answers.configure(config)
        self._answers.since = self._showing[config]
        return self._answers.steps[self._answers.since]
