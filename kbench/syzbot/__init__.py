"""The bisection log as text: read, render, build. Read `read_log` first.

Pure. `read_log(text)` gives a `BisectionLog`, `render(log)` the text back; `compose` builds a log of our own, `steps` and
`view` make the views of a bisection draw a foreign one.
"""

from kbench.syzbot.compose import compose, tested
from kbench.syzbot.damage import damage
from kbench.syzbot.durations import go_duration, seconds
from kbench.syzbot.git import git_left, git_steps, git_verdict
from kbench.syzbot.log import BisectionLog, LogCosts, read_log, render
from kbench.syzbot.revisions import Test
from kbench.syzbot.views import steps, view

__all__ = [
    "BisectionLog",
    "LogCosts",
    "Test",
    "compose",
    "damage",
    "git_left",
    "git_steps",
    "git_verdict",
    "go_duration",
    "read_log",
    "render",
    "seconds",
    "steps",
    "tested",
    "view",
]
