"""Logs of programs and kernels, which may be of any size: their ends, to be shown."""

from __future__ import annotations

import os
from pathlib import Path

LONGEST_LINE = 1000
"""How many characters are shown of a line."""

_END_BYTES = 1 << 16
"""How much of a log's end its last lines are taken from."""


def last_lines(file: Path, count: int) -> list[str]:
    """Return the last lines of a log, each cut to what can be shown; none where there is no file.

    However large it is: who went mad may have filled it, or have printed no end of a line.
    """
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _END_BYTES))
            lines = log.read(_END_BYTES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [one if len(one) <= LONGEST_LINE else f"{one[:LONGEST_LINE]}…" for one in lines[-count:]]
