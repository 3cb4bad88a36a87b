"""The serial console of one run, as printed: what is kept of it, in a file and in memory. Read `Console` first.

Nothing a guest prints is trusted: binary is kept as it is, a gigabyte takes no more memory than the cap, and patterns
see pieces of `LINE_LIMIT` bytes, so that a pattern of quadratic cost ends. What a line means is not known here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from kbench.errors import StorageError

CAP = 1 << 20  # bytes kept of the head and, again, of the tail
LINE_LIMIT = 4096  # bytes; printk's own limit is 1024 (LOG_LINE_MAX)


class Lines:
    """Cuts a stream of bytes into lines for matching; a longer line than `LINE_LIMIT` counts as several."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that `chunk` completes, decoded, without their ends and without empty ones."""
        *complete, rest = (self._rest + chunk).split(b"\n")
        whole = len(rest) - len(rest) % LINE_LIMIT
        self._rest = rest[whole:]
        for line in (*complete, rest[:whole]):
            for start in range(0, len(line), LINE_LIMIT):
                text = line[start : start + LINE_LIMIT].decode("utf-8", "replace").strip("\r")
                if text:
                    yield text

    @property
    def partial(self) -> str:
        """The last line, as far as it is there; at most `LINE_LIMIT` bytes."""
        return self._rest.decode("utf-8", "replace").strip("\r")


class Console:
    """Head and tail of what a guest printed, byte for byte, with a line between them that says how much is missing.

    Parameters
    ----------
    path : Path or None
        File to write. The head is in it as it arrives; the tail, kept in memory till then, after `close`.
    cap : int
        Bytes kept of the head and of the tail, each.

    Raises
    ------
    StorageError
        From any method but `text`: the file cannot be written.
    """

    def __init__(self, path: Path | None, *, cap: int = CAP) -> None:
        self.path = path
        self.size = 0  # bytes printed so far, kept or not
        self._cap = cap
        self._head = bytearray()
        self._tail = bytearray()
        self._fd = -1
        if path is not None:
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            except OSError as err:
                raise self._no_room(err) from err

    def feed(self, chunk: bytes) -> None:
        """Take what was printed."""
        self.size += len(chunk)
        room = self._cap - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            self._write(chunk[:room])
            chunk = chunk[room:]
        if chunk:
            self._tail += chunk
            if len(self._tail) > 2 * self._cap:  # not at each chunk: moving the tail costs as much as it is long
                del self._tail[: -self._cap]

    def close(self) -> None:
        """Write the tail and close the file; more than once is fine."""
        if self._fd < 0:
            return
        try:
            self._write(self._rest())
        finally:
            os.close(self._fd)
            self._fd = -1

    @property
    def text(self) -> str:
        """What is kept, decoded; bytes that are no UTF-8 become U+FFFD."""
        return (bytes(self._head) + self._rest()).decode("utf-8", "replace")

    def _rest(self) -> bytes:
        tail = bytes(self._tail[-self._cap :])
        missing = self.size - len(self._head) - len(tail)
        return b"\n[%d bytes left out]\n" % missing + tail if missing else tail

    def _write(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while self._fd >= 0 and view:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError as err:
                os.close(self._fd)
                self._fd = -1
                raise self._no_room(err) from err

    def _no_room(self, err: OSError) -> StorageError:
        return StorageError(f"boot: expected to write the console to {self.path}, {err.strerror}; make room or go elsewhere")
