"""Finding what kernels report in console text, as it arrives; kernel_messages.py knows reports.

Of the reports that end a run the first one is the one to read, for what follows is often its
consequence. The others are kept by their kinds, with how often each came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from zclab.host.kernel_messages import title_of
from zclab.host.title import Severity

MAX_LINES = 30
"""How much of a report is shown; the whole console log is kept beside the results."""

MAX_CHARACTERS = 4096
"""How much of a line is looked at, from its end: a console may go on for megabytes without one. A
kernel's message has at most 2048."""

_CUT = "…"

# Colours and other commands to a terminal, and what else is no text: systemd sends the former,
# serial lines the latter.
_NO_TEXT = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-Z\\^-~])"
    r"|[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]"
)
# "[    2.345678] ", with a log level before it or a caller behind it ("[    2.345678][    T1] "),
# or none of it.
_PREFIX = re.compile(r"^\s*(<\d+>)?(\[ *(\d+\.\d+)\] ?)?(\[ *[TC]\d+\] ?)?")
# As it stands in the middle of a line.
_STAMP = re.compile(r"\[ *(\d+\.\d+)\](?: ?\[ *[TC]\d+\])? ")
_SKEW_S = 0.01
"""How much older a newer message may be: two CPUs' clocks may differ by a tick."""
# A panic that reboots at once ends with the kernel's offset instead of its own end line.
_END = re.compile(r"---\[ end (trace|Kernel panic)|^={60,}$|^Kernel Offset: ")


@dataclass(frozen=True, kw_only=True)
class KernelReport:
    """The first report of a kernel that is broken: its kind, its title and its first lines.

    ``complete`` says that its end, or as many lines as are shown, have been seen.
    """

    kind: str
    title: str
    lines: tuple[str, ...]
    complete: bool

    def __str__(self) -> str:
        return "\n  ".join((f"{self.kind}: {self.title}", *self.lines))


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A kernel's message that fails a trial or is to be noted; ``times`` counts those of its kind.

    ``title`` is the first of them.
    """

    severity: Severity
    kind: str
    title: str
    times: int = 1

    def __str__(self) -> str:
        return f"{self.title} ({self.times} times)" if self.times > 1 else self.title


class ConsoleWatch:
    """Reads console text in whatever pieces it comes."""

    def __init__(self) -> None:
        self._partial = ""
        self._newest_s = 0.0
        self._report: KernelReport | None = None
        self._notices: dict[tuple[Severity, str], Notice] = {}

    @property
    def report(self) -> KernelReport | None:
        """The first report that ends a run, as far as it has come, or None."""
        return self._report

    def feed(self, text: str) -> KernelReport | None:
        """Take more text and return the first report, from its title on, as far as it has come.

        A line counts once its end has come: at the end of a console, feed a newline.
        """
        *lines, rest = (self._partial + text).split("\n")
        for line in lines:
            self._take(_NO_TEXT.sub("", _last_part(line)))
        self._partial = _last_part(rest)
        return self._report

    def taken(self) -> tuple[Notice, ...]:
        """Return the notices since this was last asked, one for each kind."""
        notices, self._notices = tuple(self._notices.values()), {}
        return notices

    def _take(self, line: str) -> None:
        message = self._message(line)
        report = self._report
        if report and not report.complete:
            lines = (*report.lines, line)
            complete = _END.search(message) is not None or len(lines) >= MAX_LINES
            self._report = replace(report, lines=lines, complete=complete)
            return
        title = title_of(message)
        if title is None:
            return
        if title.severity == "ends":
            if report is None:
                self._report = KernelReport(
                    kind=title.kind, title=message, lines=(line,), complete=False
                )
            return
        key = (title.severity, title.kind)
        if seen := self._notices.get(key):
            self._notices[key] = replace(seen, times=seen.times + 1)
        else:
            self._notices[key] = Notice(severity=title.severity, kind=title.kind, title=message)

    def _message(self, line: str) -> str:
        """Return a line's message, which may begin behind what a program left without a newline.

        Behind a login prompt, say. Where somebody shows an older message, its stamp is older, too.
        """
        start = _PREFIX.match(line)
        if start and start[3]:
            self._newest_s = float(start[3])
        oldest = self._newest_s - _SKEW_S
        stamps = [one for one in _STAMP.finditer(line) if float(one[1]) >= oldest]
        if stamps:
            self._newest_s = float(stamps[-1][1])
            return line[stamps[-1].end() :]
        return line[start.end() :] if start else line


def _last_part(line: str) -> str:
    """Return a line, or its last part behind a mark where it is too long."""
    return line if len(line) <= MAX_CHARACTERS else f"{_CUT}{line[-MAX_CHARACTERS:]}"
