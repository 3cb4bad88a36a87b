"""Source, config and toolchain to `KernelImage`. Read `Builder` first.

A `Builder` holds one build slot: a worktree of the repository and its objects, never the user's checkout. It asks the
store before it asks the compiler, and a revision that does not build is remembered as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from kbench.errors import BuildError, StorageError
from kbench.host import storage, usable_cores
from kbench.kernels import linux
from kbench.kernels.backports import Backports
from kbench.kernels.compile import compile_tree
from kbench.kernels.releases import Backport, backports
from kbench.kernels.store import Slot, Store
from kbench.kernels.toolchain import DECIDES, toolchain
from kbench.records import KernelImage, Target
from kbench.repository import Repository, Worktree

#: Raised whenever entries of the store change their meaning, so that old ones are not found.
STORE_FORMAT = 4
#: Failures that another day's machine may not have: a header or program that is not installed. Not remembered.
_MAY_PASS = re.compile("No such file or directory|not found")


class Builder:
    """Builds revisions of one repository for one target and config, one after the other, in a slot of its own.

    Parameters
    ----------
    repository : Repository
    target : Target
    config : str, optional
        Content of the kernel's config; None leaves it to the build. Of Linux: fragments to put on top of the base kbench
        ships, later lines win, or a whole .config, which then stands alone; None: the base.
    store : Store, optional
        Where what was built is kept; the user's cache folder by default.
    jobs : int, optional
        For make's -j; the number of usable cores by default.
    """

    def __init__(
        self,
        repository: Repository,
        target: Target,
        *,
        config: str | None = None,
        store: Store | None = None,
        jobs: int | None = None,
    ) -> None:
        self._repository, self._target, self._config = repository, target, config
        self._store = store or Store()
        self._jobs = jobs or usable_cores()
        self._held = ExitStack()
        self._place: tuple[Slot, Worktree] | None = None
        self._backports: Backports | None = None  # of a Linux tree, once asked for

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the slot go; its objects stay for the next one."""
        self._held.close()
        self._place = None

    def build(self, commit: str) -> KernelImage:
        """Return the kernel of a commit, from the store or from the compiler.

        Parameters
        ----------
        commit : str
            40 hex digits.

        Raises
        ------
        BuildError
            The revision does not build; the same error comes back at once when asked again.
        """
        prepared, picks = self._prepare(commit)
        key = self._key(commit, prepared, picks)
        if entry := self._store.find(key):
            return image_of(self._store, self._target, entry, commit=commit, cached=True)
        try:
            entry = self._compile_again(commit, prepared, picks)
        except BuildError as error:
            if not error.evidence.get("timed_out", True) and not _MAY_PASS.search(str(error)):
                self._store.keep(key, {"error": str(error), "file": error.file, "log": error.log[-20_000:]})
            raise
        self._store.keep(key, entry)
        return image_of(self._store, self._target, entry, commit=commit, cached=False)

    def _prepare(self, commit: str) -> tuple[linux.Plan | None, list[Backport]]:
        """For a Linux tree: how this revision is built, and the fixes it lacks."""
        spec = self._target.build
        if spec.linux is None:
            return None, []
        if self._backports is None:
            self._backports = Backports(self._repository.path, backports(), spec.backports)
        makefile = self._backports.file(commit, "Makefile")
        return linux.plan(self._target, spec.linux, self._config, makefile), self._backports.missing(commit)

    def _key(self, commit: str, prepared: linux.Plan | None, picks: list[Backport]) -> str:
        spec = self._target.build
        if prepared is None:
            chain: dict[str, Any] = {**toolchain(), "config": self._config}
        else:
            flags = {name: value for name, value in toolchain().items() if name in DECIDES}
            chain = {**flags, **prepared.key, "backports": [pick.fix for pick in picks]}
        return Store.key(
            format=STORE_FORMAT,
            tree=self._repository.tree(commit),
            commands=linux.with_linux_words(self._target, prepared).build.commands if prepared else spec.commands,
            image=spec.image,
            symbols=spec.symbols,
            place=spec.config,
            clean=spec.clean,
            env=dict(spec.env),
            toolchain=chain,
        )

    def _compile_again(self, commit: str, prepared: linux.Plan | None, picks: list[Backport]) -> dict[str, Any]:
        """Compile, and once more where the compiler hung or crashed: bad memory is no revision's fault."""
        try:
            return self._compile(commit, prepared, picks)
        except BuildError as error:
            if not (error.evidence.get("timed_out") or error.evidence.get("died")):
                raise
        return self._compile(commit, prepared, picks)

    def _compile(self, commit: str, prepared: linux.Plan | None, picks: list[Backport]) -> dict[str, Any]:
        if self._place is None:
            slot = self._held.enter_context(self._store.slot(slot_owner(self._repository, self._target)))
            self._place = slot, self._held.enter_context(self._repository.worktree(slot.tree, keep=True))
        slot, worktree = self._place
        with storage("build", slot.path):
            worktree.checkout(commit, clean=self._target.build.clean)
        notes = self._backports.apply(slot.tree, commit, picks) if self._backports else []
        try:
            return compile_tree(
                slot.tree, slot, self._target, config=self._config, store=self._store, jobs=self._jobs, plan=prepared, notes=notes
            )
        except (BuildError, OSError) as error:
            if not (slot.tree / ".git").is_file():
                raise StorageError(
                    f"build: expected the worktree {slot.tree} to stay while it is built, it is gone; start again"
                ) from error
            raise


def slot_owner(repository: Repository, target: Target) -> str:
    """Return what the build slots of a repository are known by: one architecture's objects do not make room for another's."""
    arch = f" for {target.build.linux.arch}" if target.build.linux else ""
    return f"revisions of {repository.path.resolve()}{arch}"


def image_of(store: Store, target: Target, entry: Mapping[str, Any], *, commit: str | None, cached: bool) -> KernelImage:
    """Return the kernel an entry of the store describes; raise its BuildError when it describes a failure."""
    if "error" in entry:
        raise BuildError(entry["error"], log=entry["log"], file=entry["file"], timed_out=False, cached=cached)
    return KernelImage(
        path=store.object(entry["image"]),
        symbols=store.object(entry["symbols"]) if entry["symbols"] else None,
        signature=entry["signature"],
        target=target,
        commit=commit,
        files=None if entry["files"] is None else tuple(entry["files"]),
        compiler=entry["compiler"],
        build_s=0.0 if cached else entry["build_s"],
        cached=cached,
        config=store.object(entry["config"]) if entry["config"] else None,
        notes=tuple(entry["notes"]),
    )
