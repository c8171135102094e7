"""Commands on a host or guest, over the system's own ssh.

A machine is reached as OpenSSH reaches it, by a configuration file: aliases, jump hosts, agents,
certificates and known_hosts are as with ``ssh`` itself. One ssh, the master, logs in; each command
is an ssh that goes through it.
"""

from __future__ import annotations

import math
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from zclab.errors import CommandError
from zclab.runner.base import Needs, Process, Result, encoded, not_run, timed_out
from zclab.runner.far import Stream, far_command, read
from zclab.runner.master import SSH_FAILED, Master, new_mark

ANSWER_TIMEOUT_S = 60
"""How long a machine may take to begin a command. One that is gone says so to nobody: TCP gives up
after a quarter of an hour, and QEMU's user networking never does.
"""
PUT_TIMEOUT_S = 300
STOP_DEADLINE_S = 5

_COMMAND = "echo {mark} $$; echo {mark} >&2; exec {command}"
"""SSH passes no signals on: the far shell says first which process it becomes, to be ended."""
_KILL = 'kill -TERM "-$0" 2>/dev/null || kill "$0"'
"""The whole session, which sshd makes for each command; under sudo, the command alone."""
_PUT = 'umask 077 && cat > "$0" && chmod "$1" "$0"'


class SshRunner:
    """Runs commands on a host or guest over one SSH connection, made at first use.

    ``config`` is a configuration file of ssh, and ``destination`` what ssh is to call the machine.
    ``gateway`` is the runner of the jump host, for guests that only their host reaches. Commands
    run as root: through sudo where another user logs in.
    """

    def __init__(
        self, where: str, *, config: Path, destination: str, gateway: SshRunner | None = None
    ) -> None:
        self.where = where
        self._config = config
        self._destination = destination
        self._gateway = gateway
        self._lock = threading.RLock()
        self._master: Master | None = None
        self._prefix = ""
        self.needs = Needs()

    def connect(self) -> None:
        """Open the connection, or raise CommandError that says why it cannot be."""
        self._connected_with_needs()

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        with tempfile.TemporaryFile() as file:
            file.write(encoded(self.where, argv, stdin))
            file.seek(0)
            result = self._run(argv, stdin=file, timeout_s=timeout_s)
        return result.check() if check else result

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> Process:
        """See Runner; with ``hold_stdin`` the command's stdin ends with us or the connection."""
        stdin = subprocess.PIPE if hold_stdin else subprocess.DEVNULL
        command = self.begin(argv, stdin=stdin, on_output=on_output)
        command.follow()
        return command

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        try:
            with local.open("rb") as file:
                mode = f"{os.fstat(file.fileno()).st_mode & 0o777:o}"
                argv = ("sh", "-c", _PUT, remote, mode)
                self._run(argv, stdin=file, timeout_s=PUT_TIMEOUT_S).check()
        except (OSError, ValueError, CommandError) as exc:
            raise CommandError(f"{self.where}: cannot copy {local} to {remote}: {exc}") from exc

    def close(self) -> None:
        """See Runner; whoever waits for a command is told at once."""
        self.needs.clear()
        self._give_up()

    def begin(
        self,
        argv: Sequence[str],
        *,
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        on_output: Callable[[str], None] | None = None,
        answer_s: float | None = None,
    ) -> _Command:
        """Have a shell at the other end become a command, and return it.

        Without an answer for ANSWER_TIMEOUT_S, the connection is given up; a caller that waits for
        ``answer_s`` only, leaves it open. Such a one ends a command, so it needs nothing.
        """
        master = self._connected_with_needs() if answer_s is None else self.connected()
        command = _Command(self, master, tuple(argv), self._prefix, stdin, on_output)
        try:
            if answer_s is None:
                command.begin(ANSWER_TIMEOUT_S, on_silence=self._give_up)
            else:
                command.begin(answer_s)
        except BaseException:
            command.end()
            raise
        return command

    def lost(self, argv: Sequence[str], why: str) -> str:
        """Return the message for a command whose connection ended before it did."""
        return f"{self.where}: lost while running {shlex.join(argv)}: {why}"

    def _connected_with_needs(self) -> Master:
        """Return the connection, which may end, and be another, between the first look and it."""
        self._check_needs()
        master = self.connected()
        self._check_needs()
        return master

    def _check_needs(self) -> None:
        if self._gateway is not None:
            self._gateway._check_needs()  # noqa: SLF001 - of the same class
        self.needs.check()

    def _give_up(self) -> None:
        """End the connection, of which there may soon be another."""
        if self._master is not None:
            self._master.end()

    def _run(self, argv: Sequence[str], *, stdin: IO[bytes], timeout_s: float) -> Result:
        command = self.begin(argv, stdin=stdin)
        try:
            return command.wait(timeout_s=timeout_s)
        finally:
            command.end()

    def connected(self) -> Master:
        """Return the connection's master, which logs in if there is none."""
        with self._lock:
            if self._master is None or self._master.ended:
                self._give_up()
                gateway = self._gateway.connected() if self._gateway else None
                self._prefix = ""
                self._master = Master(
                    self.where,
                    config=self._config,
                    destination=self._destination,
                    gateway=gateway,
                )
                uid, user = self._master.wait_for_login()
                if uid != "0":
                    self._use_sudo(user)
            return self._master

    def _use_sudo(self, user: str) -> None:
        """Have commands run through sudo, if that works without a question."""
        self._prefix = "sudo -n -- "
        try:
            self.begin(("true",)).end()
        except CommandError as exc:
            self._give_up()
            msg = (
                f"{self.where}: user {user} is not root and `sudo -n` does not work: {exc}; "
                f"log in as root, or let sudo run everything without a password "
                f"(in sudoers: {user} ALL=(ALL) NOPASSWD: ALL)"
            )
            raise CommandError(msg) from exc


