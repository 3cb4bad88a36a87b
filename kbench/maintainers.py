"""Who is told of a crash: what a Linux tree's own get_maintainer.pl says. Read `maintainers`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kbench.errors import InputError
from kbench.host import leashed

SCRIPT = "scripts/get_maintainer.pl"
# As syzkaller asks: of those who only touched the file, the ones with a share of its commits. Roles are left out by the script.
OPTIONS = ("--no-rolestats", "--git-min-percent=15")
TIMEOUT_S = 120.0  # without a maintainer it reads the file's history
MAX_RECIPIENTS = 200

# A hook around this process leaves these behind, and git would look at that other repository.
_NOT_INHERITED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")

#: The script walks hashes, and Perl shuffles them anew in each process: equals would change places from call to call.
_SAME_ORDER = {"PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"}


def maintainers(source_tree: Path, file: str) -> tuple[str, ...]:
    """Return the recipients for a file, `Name <address>` or a list's address, as the tree's script gives them, in its order.

    Parameters
    ----------
    source_tree : Path
        Top of a checked out Linux tree; with its git history, a file that nobody maintains has recipients too.
    file : str
        A file of it, relative to the top: what `kbench.crash.guilty_file` names.

    Returns
    -------
    tuple of str
        () when the tree has no such script, or the script fails or takes minutes.

    Raises
    ------
    InputError
        `file` is none of the tree's.
    MachineLacksError
        No perl.
    """
    tree = source_tree.resolve()
    _check(tree, file)
    if not (tree / SCRIPT).is_file():
        return ()
    argv = leashed(["perl", SCRIPT, *OPTIONS, "-f", file], "maintainers")
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED} | _SAME_ORDER
    try:
        done = subprocess.run(
            argv, cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    return tuple(line.strip() for line in lines if "@" in line)[:MAX_RECIPIENTS]


def _check(tree: Path, file: str) -> None:
    # The name comes out of a crash report: it may be anything.
    named = f"maintainers: expected a file of {tree}, {file[:200]!r} seen; "
    if not file or file.startswith("-") or not file.isprintable():
        raise InputError(named + "give its path below the tree")
    path = (tree / file).resolve()
    if not path.is_relative_to(tree) or ".git" in path.relative_to(tree).parts[:1]:
        raise InputError(named + "it lies outside")
    if not path.is_file():
        raise InputError(named + "there is none")
