"""Running commands here and on hosts and guests, and waiting on conditions.

A runner hides where its machine is: the code above passes an argv and gets a Result. Nothing is
ever quoted by hand; the SSH runner quotes once.
"""

from __future__ import annotations

import io
import logging
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import fabric
import invoke.exceptions
import paramiko
from invoke.context import Context

from zclab.errors import CommandError

# Nobody is told of each attempt to reach a guest that is still booting; errors are raised anyway.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT_S = 20
KEEPALIVE_S = 15
POLL_S = 0.005
NO_EXIT_STATUS = -1
"""What paramiko gives where a connection ended before its command did."""


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

    def wait(self) -> Result:
        """Wait for the end and return the result, unchecked."""
        ...

    def stop(self) -> None:
        """End the command if it still runs; never fails."""
        ...


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
        self, argv: Sequence[str], *, on_output: Callable[[str], None] | None = None
    ) -> Process:
        """Start a command and return at once; ``on_output`` gets its stdout as it comes."""
        ...

    def put(self, local: Path, remote: str) -> None:
        """Copy a file to the machine."""
        ...

    def close(self) -> None:
        """End the connection, if there is one."""
        ...


def read_text(runner: Runner, path: str) -> str:
    """Return a file's text, which may be one of /proc or /sys."""
    return runner.run(("cat", path)).stdout


def write_text(runner: Runner, path: str, text: str) -> None:
    """Write a file, which may be one of /proc or /sys, in one write."""
    runner.run(("sh", "-c", 'cat > "$0"', path), stdin=text)


class LocalRunner:
    """Runs commands on this machine."""

    def __init__(self, where: str = "localhost") -> None:
        self.where = where

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        try:
            done = subprocess.run(
                argv, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
            )
        except FileNotFoundError as exc:
            raise CommandError(f"{self.where}: {argv[0]}: not installed") from exc
        except subprocess.TimeoutExpired as exc:
            raise CommandError(_timed_out(self.where, argv, timeout_s)) from exc
        result = Result(
            where=self.where,
            argv=tuple(argv),
            exit_status=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
        )
        return result.check() if check else result

    def start(
        self, argv: Sequence[str], *, on_output: Callable[[str], None] | None = None
    ) -> Process:
        """See Runner."""
        stream = _Sink(on_output) if on_output else io.StringIO()
        promise = Context().run(
            shlex.join(argv), asynchronous=True, warn=True, out_stream=stream, in_stream=False
        )
        return _Promised(self.where, tuple(argv), promise)

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        Path(remote).write_bytes(local.read_bytes())

    def close(self) -> None:
        """See Runner."""


class SshRunner:
    """Runs commands on a host or guest over one SSH connection, made at first use.

    The server's key is checked against ``known_hosts``; a lab's keys are made with the lab.
    ``gateway`` is the runner of the jump host, for guests that only their host reaches.
    """

    def __init__(
        self,
        where: str,
        *,
        address: str,
        port: int = 22,
        user: str = "root",
        identity: Path | None = None,
        known_hosts: Path | None = None,
        gateway: SshRunner | None = None,
    ) -> None:
        self.where = where
        kwargs: dict[str, Any] = {
            "look_for_keys": identity is None,
            "allow_agent": identity is None,
        }
        if identity is not None:
            kwargs["key_filename"] = str(identity)
        self.connection: Any = fabric.Connection(
            address,
            port=port,
            user=user,
            gateway=gateway.connection if gateway else None,
            connect_timeout=CONNECT_TIMEOUT_S,
            connect_kwargs=kwargs,
            config=fabric.Config(lazy=True),
        )
        client = self.connection.client
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        if known_hosts is None:
            client.load_system_host_keys()
        else:
            client.load_host_keys(str(known_hosts))

    def connect(self) -> None:
        """Open the connection, or raise CommandError that says why it cannot be."""
        if self.connection.is_connected:
            return
        try:
            self.connection.open()
        except (OSError, EOFError, paramiko.SSHException) as exc:
            self.connection.close()
            host = f"{self.connection.user}@{self.connection.host}:{self.connection.port}"
            msg = f"{self.where}: no SSH connection to {host}: {exc or type(exc).__name__}"
            raise CommandError(msg) from exc
        self.connection.transport.set_keepalive(KEEPALIVE_S)

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        self.connect()
        try:
            channel = self.connection.transport.open_session(timeout=CONNECT_TIMEOUT_S)
            with channel:
                channel.exec_command(shlex.join(argv))
                channel.sendall(stdin.encode())
                channel.shutdown_write()
                stdout, stderr = _drain(channel, time.monotonic() + timeout_s)
                if not channel.exit_status_ready():
                    raise CommandError(_timed_out(self.where, argv, timeout_s))
                exit_status = channel.recv_exit_status()
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(self._lost(argv, str(exc))) from exc
        if exit_status == NO_EXIT_STATUS:
            raise CommandError(self._lost(argv, "the connection ended"))
        result = Result(
            where=self.where,
            argv=tuple(argv),
            exit_status=exit_status,
            stdout=stdout,
            stderr=stderr,
        )
        return result.check() if check else result

    def _lost(self, argv: Sequence[str], why: str) -> str:
        return f"{self.where}: lost while running {shlex.join(argv)}: {why}"

    def start(
        self, argv: Sequence[str], *, on_output: Callable[[str], None] | None = None
    ) -> Process:
        """See Runner."""
        self.connect()
        sink = _PidThenOutput(on_output)
        try:
            promise = self.connection.run(
                # SSH passes no signals on, so the far shell says which process to end.
                f"echo $$; exec {shlex.join(argv)}",
                asynchronous=True,
                warn=True,
                out_stream=sink,
                err_stream=io.StringIO(),
                in_stream=False,
            )
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(f"{self.where}: cannot start {shlex.join(argv)}: {exc}") from exc
        return _Remote(self, tuple(argv), promise, sink)

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        self.connect()
        try:
            self.connection.put(str(local), remote)
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(f"{self.where}: cannot copy {local} to {remote}: {exc}") from exc

    def close(self) -> None:
        """See Runner."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self.connection.close()


def _drain(channel: paramiko.Channel, end: float) -> tuple[str, str]:
    """Read a command's output until it and its streams end, or until the time ``end``.

    fabric's own run() would do, if it did not feed standard input a character every 10 ms.
    """
    streams = (
        (channel.recv_ready, channel.recv, bytearray()),
        (channel.recv_stderr_ready, channel.recv_stderr, bytearray()),
    )
    while time.monotonic() < end:
        ended = channel.exit_status_ready() and (channel.eof_received or channel.closed)
        waiting = [(recv, data) for ready, recv, data in streams if ready()]
        for recv, data in waiting:
            data.extend(recv(1 << 16))
        if not waiting:
            if ended:
                break
            time.sleep(POLL_S)
    stdout, stderr = (data.decode(errors="replace") for _, _, data in streams)
    return stdout, stderr


class NetnsRunner:
    """Runs commands in a network namespace of another runner's machine."""

    def __init__(self, runner: Runner, netns: str) -> None:
        self._runner = runner
        self._prefix = ("ip", "netns", "exec", netns)
        self.where = f"{runner.where}/{netns}"

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        return self._runner.run(
            (*self._prefix, *argv), stdin=stdin, timeout_s=timeout_s, check=check
        )

    def start(
        self, argv: Sequence[str], *, on_output: Callable[[str], None] | None = None
    ) -> Process:
        """See Runner."""
        return self._runner.start((*self._prefix, *argv), on_output=on_output)

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
            raise CommandError(f"waited {deadline_s:g} s in vain: {what}")
        time.sleep(interval_s)


