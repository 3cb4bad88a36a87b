"""Untrusted text made fit to be seen: what a kernel, a log or a commit printed. Pure; read `clean` first.

Nothing here makes text safe for HTML; that is `html.escape(text, quote=True)` or `textContent`, where it is shown.
"""

from __future__ import annotations

import re

CONSOLE_CHARS = 16 * 1024  # of one console, as synced to a browser
_LEAD_CHARS = 2 * 1024  # kept before the first line of a crash

# Every alternative ends at a fixed class or a bounded run, so that matching is linear.
_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,2048}(?:\x07|\x1b\\)?|[ -/]?[0-Z\\^-~])")
# Control, bidirectional (Unicode TR 9), zero-width and line-separator characters, and lone surrogates.
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# What a console prints first when the kernel is in trouble, in Linux's words.
_HEADLINES = (
    "BUG:",
    "WARNING:",
    "general protection fault",
    "Oops",
    "INFO: task",
    "INFO: rcu",
    "Unable to handle kernel",
    "kernel BUG at",
    "UBSAN:",
    "Kernel panic",
)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}"  # U+2400: pictures of the control characters


def clean(text: str | bytes) -> str:
    """Return `text` without terminal colours, and with every other character that hides or reorders text spelled out."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return _HIDDEN.sub(_visible, _ANSI.sub("", text).replace("\r\n", "\n"))


def clean_line(text: str, limit: int = 200) -> str:
    """Return `text` cleaned, as one line of at most `limit` characters."""
    line = " ".join(clean(text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def crash_at(text: str) -> int:
    """Return where the line of the first crash in a console starts, -1 if it shows none."""
    found = [index for index in (text.find(headline) for headline in _HEADLINES) if index >= 0]
    return text.rfind("\n", 0, min(found)) + 1 if found else -1


def excerpt(text: str, limit: int = CONSOLE_CHARS) -> tuple[str, int]:
    """Return the part of a cleaned console that tells most, and where in it the crash starts (-1: it shows none).

    The crash and what led to it when there is one, else the end: a hang or a failed boot shows there. What was left out is
    said where it was.
    """
    crash = crash_at(text)
    if len(text) <= limit:
        return text, crash
    start = max(0, crash - _LEAD_CHARS) if crash >= 0 else len(text) - limit
    end = min(len(text), start + limit)
    before = f"[{start} characters before this are not shown]\n" if start else ""
    after = f"\n[{len(text) - end} characters after this are not shown]" if end < len(text) else ""
    return before + text[start:end] + after, crash - start + len(before) if crash >= 0 else -1
