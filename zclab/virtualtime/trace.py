"""Where two runs part that should have been one: what the accounting plugin traced.

A trace has a line for each change of context: the instruction counter, the idle time in ns, and
what begins there::

    812345678 4100200 thread 212 vhost-207
    812345904 4100200 interrupt asm_sysvec_apic_timer_interrupt

From equal states with equal orders come equal traces, so that the first line that differs is where
something from outside got in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zclab.errors import ParseError
from zclab.outside import quoted, whole_number
from zclab.units import NS_PER_S

SHOWN = 4
"""How many of the lines before it are kept."""

WORDS = 3


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change of context: ``at`` is the instruction counter, ``idle_ns`` the time without any."""

    at: int
    idle_ns: int
    what: str

    @classmethod
    def of(cls, line: str) -> Event:
        """Return the event of a line; ParseError where it is none."""
        words = line.split(maxsplit=WORDS - 1)
        what = f"not a line of a trace: {quoted(line)}"
        if len(words) != WORDS:
            raise ParseError(what)
        at, idle_ns = (whole_number(word, what) for word in words[:2])
        return cls(at=at, idle_ns=idle_ns, what=words[2].rstrip("\n"))

    @property
    def clock_s(self) -> float:
        """Virtual time since power-on."""
        return (self.at + self.idle_ns) / NS_PER_S

    def __str__(self) -> str:
        return f"instruction {self.at:,} at {self.clock_s:.9f} s: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Parting:
    """The first event that two traces do not have in common, and what came before it."""

    number: int
    common: tuple[Event, ...]
    thread: str
    one: Event
    other: Event

    def __str__(self) -> str:
        lines = [
            f"they first differ at event {self.number:,}, in {self.thread}:",
            *(f"  both:   {event}" for event in self.common),
            f"  first:  {self.one}",
            f"  second: {self.other}",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How many events two traces have in common from their start, and where they part, if so."""

    events: int
    parting: Parting | None


def compare(one: Iterable[str], other: Iterable[str]) -> Compared:
    """Compare two traces line by line, as far as both go: where one ends, nobody listens on."""
    common: deque[str] = deque(maxlen=SHOWN)
    thread = "the thread that was there from the start"
    number = 0
    for first, second in zip(one, other, strict=False):
        if first != second:
            apart = Parting(
                number=number,
                common=tuple(map(Event.of, common)),
                thread=thread,
                one=Event.of(first),
                other=Event.of(second),
            )
            return Compared(events=number, parting=apart)
        common.append(first)
        number += 1
        _, _, what = first.partition(" thread ")
        thread = f"thread {what.rstrip()}" if what else thread
    return Compared(events=number, parting=None)


def compare_files(one: Path, other: Path) -> Compared:
    """Compare the traces in two files."""
    with one.open(errors="replace") as first, other.open(errors="replace") as second:
        return compare(first, second)
