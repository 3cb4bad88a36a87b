"""The git program, run the same way everywhere. Read `GitCommand` first.

What a user, a machine or a repository has configured must not change an answer or a file, nor run a program: no hooks,
filters, prompts, pagers, line ending conversion or background work; what a partial clone lacks is fetched by git's own
transports, by none that the repository brings.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kbench.errors import InputError, MachineLacksError, RevisionError, StorageError

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PAGER": "cat",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",  # ext:: runs what its address says, if the repository allows it
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh"),
    "GIT_PROXY_COMMAND": "",
    "COLUMNS": "80",  # width of a diffstat
}
CONFIG = {
    "core.hooksPath": os.devnull,
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "core.sparseCheckout": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "submodule.recurse": "false",
    "credential.helper": "",
    "advice.detachedHead": "false",
}
# A hook or a git alias around us leaves these in the environment, and git would look at that other repository.
NOT_INHERITED = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_CONFIG",
    "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_PREFIX", "GIT_EXTERNAL_DIFF",
)  # fmt: skip
#: Names of settings whose values are programs. A merge driver that fails leaves a conflict.
_PROGRAMS = (
    *("config", "--name-only", "--null", "--get-regexp"),
    r"^(filter\..*\.(clean|smudge|process|required)|merge\..*\.driver"
    r"|credential\..*\.helper|remote\..*\.(uploadpack|vcs))$",
)
_INSTEAD = {"required": "false", "driver": "false", "vcs": "none"}
_NO_ROOM = (
    *("No space left on device", "Permission denied", "Read-only file system", "Disk quota exceeded"),
    *("unable to write file", "unable to create file", "could not write"),
)


class GitCommand:
    """Runs git in one repository.

    Parameters
    ----------
    path : Path
        A work tree's top or a bare repository; a folder inside of one is refused, lest an enclosing repository answers.

    Raises
    ------
    MachineLacksError
        No git program.
    InputError
        No repository there, or one of another user that git refuses to touch.
    """

    def __init__(self, path: Path) -> None:
        if shutil.which("git") is None:
            raise MachineLacksError("git: expected the program git in PATH, found none; apt install git")
        import git  # only here: it fails on import without the program, and takes its time

        try:
            git.Repo(path, expand_vars=False).close()
        except (git.NoSuchPathError, git.InvalidGitRepositoryError) as err:
            seen = "found no repository" if path.is_dir() else "there is no such folder"
            raise InputError(f"git: expected a repository at {path}, {seen}; give its top folder or git clone one") from err
        except OSError as err:
            raise InputError(f"git: expected a readable repository at {path}, got {err.strerror}; check its permissions") from err
        self.path = path.absolute()
        self._config = dict(CONFIG)
        self._tamed: dict[Path, dict[str, str]] = {}  # by folder: a configuration may depend on where it is read
        asked = "rev-parse", "--git-dir"
        status, _, stderr = self._execute(asked, None, self.path, {})
        if "dubious ownership" in stderr:
            self._config |= self._trusted()
            status, _, stderr = self._execute(asked, None, self.path, {})
        if status:
            raise self._failure(asked, status, stderr)

    def attempt(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, bytes, str]:
        """Run git and return its exit status, output and messages."""
        place = cwd or self.path
        tamed = self._tamed.get(place)
        if tamed is None:
            status, names, _ = self._execute(_PROGRAMS, None, place, environment)
            tamed = _without_programs(names)
            if status <= 1:  # else there is no repository yet
                self._tamed[place] = tamed
        return self._execute(arguments, stdin, place, {**tamed, **environment})

    def environment(self) -> dict[str, str]:
        """Return an environment that makes any git started here as tame, for one whose output is read as it comes."""
        kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
        tamed = _without_programs(self._execute(_PROGRAMS, None, self.path, {})[1])
        return kept | ENVIRONMENT | tamed

    def _execute(
        self, arguments: Sequence[str], stdin: bytes | None, cwd: Path, environment: Mapping[str, str]
    ) -> tuple[int, bytes, str]:
        import git

        options = [word for name, value in self._config.items() for word in ("-c", f"{name}={value}")]
        unset = [word for name in NOT_INHERITED if name in os.environ for word in ("-u", name)]
        own = [*unset, *(f"{name}={value}" for name, value in environment.items())]
        argv = [*(["env", *own] if own else []), "git", *options, *arguments]
        everywhere = ENVIRONMENT | {"GIT_CEILING_DIRECTORIES": str(cwd.resolve().parent)}
        try:
            with tempfile.TemporaryFile() as given:
                given.write(stdin or b"")
                given.seek(0)
                status, stdout, stderr = git.Git(str(cwd)).execute(
                    argv, istream=given, with_extended_output=True, with_exceptions=False, stdout_as_string=False,
                    strip_newline_in_stdout=False, env=everywhere,
                )  # fmt: skip
        except git.GitCommandNotFound as err:
            raise MachineLacksError(f"git: expected to run git in {cwd}, it cannot be started; apt install git") from err
        messages = stderr if isinstance(stderr, str) else stderr.decode("utf-8", "replace")
        return int(status), bytes(stdout), messages

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """Run git and return its output; RevisionError, or StorageError, when it fails."""
        status, stdout, stderr = self.attempt(*arguments, stdin=stdin, cwd=cwd, environment=environment)
        if status:
            raise self._failure(arguments, status, stderr)
        return stdout

    def text(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Run git and return its output as text; bytes that are not UTF-8 are replaced."""
        return self.run(*arguments, stdin=stdin).decode("utf-8", "replace")

    def _failure(self, arguments: Sequence[str], status: int, stderr: str) -> Exception:
        last = next((line for line in reversed(stderr.strip().splitlines()) if line.strip()), "no message")[:300]
        evidence: dict[str, Any] = {"argv": ["git", *arguments], "stderr": stderr}
        if "dubious ownership" in stderr:
            advice = f"git config --global --add safe.directory {self.path}"
            return InputError(
                f"git: expected a repository of this user, {self.path} is another user's; if you trust it: {advice}", **evidence
            )
        if any(sign in stderr for sign in _NO_ROOM):
            denied = any(sign in stderr for sign in ("Permission denied", "Read-only"))
            advice = f"git clone {self.path}, and name the clone" if denied else "make room"
            return StorageError(
                f"git: expected room and permission to write, git {arguments[0]} says {last!r}; {advice}", **evidence
            )
        return RevisionError(
            f"git: expected git {arguments[0]} to work in {self.path}, status {status}, {last!r}; see git fsck", **evidence
        )

    def _trusted(self) -> dict[str, str]:
        # What the user has declared safe; the only thing taken from the user's own configuration. Git reads several values,
        # so the one that fits is handed on.
        import git

        _, listed, _ = git.Git(str(Path.home())).execute(
            ["git", "config", "--get-all", "safe.directory"], with_extended_output=True, with_exceptions=False
        )
        own = {str(self.path), str(self.path.resolve())} | {str(self.path / ".git"), "*"}
        fits = next((value for value in str(listed).splitlines() if value in own), None)
        return {"safe.directory": fits} if fits else {}


def _without_programs(names: bytes) -> dict[str, str]:
    """Return the environment that takes programs out of a configuration: content filters, and what a transport would run.

    By the environment and not by `-c`, where a name ends at the first "=", and a filter's may have one.
    """
    # Of several programs at the other end git takes the first, which is not ours: such a remote is one that cannot be asked.
    said = names.decode("utf-8", "surrogateescape").split("\0")
    found = [name for name in dict.fromkeys(re.sub(r"(?i)\.uploadpack$", ".vcs", name) for name in said) if name]
    settings = {"GIT_CONFIG_COUNT": str(len(found))} if found else {}
    for number, name in enumerate(found):
        last = name.rpartition(".")[2].lower()
        settings[f"GIT_CONFIG_KEY_{number}"] = name
        settings[f"GIT_CONFIG_VALUE_{number}"] = _INSTEAD.get(last, "")
    return settings
