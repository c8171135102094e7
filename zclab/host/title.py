"""What a row of the catalogue is: a kernel's message, and how much it matters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ends", "fails", "noted"]
"""``ends``: the kernel is broken, or has let memory be read or written that it should not have;
nothing that comes after means anything, so the run ends. ``fails``: the figures of the trial that
was running are wrong, and those of the next may be right. ``noted``: to be known when figures are
read, no more; it stands in the trial's evidence."""


@dataclass(frozen=True)
class Title:
    """One row: what it means, a name for it, the source that prints it, how, and such a line."""

    severity: Severity
    kind: str
    source: str
    pattern: re.Pattern[str]
    example: str


DEVICE = r"(\S+ ){0,2}\S+( \([\w ]+\))?: "
"""What dev_err() and netdev_err() put in front: ``igb 0000:01:00.0: ``, ``mp0: ``,
``virtio_net virtio0 eth0: ``."""


def title(severity: Severity, kind: str, source: str, pattern: str, example: str) -> Title:
    """Return a row whose pattern is compiled."""
    return Title(severity, kind, source, re.compile(pattern), example)
