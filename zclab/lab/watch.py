"""Watching consoles while a lab is in use, and ending the use when a kernel breaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from zclab.errors import KernelReportError
from zclab.host.console import ConsoleWatch, KernelReport, Notice

SETTLE_S = 1.0
"""How long a report may go on after its first line before the use of the lab ends."""

POLL_S = 0.1

CHUNK = 1 << 20
"""How many characters of a console are read at once."""

Heard = tuple[tuple[str, Notice], ...]
"""What kernels said, each with the machine that it is of: ``host``, ``guest in mode vhost``."""


class Watcher:
    """Collects kernel reports of a lab's consoles; ``abort`` is called once, after the first.

    ``abort`` has to make whatever the main thread waits for fail: it closes connections.
    """

    def __init__(self, abort: Callable[[], None]) -> None:
        self._aborts = [abort]
        self._lock = threading.Lock()
        self._reports: dict[str, KernelReport] = {}
        self._watches: list[tuple[str, ConsoleWatch]] = []
        self._followed: list[tuple[str, ConsoleWatch, TextIO]] = []
        self._timer: threading.Timer | None = None

    @contextmanager
    def aborting(self, abort: Callable[[], None]) -> Iterator[None]:
        """Have the end of the use call ``abort``, too, while the context lasts."""
        self._aborts.append(abort)
        try:
            yield
        finally:
            self._aborts.remove(abort)

    def sink(self, where: str) -> Callable[[str], None]:
        """Return what takes the console text of a machine as it comes."""
        watch = self._watch(where)
        return lambda text: self._feed(where, watch, text)

    @contextmanager
    def following(self, where: str, path: Path) -> Iterator[None]:
        """Watch a console that goes to a file here.

        From its start: a kernel that broke earlier is no place to measure. What it said without
        being broken, before this, was told to those who used it then.
        """
        stop = threading.Event()
        watch = self._watch(where)

        with path.open(errors="replace") as file:
            with self._lock:
                self._followed.append((where, watch, file))
                self._catch_up()
                watch.taken()

            def follow() -> None:
                while not stop.wait(POLL_S):
                    with self._lock:
                        self._catch_up()

            thread = threading.Thread(target=follow, name=f"console {where}", daemon=True)
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()
                with self._lock:
                    self._followed.remove((where, watch, file))

    def error(self) -> KernelReportError | None:
        """Return what the kernels reported, as an error; None where all are well."""
        with self._lock:
            self._catch_up()
            if not self._reports:
                return None
            parts = [
                "\n".join((f"the kernel of the {where} reported: {report.title}",
                           *(f"  {line}" for line in report.lines)))
                for where, report in self._reports.items()
            ]  # fmt: skip
        return KernelReportError("\n".join(parts))

    def taken(self) -> Heard:
        """Return what kernels said, since this was last asked, that does not end the use.

        A console that is followed counts up to now: what was said during a trial is that trial's.
        """
        with self._lock:
            self._catch_up()
            return tuple(
                (where, notice) for where, watch in self._watches for notice in watch.taken()
            )

    def settled(self) -> KernelReportError | None:
        """Return what error() does once the consoles have been read to their present end.

        A dying host ends its connections before anyone has read its last words.
        """
        time.sleep(SETTLE_S)
        return self.error()

    def stop(self) -> None:
        """Stop watching; a report that was about to end the use no longer does."""
        with self._lock:
            if self._timer:
                self._timer.cancel()

    def _watch(self, where: str) -> ConsoleWatch:
        watch = ConsoleWatch()
        with self._lock:
            self._watches.append((where, watch))
        return watch

    def _feed(self, where: str, watch: ConsoleWatch, text: str) -> None:
        with self._lock:
            self._take(where, watch, text)

    def _catch_up(self) -> None:
        """Read the consoles that are followed to their present end."""
        for where, watch, file in self._followed:
            while text := file.read(CHUNK):
                self._take(where, watch, text)

    def _take(self, where: str, watch: ConsoleWatch, text: str) -> None:
        if report := watch.feed(text):
            self._seen(where, report)

    def _seen(self, where: str, report: KernelReport) -> None:
        self._reports[where] = report
        if self._timer is None:
            self._timer = threading.Timer(SETTLE_S, self._end)
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        for abort in self._aborts:
            with suppress(Exception):
                abort()