class _Command:
    """A Process at the other end of an SSH connection.

    What it prints is read by whoever waits for it, or by a thread that follows it.
    """

    def __init__(  # noqa: PLR0917 - made in one place
        self,
        runner: SshRunner,
        master: Master,
        argv: tuple[str, ...],
        prefix: str,
        stdin: IO[bytes] | int,
        on_output: Callable[[str], None] | None,
    ) -> None:
        self._runner = runner
        self._master = master
        self._argv = argv
        self._reader: threading.Thread | None = None
        if any("\0" in word for word in argv):
            raise CommandError(not_run(runner.where, argv, "no word can have a NUL"))
        mark = new_mark()
        script = _COMMAND.format(mark=mark, command=shlex.join(argv))
        try:
            self._process = subprocess.Popen(
                (*master.through, "-T", "--", "zclab", far_command(script, prefix=prefix)),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise CommandError(not_run(runner.where, argv, exc)) from exc
        self._stdout = Stream(cast("IO[bytes]", self._process.stdout), mark, on_output)
        self._stderr = Stream(cast("IO[bytes]", self._process.stderr), mark)

    def begin(self, timeout_s: float, *, on_silence: Callable[[], None] = lambda: None) -> None:
        """Wait for the far shell's mark; raise CommandError where it does not come."""
        self.read(timeout_s, until=lambda: self._stdout.begun)
        if self._stdout.begun:
            return
        if not self._ended:
            on_silence()
            raise CommandError(self._runner.lost(self._argv, f"no answer within {timeout_s:g} s"))
        if self._master.has_ended():
            raise CommandError(self._runner.lost(self._argv, "the connection ended"))
        words = " ".join((self._stdout.before + self._stderr.before).split())
        if "open refused" in words:
            words += "; its sshd has a low MaxSessions: zclab takes up to 10 at a time"
        words = words or "the far shell said nothing"
        raise CommandError(not_run(self._runner.where, self._argv, words))

    def follow(self) -> None:
        """Have a thread read what is printed."""
        self._reader = threading.Thread(target=self.read, args=(math.inf,), daemon=True)
        self._reader.start()

    def wait(self, *, timeout_s: float = 60) -> Result:
        """See Process."""
        self._read_on(timeout_s)
        if not self._ended:
            self.stop()
            raise CommandError(timed_out(self._runner.where, self._argv, timeout_s))
        exit_status, lost = self._process.wait(), self._lost
        self.end()
        if lost:
            raise CommandError(self._runner.lost(self._argv, "the connection ended"))
        return Result(
            where=self._runner.where,
            argv=self._argv,
            exit_status=exit_status,
            stdout=self._stdout.text,
            stderr=self._stderr.text,
        )

    def stop(self) -> None:
        """See Process."""
        self._runner.needs.drop(self)
        if self._process.poll() is None or self._lost:
            with suppress(CommandError):
                kill = self._runner.begin(
                    ("sh", "-c", _KILL, self._stdout.said), answer_s=STOP_DEADLINE_S
                )
                kill.read(STOP_DEADLINE_S)
                kill.end()
            self._read_on(STOP_DEADLINE_S)
        self.end()

    def need(self, why: str) -> None:
        """See Process; the end of the connection is the command's, too."""

        def ended() -> bool:
            return self._master.ended or self._process.poll() is not None

        self._runner.needs.add(self, ended, why)

    def end(self) -> None:
        """End the ssh here, whatever becomes of the command."""
        self._process.kill()
        self._process.wait()
        self._read_on(STOP_DEADLINE_S)
        if self._reader is None or not self._reader.is_alive():
            self._stdout.close()
            self._stderr.close()
            if self._process.stdin:
                self._process.stdin.close()

    def read(self, timeout_s: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Read what is printed, for a time, to its end, or until a condition holds."""
        read((self._stdout, self._stderr), until=until, end=time.monotonic() + timeout_s)

    @property
    def _ended(self) -> bool:
        return self._stdout.ended and self._stderr.ended

    @property
    def _lost(self) -> bool:
        return self._process.poll() == SSH_FAILED and self._master.has_ended()

    def _read_on(self, timeout_s: float) -> None:
        """Read, or have the thread read, for a time or to the end."""
        if self._reader is None:
            self.read(timeout_s)
        else:
            self._reader.join(timeout_s)
