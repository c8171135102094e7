"""Progress: a log that is no terminal gets few lines, with the time that is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from zclab.build.progress import LINE_INTERVAL_S, Lines, duration, shown


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


def test_lines_come_at_intervals_and_estimate_the_rest() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines("kernel", said.append, clock)
    lines(0, None, "unpacking")
    for step in range(1, 61):
        clock.now += 1
        lines(step, 120, f"CC {step}.o")

    assert said[0] == "kernel: unpacking"
    assert said[1] == f"kernel: {LINE_INTERVAL_S} of 120 steps, about 2 min left: CC 15.o"
    assert len(said) == 5


def test_an_unknown_total_is_not_made_up() -> None:
    said: list[str] = []
    clock = Clock()
    lines = Lines("kernel", said.append, clock)
    clock.now = 100
    lines(7, None, "CC 7.o")

    assert said == ["kernel: 7 steps: CC 7.o"]


def test_a_long_line_in_a_log_stays_one_line() -> None:
    log = io.StringIO()
    with shown("kernel", Console(file=log, width=40)) as progress:
        progress(0, None, "waiting for [another] " + "x" * 100)

    assert log.getvalue() == "kernel: waiting for [another] " + "x" * 100 + "\n"


def test_a_terminal_gets_a_bar() -> None:
    log = io.StringIO()
    with shown("kernel", Console(file=log, width=120, force_terminal=True)) as progress:
        progress(3, 2, "CC more[/x].o")

    assert "3/3" in log.getvalue()
    assert "CC more[/x].o" in log.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(8.4, "8 s"), (89, "89 s"), (200, "3 min")])
def test_durations_are_as_people_say_them(seconds: float, words: str) -> None:
    assert words == duration(seconds)
