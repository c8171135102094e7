"""Finding the first kernel report in console text, as it arrives.

The titles are those that kernel/panic.c, lib/bug.c, kernel/locking/lockdep.c, mm/kasan/report.c
and their like print; a first report is the one to read, for what follows is often its consequence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

MAX_LINES = 30
"""How much of a report is shown; the whole console log is kept beside the results."""

# Kind, then how its titles begin; the first that matches names the report. They are anchored at the
# start of the message, so that a line which merely mentions a report is none.
_TITLES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("panic", r"Kernel panic - not syncing"),
        ("kasan", r"BUG: KASAN: "),
        ("kcsan", r"BUG: KCSAN: "),
        ("ubsan", r"UBSAN: "),
        ("soft lockup", r"(watchdog: )?BUG: soft lockup - "),
        ("hard lockup", r"((NMI )?watchdog: )?Watchdog detected hard LOCKUP"),
        ("sleep in atomic", r"BUG: (sleeping function called from|scheduling while atomic)"),
        ("oops", r"BUG: (kernel NULL pointer|unable to handle)"),
        ("oops", r"Oops: |general protection fault|Unable to handle kernel "),
        ("oops", r"(invalid opcode|divide error|stack segment|double fault): [\da-f]{4} "),
        ("bug", r"kernel BUG at |BUG: |BUG [\w-]+ \("),
        ("list corruption", r"(list|hlist)_(add|del)\S* corruption"),
        ("refcount", r"refcount_t: "),
        (
            "lockdep",
            r"WARNING: (possible|inconsistent|suspicious|bad|Nested|lock held|held lock)\b",
        ),
        ("lockdep", r"WARNING: (HARDIRQ|SOFTIRQ)-\S+ -> |WARNING: .* still has locks held!"),
        ("lockdep", r"\[ BUG: "),
        ("dma api", r"DMA-API: (\S+ \S+: |exceeded )"),
        # The second form, without a CPU, is that of 6.18 and later.
        ("warning", r"WARNING: (CPU: \d+ PID: \d+ at |\S+:\d+ at )"),
        ("hung task", r"INFO: task .+ blocked (in I/O wait )?for more than \d+ seconds"),
        ("rcu stall", r"(rcu: )?INFO: rcu\w* (self-)?detected (expedited )?stall"),
        ("device leak", r"unregister_netdevice: waiting for "),
        ("object leak", r"ODEBUG: "),
    )
)

# "[    2.345678] ", with a log level before it or a caller ("[    T1] ") behind it, or none of it.
_PREFIX = re.compile(r"^\s*(<\d+>)?(\[ *\d+\.\d+\] ?)?(\[ *[TC]\d+\] ?)?")
# A panic that reboots at once ends with the kernel's offset instead of its own end line.
_END = re.compile(r"---\[ end (trace|Kernel panic)|^={60,}$|^Kernel Offset: ")


@dataclass(frozen=True, kw_only=True)
class KernelReport:
    """The first report of a kernel: what kind it is, its title and its first lines.

    ``complete`` says that its end, or as many lines as are shown, have been seen.
    """

    kind: str
    title: str
    lines: tuple[str, ...]
    complete: bool

    def __str__(self) -> str:
        return "\n  ".join((f"{self.kind}: {self.title}", *self.lines))


class ConsoleWatch:
    """Reads console text in whatever pieces it comes."""

    def __init__(self) -> None:
        self._partial = ""
        self._report: KernelReport | None = None

    @property
    def report(self) -> KernelReport | None:
        """The first report as far as it has come, or None."""
        return self._report

    def feed(self, text: str) -> KernelReport | None:
        """Take more text and return the first report, from its title on, as far as it has come.

        A line counts once its end has come: at the end of a console, feed a newline.
        """
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._take(line.rstrip("\r"))
        return self._report

    def _take(self, line: str) -> None:
        message = _PREFIX.sub("", line)
        report = self._report
        if report is None:
            self._report = _begin(message, line)
        elif not report.complete:
            lines = (*report.lines, line)
            complete = _END.search(message) is not None or len(lines) >= MAX_LINES
            self._report = replace(report, lines=lines, complete=complete)


def _begin(message: str, line: str) -> KernelReport | None:
    for kind, title in _TITLES:
        if title.match(message):
            return KernelReport(kind=kind, title=message, lines=(line,), complete=False)
    return None
