"""Git: revisions, the history between two ends, release tags, worktrees. Read `Repository` first."""

from kbench.repository.releases import parse_release_tag, pick_release_tags, sort_release_tags
from kbench.repository.repository import Repository
from kbench.repository.worktree import Worktree

__all__ = ["Repository", "Worktree", "parse_release_tag", "pick_release_tags", "sort_release_tags"]
