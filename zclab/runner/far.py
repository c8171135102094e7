"""Scripts for the shell at the other end of an SSH connection, and what comes back from them.

sshd hands a command to the login shell, which may be fish or csh as well as sh, and which may
greet before it runs anything.
"""

from __future__ import annotations

import codecs
import math
import os
import select
import string
import time
from collections.abc import Callable, Sequence
from typing import IO

_PLAIN = frozenset(
    (string.ascii_letters + string.digits + ' "#$%&()*+,-./:;<=>?@[]^_`{|}~').encode()
)
"""What every shell takes as it is in single quotes. The quote itself, the backslash, csh's ``!``,
newlines and all that is not ASCII are not among it.
"""


def encoded(script: str) -> str:
    """Return a script for ``printf %b``, as text that is the same in the quotes of any shell."""
    raw = script.encode(errors="surrogateescape")
    return "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in raw)


def far_command(script: str, *, prefix: str = "") -> str:
    """Return the command that makes any login shell become ``sh``, which runs a script."""
    return f"exec {prefix}sh -c 'eval \"$(printf %b \"$1\")\"' sh '{encoded(script)}'"


class Stream:
    """What comes through a pipe from a far script: nothing is the script's own before its mark.

    ``before`` is what a login shell printed unasked, and ``said`` the rest of the mark's line.
    ``on_text`` gets what follows that line as it comes.
    """

    def __init__(
        self, pipe: IO[bytes], mark: str, on_text: Callable[[str], None] | None = None
    ) -> None:
        self.begun = False
        self.ended = False
        self.said = ""
        self._pipe = pipe
        self._mark = mark.encode()
        self._before = bytearray()
        self._data = bytearray()
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def before(self) -> str:
        """What came before the mark, or all where it did not come."""
        return self._before.decode(errors="replace")

    @property
    def text(self) -> str:
        """What came after the mark's line."""
        return self._data.decode(errors="replace")

    def fileno(self) -> int:
        """Return the pipe's descriptor, to wait for."""
        return self._pipe.fileno()

    def read(self) -> None:
        """Take what has come."""
        data = os.read(self.fileno(), 1 << 16)
        self.ended = not data
        if not self.begun:
            self._before += data
            before, mark, rest = bytes(self._before).partition(self._mark)
            line, newline, data = rest.partition(b"\n")
            if not (mark and newline):
                return
            self.begun = True
            self.said = line.decode(errors="replace").strip()
            self._before = bytearray(before)
        self._data += data
        if self._on_text and (text := self._decoder.decode(data)):
            self._on_text(text)

    def close(self) -> None:
        """Close the pipe; what has not come by now is not waited for."""
        self.ended = True
        self._pipe.close()


def read(
    streams: Sequence[Stream],
    *,
    until: Callable[[], bool] = lambda: False,
    end: float = math.inf,
) -> None:
    """Read streams to their ends, or until a condition holds, or until the time ``end``.

    It sleeps while nothing comes: in virtual time the instructions of a poll would be time, too.
    """
    while not until() and (left := [stream for stream in streams if not stream.ended]):
        left_s = end - time.monotonic()
        if left_s <= 0:
            return
        for stream in select.select(left, (), (), None if math.isinf(left_s) else left_s)[0]:
            stream.read()
