"""Where the NICs of an emulated lab write what they receive: by their own word, nobody else's.

The emulator traces the address of each buffer that it writes as a NIC. With the IOMMU passed by, as
on the lab's host for all that is not a guest's hardware, that is an address in the host's memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zclab.host.memory import Span
from zclab.lab import machine

_EVENTS = "*_rx_desc_buff_write"
_WRITE = re.compile(
    r"rx_desc_buff_write buffer #?\d+, "
    r"addr: 0x(?P<addr>[0-9a-f]{1,16}), offset: (?P<offset>[0-9]{1,20}), from: \w+, "
    r"length: (?P<len>[0-9]{1,20})$",
    re.MULTILINE,
)
"""As hw/net/trace-events of QEMU has it, for e1000e with a ``#`` and for igb without."""


@contextmanager
def traced(folder: Path) -> Iterator[list[Span]]:
    """Trace what the NICs of the lab in ``folder`` write; the list has it when the context ends.

    Raises LabError where the emulator's monitor does not answer.
    """
    log = folder / machine.DEBUG_LOG
    log.touch()
    before = log.stat().st_size
    spans: list[Span] = []
    items = f"{machine.LOGGED},trace:{_EVENTS}"
    machine.monitor(folder, "human-monitor-command", {"command-line": f"log {items}"})
    try:
        yield spans
    finally:
        machine.monitor(folder, "trace-event-set-state", {"name": _EVENTS, "enable": False})
        with log.open(errors="replace") as lines:
            lines.seek(before)
            spans.extend(parse(lines.read()))
        # It is megabytes for each trial, however that ends, and a lab may be up for days. Where
        # QEMU does not append, it goes on behind a hole, which takes no space.
        os.truncate(log, before)


def parse(text: str) -> Iterator[Span]:
    """Yield the spans that a log of the emulator has."""
    for found in _WRITE.finditer(text):
        start, size = int(found["addr"], 16) + int(found["offset"]), int(found["len"])
        yield start, start + size - 1
