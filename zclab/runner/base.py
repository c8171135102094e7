"""What a runner is, whatever machine it runs commands on, and waiting on conditions."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zclab.errors import CommandError
from zclab.outside import LONGEST_SHOWN, printable


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished command left behind."""

    where: str
    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        """Whether the command exited with 0."""
        return self.exit_status == 0

    def check(self) -> Result:
        """Return the result itself, or raise CommandError with the command's last words."""
        if self.ok:
            return self
        words = (self.stderr.strip() or self.stdout.strip() or "(it printed nothing)").splitlines()
        last = "\n  ".join(words[-10:])
        msg = f"{self.where}: {shlex.join(self.argv)}: exit status {self.exit_status}:\n  {last}"
        raise CommandError(msg)


class Process(Protocol):
    """A command that goes on while its starter does."""

    def wait(self, *, timeout_s: float = 60) -> Result:
        """Wait for the end and return the result, unchecked.

        Raises CommandError, and stops the command, where it goes on for ``timeout_s`` seconds.
        """
        ...

    def stop(self) -> None:
        """End the command if it still runs; never fails."""
        ...

    def need(self, why: str) -> None:
        """Have its runner refuse every later command, with ``why``, once the command has ended.

        ``stop()`` takes that back, and so does the runner's ``close()``.
        """
        ...


class Needs:
    """The processes that a runner's commands need: see Process.need()."""

    def __init__(self) -> None:
        self._needed: dict[Process, tuple[Callable[[], bool], str]] = {}

    def add(self, process: Process, ended: Callable[[], bool], why: str) -> None:
        """Need a process, of which ``ended`` tells whether it has ended."""
        self._needed[process] = ended, why

    def drop(self, process: Process) -> None:
        """Need a process no more."""
        self._needed.pop(process, None)

    def clear(self) -> None:
        """Need nothing any more."""
        self._needed.clear()

    def check(self) -> None:
        """Raise CommandError where a needed process has ended."""
        for ended, why in tuple(self._needed.values()):
            if ended():
                raise CommandError(why)


class Runner(Protocol):
    """A machine, or a network namespace of one, that commands run on."""

    where: str

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """Run a command to its end.

        Raises CommandError where it outlives ``timeout_s`` seconds, where the machine is gone,
        and, with ``check``, where it exits other than 0.
        """
        ...

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> Process:
        """Start a command and return at once; ``on_output`` gets its stdout as it comes.

        With ``hold_stdin`` its stdin stays open, and ends when the starter or the connection does,
        however that is.
        """
        ...

    def connect(self) -> None:
        """Open the connection, if there is one; CommandError says why it cannot be."""
        ...

    def put(self, local: Path, remote: str) -> None:
        """Copy a file to the machine."""
        ...

    def close(self) -> None:
        """End the connection, if there is one, and with it what commands needed."""
        ...


def read_text(runner: Runner, path: str) -> str:
    """Return a file's text, which may be one of /proc or /sys."""
    return runner.run(("cat", path)).stdout


def write_text(runner: Runner, path: str, text: str) -> None:
    """Write a file, which may be one of /proc or /sys, in one write."""
    runner.run(("sh", "-c", 'cat > "$0"', path), stdin=text)


class NetnsRunner:
    """Runs commands in a network namespace of another runner's machine."""

    def __init__(self, runner: Runner, netns: str) -> None:
        self._runner = runner
        self._prefix = ("ip", "netns", "exec", netns)
        self.where = f"{runner.where}/{netns}"

    def connect(self) -> None:
        """See Runner."""
        self._runner.connect()

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        return self._runner.run(
            (*self._prefix, *argv), stdin=stdin, timeout_s=timeout_s, check=check
        )

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> Process:
        """See Runner."""
        return self._runner.start(
            (*self._prefix, *argv), on_output=on_output, hold_stdin=hold_stdin
        )

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        self._runner.put(local, remote)

    def close(self) -> None:
        """See Runner; the connection belongs to the machine's own runner."""


def wait_until(
    condition: Callable[[], bool], *, what: str, deadline_s: float, interval_s: float = 0.1
) -> None:
    """Wait until ``condition()``; raise CommandError naming ``what`` after ``deadline_s``."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() >= end:
            raise CommandError(f"no success within {deadline_s:g} s: {what}")
        time.sleep(interval_s)


def encoded(where: str, argv: Sequence[str], stdin: str) -> bytes:
    """Return a command's stdin as bytes, which decoding with surrogateescape made text of.

    Raises CommandError where it is text that nothing was decoded to.
    """
    try:
        return stdin.encode(errors="surrogateescape")
    except UnicodeEncodeError as exc:
        raise CommandError(not_run(where, argv, f"its stdin: {exc}")) from exc


def not_run(where: str, argv: Sequence[str], why: object) -> str:
    """Return the message for a command that could not be started, of which it has the beginning."""
    words = shlex.join(argv)
    shown = words if len(words) <= LONGEST_SHOWN else f"{words[:LONGEST_SHOWN]}…"
    return f"{where}: cannot run {printable(shown)}: {why}"


def timed_out(where: str, argv: Sequence[str], timeout_s: float) -> str:
    """Return the message for a command that outlived its time."""
    return f"{where}: {shlex.join(argv)}: no end within {timeout_s:g} s; it was stopped"
