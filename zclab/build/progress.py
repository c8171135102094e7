"""Telling people how far a long step is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from zclab.outside import printable
from zclab.progress import Progress

LINE_INTERVAL_S = 15
"""How often a log that is no terminal gets a line."""


@contextmanager
def shown(title: str, console: Console | None = None) -> Iterator[Progress]:
    """Show what a step called ``title`` reports, in the way that the console can show it."""
    with shown_together((title,), console) as (progress,):
        yield progress


@contextmanager
def shown_together(
    titles: Sequence[str], console: Console | None = None
) -> Iterator[tuple[Progress, ...]]:
    """Show what several steps report, which may run beside each other; see shown()."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        write = partial(console.print, soft_wrap=True, markup=False, highlight=False)
        yield tuple(Lines(title, write) for title in titles)
        return
    columns = (
        TextColumn("[bold]{task.fields[title]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield tuple(_bar(bars, title) for title in titles)


def _bar(bars: RichProgress, title: str) -> Progress:
    """Return what moves a bar, which is there from the first report on."""
    task = bars.add_task("", total=None, title=title, visible=False, start=False)

    def update(done: int, total: int | None, what: str) -> None:
        total = None if total is None else max(done, total)
        bars.start_task(task)
        bars.update(task, completed=done, total=total, description=printable(what), visible=True)

    return update


class Lines:
    """One line whenever the work changes its kind, and every LINE_INTERVAL_S seconds."""

    def __init__(
        self,
        title: str,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._write = write
        self._clock = clock
        self._started = self._last = clock()
        self._first_done = 0
        self._counting = True

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """See Progress."""
        now = self._clock()
        counting = done > 0
        if counting and not self._counting:
            self._started, self._first_done = now, done
        if now - self._last >= LINE_INTERVAL_S or not counting:
            self._write(f"{self._title}: {self._describe(done, total, printable(what), now)}")
            self._last = now
        self._counting = counting

    def _describe(self, done: int, total: int | None, what: str, now: float) -> str:
        if done == 0:
            return what
        if total is None or done >= total:
            return f"{done} steps: {what}"
        passed = done - self._first_done
        if not passed:
            return f"{done} of {total} steps: {what}"
        left_s = (now - self._started) / passed * (total - done)
        return f"{done} of {total} steps, about {duration(left_s)} left: {what}"


def duration(seconds: float) -> str:
    """Return a duration as people say it: ``40 s``, ``3 min``."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"  # noqa: PLR2004
