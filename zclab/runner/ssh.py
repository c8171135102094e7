"""Commands on a host or guest, over SSH."""

from __future__ import annotations

import logging
import math
import select
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fabric
import paramiko

from zclab.errors import CommandError
from zclab.runner.base import Process, Result, timed_out

# Nobody is told of each attempt to reach a guest that is still booting; errors are raised anyway.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

CONNECT_TIMEOUT_S = 20
ANSWER_TIMEOUT_S = 60
"""How long a machine may take to begin a command. One that is gone says so to nobody: TCP gives up
after a quarter of an hour, and QEMU's user networking never does.
"""
PUT_TIMEOUT_S = 300
KEEPALIVE_S = 15
STOP_DEADLINE_S = 5
NO_EXIT_STATUS = -1
"""What paramiko gives where a connection ended before its command did."""


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
            "channel_timeout": CONNECT_TIMEOUT_S,
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
            with self._begin(shlex.join(argv)) as channel:
                channel.settimeout(timeout_s)
                channel.sendall(stdin.encode())
                channel.shutdown_write()
                stdout, stderr = _drain(channel, time.monotonic() + timeout_s)
                if not channel.exit_status_ready():
                    raise CommandError(timed_out(self.where, argv, timeout_s))
                exit_status = channel.recv_exit_status()
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(self.lost(argv, str(exc))) from exc
        if exit_status == NO_EXIT_STATUS:
            raise CommandError(self.lost(argv, "the connection ended"))
        result = Result(
            where=self.where,
            argv=tuple(argv),
            exit_status=exit_status,
            stdout=stdout,
            stderr=stderr,
        )
        return result.check() if check else result

    def lost(self, argv: Sequence[str], why: str) -> str:
        """Return the message for a command whose connection ended before it did."""
        return f"{self.where}: lost while running {shlex.join(argv)}: {why}"

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> Process:
        """See Runner."""
        self.connect()
        try:
            channel = self._begin(f"echo $$; exec {shlex.join(argv)}")
            if not hold_stdin:
                channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(f"{self.where}: cannot start {shlex.join(argv)}: {exc}") from exc
        return _Remote(self, tuple(argv), channel, on_output)

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        self.connect()
        try:
            with self._closing_after(PUT_TIMEOUT_S):
                self.connection.put(str(local), remote)
        except (OSError, EOFError, paramiko.SSHException) as exc:
            raise CommandError(f"{self.where}: cannot copy {local} to {remote}: {exc}") from exc

    def close(self) -> None:
        """See Runner."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self.connection.close()

    def _begin(self, command: str) -> paramiko.Channel:
        """Have a shell at the other end begin a command."""
        with self._closing_after(ANSWER_TIMEOUT_S):
            channel: paramiko.Channel = self.connection.transport.open_session()
            channel.exec_command(command)
        return channel

    @contextmanager
    def _closing_after(self, seconds: float) -> Iterator[None]:
        """Bound what waits for an answer without a deadline: its connection is closed then."""
        late = threading.Event()

        def close() -> None:
            late.set()
            self.connection.transport.close()

        timer = threading.Timer(seconds, close)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, paramiko.SSHException) as exc:
            if late.is_set():
                raise EOFError(f"no answer within {seconds:g} s") from exc
            raise
        finally:
            timer.cancel()


def _drain(
    channel: paramiko.Channel, end: float, on_output: Callable[[str], None] | None = None
) -> tuple[str, str]:
    """Return a command's stdout and stderr once they end, or what came until the time ``end``.

    It sleeps while nothing comes: in virtual time the instructions of a poll would be time, too.
    """
    streams = (
        (channel.recv_ready, channel.recv, bytearray()),
        (channel.recv_stderr_ready, channel.recv_stderr, bytearray()),
    )
    stdout = streams[0][2]
    while (left_s := end - time.monotonic()) > 0:
        heard = len(stdout)
        waiting = [(recv, data) for ready, recv, data in streams if ready()]
        for recv, data in waiting:
            data.extend(recv(1 << 16))
        if on_output and len(stdout) > heard:
            on_output(stdout[heard:].decode(errors="replace"))
        if waiting:
            continue
        if channel.eof_received or channel.closed:
            # The exit status may come after the end of the output.
            channel.status_event.wait(min(left_s, CONNECT_TIMEOUT_S))
            break
        select.select((channel,), (), (), None if math.isinf(left_s) else left_s)
    return stdout.decode(errors="replace"), streams[1][2].decode(errors="replace")


class _Remote:
    """A Process at the other end of an SSH connection; a thread reads what it prints.

    SSH passes no signals on: the far shell says first which process it becomes, to be ended.
    """

    def __init__(
        self,
        runner: SshRunner,
        argv: tuple[str, ...],
        channel: paramiko.Channel,
        on_output: Callable[[str], None] | None,
    ) -> None:
        self._runner = runner
        self._argv = argv
        self._channel = channel
        self._on_output = on_output
        self._pid = ""
        self._has_pid = threading.Event()
        self._output = ("", "")
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, *, timeout_s: float = 60) -> Result:
        """See Process."""
        self._reader.join(timeout_s)
        if self._reader.is_alive():
            self.stop()
            raise CommandError(timed_out(self._runner.where, self._argv, timeout_s))
        exit_status = self._channel.recv_exit_status()
        if exit_status == NO_EXIT_STATUS:
            raise CommandError(self._runner.lost(self._argv, "the connection ended"))
        stdout, stderr = self._output
        return Result(
            where=self._runner.where,
            argv=self._argv,
            exit_status=exit_status,
            stdout=stdout.partition("\n")[2],
            stderr=stderr,
        )

    def stop(self) -> None:
        """See Process."""
        with suppress(CommandError):
            if self._has_pid.wait(STOP_DEADLINE_S) and self._pid:
                self._runner.run(("kill", self._pid), timeout_s=STOP_DEADLINE_S, check=False)
                self._reader.join(STOP_DEADLINE_S)
        self._channel.close()

    def _read(self) -> None:
        try:
            self._output = _drain(self._channel, math.inf, self._hear)
        finally:
            self._has_pid.set()

    def _hear(self, text: str) -> None:
        if not self._has_pid.is_set():
            line, newline, text = (self._pid + text).partition("\n")
            self._pid = line
            if not newline:
                return
            self._has_pid.set()
        if text and self._on_output:
            self._on_output(text)
