"""Standard output and error as they are given to us: any encoding, closed, full, nobody reading."""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, NoReturn, TextIO, cast

from rich.console import Console

from zclab.errors import ZclabError
from zclab.outside import printable

_SPELLED = {"▲": "^", "▼": "v", "±": "+-", "…": "...", "·": "-", "—": "-"}
"""What marks are where an encoding has none; a question mark is a verdict of its own."""


class Stream:
    """Stands for a standard output; what cannot be written ends the process.

    A reader that has gone, as ``head`` does, ends it quietly with the status of SIGPIPE. Not by an
    error of ours: what runs must not take it for one of a trial. Nothing is held back, so that it
    ends where the text is printed and not when Python clears up.
    """

    def __init__(self, stream: Callable[[], TextIO | None] = lambda: sys.stdout) -> None:
        self._under = stream  # None where it was closed by `>&-`

    def write(self, text: str) -> int:
        """Write text, spelled out where the encoding does not have a character."""
        try:
            return self._write(text)
        except OSError as exc:
            self._fail(exc)

    def flush(self) -> None:
        """Do nothing: write() holds nothing back."""

    def isatty(self) -> bool:
        """Tell whether a person is looking on."""
        stream = self._under()
        return stream is not None and stream.isatty()

    def fileno(self) -> int:
        """Return the descriptor, of which rich and invoke ask how wide the terminal is."""
        stream = self._under()
        if stream is None:
            raise io.UnsupportedOperation("it is closed")
        return stream.fileno()

    @property
    def encoding(self) -> str:
        """The encoding, by which rich chooses what it draws with."""
        return getattr(self._under(), "encoding", None) or "utf-8"

    def _write(self, text: str) -> int:
        stream = self._under()
        if stream is None:
            raise OSError(errno.EBADF, "it is closed")
        shown = text.encode(self.encoding, "zclab").decode(self.encoding)
        written = stream.write(shown)
        stream.flush()
        return written

    def _fail(self, exc: OSError) -> NoReturn:
        _to_nowhere(1)
        if isinstance(exc, BrokenPipeError):
            raise SystemExit(128 + signal.SIGPIPE) from exc
        with suppress(OSError):
            print(f"error: cannot write to stdout: {exc.strerror}", file=sys.stderr)  # noqa: T201 - not by rich
        raise SystemExit(ZclabError.exit_status) from exc


class Errors(Stream):
    """Stands for a standard error; what cannot be written is left out.

    That a log is full, or that nobody reads it, ends no run, and changes no exit status.
    """

    def write(self, text: str) -> int:
        """Write text, or do nothing from the first time on that this fails."""
        try:
            return self._write(text)
        except OSError:
            _to_nowhere(2)
            return len(text)


def guard() -> None:
    """Have all that this process prints go through here: invoke's own lists, help and errors, too.

    Standard descriptors that are closed are opened to nowhere. Else the next file gets such a
    number, and then what programs print that are run.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    stdout, stderr = sys.stdout, sys.stderr
    sys.stdout = cast("TextIO", Stream(lambda: stdout))
    sys.stderr = cast("TextIO", Errors(lambda: stderr))


def _to_nowhere(descriptor: int) -> None:
    """Drop what is written from now on, and what is held back: it would fail again at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    escaped = (one.encode("unicode_escape").decode("ascii") for one in found)
    return "".join(map(_SPELLED.get, found, escaped)), error.end


codecs.register_error("zclab", _spell)

# A path or the title of a commit may have [brackets] in it, which are to be printed as they are.
_STDOUT = cast("IO[str]", Stream())
out = Console(file=_STDOUT, markup=False, emoji=False)
if not out.is_terminal:
    # What the tables are made for; a pipe has no width of its own.
    out = Console(file=_STDOUT, width=100, markup=False, emoji=False)


def say(text: str) -> None:
    """Print text of any origin as it is: no colours, and nothing that a terminal would obey."""
    out.print(printable(text), highlight=False, markup=False)
