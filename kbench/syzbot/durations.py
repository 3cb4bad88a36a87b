"""Durations as Go prints them, and back: "4h16m14.959531657s", "758.279707ms", "0s"."""

from __future__ import annotations

import re

from kbench.errors import LogError

_NANOSECONDS = {"h": 3_600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "µs": 10**3, "us": 10**3, "ns": 1}
_PART = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?(h|ms|m|s|µs|us|ns)", re.ASCII)


def go_duration(seconds: float) -> str:
    """Print seconds (0 or more, to the nanosecond) as Go's time.Duration does."""
    left = round(seconds * 10**9)
    for unit in () if left >= 10**9 else ("ms", "µs", "ns"):
        if left >= _NANOSECONDS[unit]:
            return _decimal(left, _NANOSECONDS[unit]) + unit
    hours, left = divmod(left, _NANOSECONDS["h"])
    minutes, left = divmod(left, _NANOSECONDS["m"])
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + _decimal(left, 10**9) + "s"


def _decimal(n: int, unit: int) -> str:
    whole, rest = divmod(n, unit)
    digits = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0")
    return f"{whole}.{digits}" if digits else f"{whole}"


def seconds(text: str) -> float:
    """Read a duration in Go's form as seconds.

    Raises
    ------
    LogError
        If the text is not such a duration.
    """
    n, at = 0, 0
    while part := _PART.match(text, at):
        whole, fraction, unit = part.groups()
        n += int(whole) * _NANOSECONDS[unit]
        if fraction:
            n += int(fraction) * _NANOSECONDS[unit] // 10 ** len(fraction)
        at = part.end()
    if not text or at < len(text):
        raise LogError(f"log: expected a duration such as 4h16m14.9s, saw {text[:40]!r}; check the line with 'total time:'")
    return n / 10**9
