"""Traffic that a guest answers with what it was sent, seen from the peer; see echo_program."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from zclab.errors import CommandError, TrialError
from zclab.outside import Count, Said, from_json, printable, whole_number
from zclab.runner import Runner, read_text

Kind = Literal["stream", "transactions"]
PORTS: dict[Kind, int] = {"stream": 5004, "transactions": 5005}
PROGRAM = Path(__file__).with_name("echo_program.py")

# What a guest answers with: busybox's nc gives each connection a cat.
_ANSWER = """
for port; do
    setsid nc -l -p "$port" -e cat </dev/null >/dev/null 2>&1 &
done
"""
SNMP = "/proc/net/snmp"


class Told(Said):
    """A line of the program; counts are since it began, but for ``gap_ms``."""

    seconds: float = 0.0
    bytes: Count = 0
    transactions: Count = 0
    gap_ms: float = 0.0
    retransmissions: Count = 0
    changed: str | None = None


_TOLD = TypeAdapter(Told)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What the program told, and when that was heard here, by time.monotonic()."""

    at: float
    told: Told


@dataclass
class Heard:
    """What the program has told so far.

    ``problem`` is why it told no more, where something came back changed or it said what is no
    line of its own.
    """

    what: str
    lines: list[Line] = field(default_factory=list)
    problem: str | None = None
    _rest: str = ""

    def hear(self, text: str) -> None:
        """Take text as it comes."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            told = from_json(_TOLD, line, f"the peer's {self.what}")
            if told.changed:
                self.problem = f"the {self.what} came back changed: {printable(told.changed)}"
            else:
                self.lines.append(Line(at=time.monotonic(), told=told))

    @property
    def last(self) -> Told:
        """What was told last; nothing has moved where that was nothing."""
        return self.lines[-1].told if self.lines else Told()

    def check(self) -> None:
        """Raise TrialError where data came back changed."""
        if self.problem:
            raise TrialError(self.problem)


def program_argv(kind: Kind, address: str, *, megabits: float) -> tuple[str, ...]:
    """Return the command that a peer runs; ``megabits`` a second are a stream's most, 0 is all."""
    return ("python3", "-c", PROGRAM.read_text(), kind, address, str(PORTS[kind]), f"{megabits:g}")


def answer(guest: Runner) -> None:
    """Have a guest answer all that a peer sends, until the peer ends the connections."""
    guest.run(("sh", "-c", _ANSWER, "answer", *map(str, PORTS.values())))


def rate_mbps(lines: Sequence[Line], begin: float, end: float) -> float:
    """Return what came back in a time, in 10^6 bit/s.

    Raises CommandError where too little was told then.
    """
    told = [line.told for line in lines if begin <= line.at <= end]
    if len(told) < 2:  # noqa: PLR2004 - a beginning and an end
        raise CommandError(f"the peer told nothing of its stream in {end - begin:.1f} s")
    seconds = told[-1].seconds - told[0].seconds
    return (told[-1].bytes - told[0].bytes) * 8 / 1e6 / seconds


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The longest time without an answer in some stretch of time, and when it was over."""

    ms: float
    over_at: float


def longest_gap(lines: Sequence[Line], begin: float, end: float) -> Gap:
    """Return the longest gap that was told of in a time.

    While one lasts each line has more of it: the last of the longest is the one that ended it.
    Raises CommandError where nothing was told.
    """
    told = [line for line in lines if begin <= line.at <= end]
    if not told:
        raise CommandError(f"the peer told nothing of its transactions in {end - begin:.1f} s")
    longest = max(told, key=lambda line: (line.told.gap_ms, line.at))
    return Gap(ms=longest.told.gap_ms, over_at=longest.at)


def retransmitted(guest: Runner) -> int:
    """Return how many TCP segments a machine has sent again since it booted."""
    return parse_retransmitted(read_text(guest, SNMP))


def parse_retransmitted(text: str) -> int:
    """Parse /proc/net/snmp: a line ``Tcp: RtoAlgorithm … RetransSegs …``, then one of numbers."""
    names, numbers = (
        next(found, "").split()
        for found in (
            (line for line in text.splitlines() if line.startswith("Tcp: R")),
            (line for line in text.splitlines() if line.startswith("Tcp: ") and "R" not in line),
        )
    )
    values = dict(zip(names, numbers, strict=False))
    return whole_number(values.get("RetransSegs", ""), f"{SNMP}: Tcp: RetransSegs")
