"""Release tags as names: what is one, which is newer, which ones to test. Pure. Read `pick_release_tags` first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Digits are bounded: nobody's release has more, and int() of a megabyte of digits takes its time.
_RELEASE = re.compile(r"v(\d{1,9})\.(\d{1,9})(?:-rc(\d{1,9}))?(?:\.(\d{1,9}))?", re.ASCII)


class ReleaseTag(NamedTuple):
    """The numbers of a tag like v2.6.12 or v6.5-rc3; -1 where there is none."""

    major: int
    minor: int
    candidate: int
    patch: int


def parse_release_tag(name: str) -> ReleaseTag | None:
    """Take a tag's name apart; None when it is not a release tag."""
    match = _RELEASE.fullmatch(name)
    return ReleaseTag(*(int(part) if part else -1 for part in match.groups())) if match else None


def sort_release_tags(names: Iterable[str], include_rc: bool = False) -> list[str]:
    """Return the release tags among `names`, newest first; candidates, when wanted, are older than what they lead to."""
    parsed = {name: tag for name in names if (tag := parse_release_tag(name)) and (include_rc or tag.candidate < 0)}

    def age(name: str) -> tuple[int, int, int, bool, int]:
        major, minor, candidate, patch = parsed[name]
        return major, minor, patch, candidate < 0, candidate

    return sorted(parsed, key=age, reverse=True)


def pick_release_tags(names: Sequence[str]) -> list[str]:
    """Thin out release tags (newest first) as syzkaller does, so that a walk back takes fewer tests.

    Of the patch releases in front the two newest, and the middle one when there are more than five; of the releases the
    first three, then every second, from the twelfth on every third, and always the oldest; of patch releases alone the oldest
    too, or nothing would be left to be good. Tags of another form count as releases.
    """
    n_patches = 0
    while n_patches < len(names) and (tag := parse_release_tag(names[n_patches])) and tag.patch >= 0:
        n_patches += 1
    patches, releases = names[:n_patches], names[n_patches:]
    picked = [*patches[:2], *([patches[len(patches) // 2]] if len(patches) > 5 else [])]
    if not releases and patches and patches[-1] not in picked:
        picked.append(patches[-1])
    for index, name in enumerate(releases):
        step = 1 if index < 3 else 2 if index < 11 else 3
        if index % step == 0 or index == len(releases) - 1:
            picked.append(name)
    return picked