class _Sink(io.StringIO):
    """A stream that hands on what is written to it."""

    def __init__(self, on_output: Callable[[str], None]) -> None:
        super().__init__()
        self._on_output = on_output

    def write(self, text: str) -> int:
        self._on_output(text)
        return len(text)


class _Promised:
    """A Process on invoke's asynchronous runs, local or remote."""

    def __init__(self, where: str, argv: tuple[str, ...], promise: Any) -> None:
        self._where = where
        self._argv = argv
        self._promise = promise

    def wait(self) -> Result:
        try:
            done = self._promise.join()
        except (OSError, EOFError, paramiko.SSHException, invoke.exceptions.Failure) as exc:
            msg = f"{self._where}: lost while running {shlex.join(self._argv)}: {exc}"
            raise CommandError(msg) from exc
        return _result(self._where, self._argv, done)

    def stop(self) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._promise.runner.kill()


class _PidThenOutput(io.StringIO):
    """A stream whose first line is a process id, and the rest output to hand on."""

    def __init__(self, on_output: Callable[[str], None] | None) -> None:
        super().__init__()
        self._on_output = on_output
        self._head = ""
        self.pid: int | None = None

    def write(self, text: str) -> int:
        if self.pid is None:
            self._head += text
            line, newline, rest = self._head.partition("\n")
            if newline:
                self.pid = int(line)
                self._hand_on(rest)
        else:
            self._hand_on(text)
        return len(text)

    def _hand_on(self, text: str) -> None:
        if text and self._on_output:
            self._on_output(text)


class _Remote(_Promised):
    """A Process at the other end of an SSH connection."""

    def __init__(
        self, runner: SshRunner, argv: tuple[str, ...], promise: Any, sink: _PidThenOutput
    ) -> None:
        super().__init__(runner.where, argv, promise)
        self._runner = runner
        self._sink = sink

    def wait(self) -> Result:
        done = super().wait()
        return replace(done, stdout=done.stdout.partition("\n")[2])

    def stop(self) -> None:
        with suppress(CommandError):
            wait_until(lambda: self._sink.pid is not None, what="a process id", deadline_s=5)
            self._runner.run(("kill", str(self._sink.pid)), check=False)
            self._promise.join()


def _result(where: str, argv: tuple[str, ...], done: Any) -> Result:
    return Result(
        where=where,
        argv=argv,
        exit_status=done.exited,
        stdout=done.stdout,
        stderr=done.stderr,
    )


def _timed_out(where: str, argv: Sequence[str], timeout_s: float) -> str:
    return f"{where}: {shlex.join(argv)}: no end within {timeout_s:g} s; it was stopped"
