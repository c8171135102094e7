"""Standard output as it is given to us: any encoding, a full disk, a reader that has gone."""

from __future__ import annotations

import codecs
import os
import signal
import sys
from typing import IO, NoReturn, cast

from rich.console import Console

from zclab.errors import ZclabError
from zclab.outside import printable

_SPELLED = {"▲": "^", "▼": "v", "±": "+-", "…": "...", "·": "-", "—": "-"}
"""What marks are where an encoding has none; a question mark is a verdict of its own."""


class Stream:
    """Stands for what sys.stdout is at the time; what cannot be written ends the process.

    A reader that has gone, as ``head`` does, ends it quietly with the status of SIGPIPE. Not by an
    error of ours: what runs must not take it for one of a trial.
    """

    def write(self, text: str) -> int:
        """Write text, spelled out where the encoding does not have a character."""
        stream = sys.stdout
        if stream is None:  # closed by `>&-`
            _end("it is closed")
        encoding = stream.encoding or "utf-8"
        shown = text.encode(encoding, "zclab").decode(encoding)
        try:
            return stream.write(shown)
        except OSError as exc:
            _fail(exc)

    def flush(self) -> None:
        """Write what is still held back."""
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as exc:
            _fail(exc)

    def isatty(self) -> bool:
        """Tell whether a person is looking on."""
        return sys.stdout is not None and sys.stdout.isatty()

    def fileno(self) -> int:
        """Return the descriptor, of which rich asks how wide the terminal is."""
        return sys.stdout.fileno()

    @property
    def encoding(self) -> str:
        """The encoding, by which rich chooses what it draws with."""
        return getattr(sys.stdout, "encoding", None) or "utf-8"


def _fail(exc: OSError) -> NoReturn:
    """End with nothing more to be written: what is held back would fail again at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if isinstance(exc, BrokenPipeError):
        raise SystemExit(128 + signal.SIGPIPE) from exc
    _end(str(exc.strerror))


def _end(why: str) -> NoReturn:
    print(f"error: cannot write to stdout: {why}", file=sys.stderr)  # noqa: T201 - not by rich
    raise SystemExit(ZclabError.exit_status)


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
