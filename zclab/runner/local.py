"""Commands on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from zclab.errors import CommandError
from zclab.runner.base import Needs, Process, Result, encoded, not_run, timed_out

STOP_DEADLINE_S = 5
"""How long the end of a killed command may take. What it has put into a session of its own is not
killed, and may keep its outputs open.
"""


class LocalRunner:
    """Runs commands on this machine, each in a session of its own so that it ends as a whole."""

    def __init__(self, where: str = "localhost") -> None:
        self.where = where
        self._needs = Needs()

    def connect(self) -> None:
        """See Runner: this machine is always there."""

    def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_s: float = 60, check: bool = True
    ) -> Result:
        """See Runner."""
        data = encoded(self.where, argv, stdin)
        process = self._popen(argv, stdin=subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(data, timeout=timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise CommandError(timed_out(self.where, argv, timeout_s)) from exc
        finally:
            if process.returncode is None:
                _kill(process)
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()
        result = Result(
            where=self.where,
            argv=tuple(argv),
            exit_status=process.returncode,
            stdout=stdout.decode(errors="replace"),
            stderr=stderr.decode(errors="replace"),
        )
        return result.check() if check else result

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,
    ) -> Process:
        """See Runner."""
        process = self._popen(argv, stdin=subprocess.PIPE if hold_stdin else subprocess.DEVNULL)
        return _Local(self.where, tuple(argv), process, on_output, self._needs)

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        try:
            shutil.copyfile(local, remote)
        except (OSError, ValueError) as exc:
            raise CommandError(f"{self.where}: cannot copy {local} to {remote}: {exc}") from exc

    def close(self) -> None:
        """See Runner."""
        self._needs.clear()

    def _popen(self, argv: Sequence[str], *, stdin: int) -> subprocess.Popen[bytes]:
        self._needs.check()
        try:
            return subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise CommandError(f"{self.where}: {argv[0]}: not installed") from exc
        except (OSError, ValueError) as exc:  # no right to, too long, a NUL in a word
            raise CommandError(not_run(self.where, argv, exc)) from exc


class _Local:
    """A Process of this machine; its outputs are read as they come, by a thread each."""

    def __init__(
        self,
        where: str,
        argv: tuple[str, ...],
        process: subprocess.Popen[bytes],
        on_output: Callable[[str], None] | None,
        needs: Needs,
    ) -> None:
        self._where = where
        self._argv = argv
        self._process = process
        self._on_output = on_output
        self._needs = needs
        self._outputs: tuple[list[str], list[str]] = [], []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, parts), daemon=True)
            for stream, parts in zip((process.stdout, process.stderr), self._outputs, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    def wait(self, *, timeout_s: float = 60) -> Result:
        """See Process."""
        end = time.monotonic() + timeout_s
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        exit_status = self._process.returncode
        if exit_status is None or not self._read_all(end):
            self.stop()
            raise CommandError(timed_out(self._where, self._argv, timeout_s))
        stdout, stderr = ("".join(parts) for parts in self._outputs)
        return Result(
            where=self._where,
            argv=self._argv,
            exit_status=exit_status,
            stdout=stdout,
            stderr=stderr,
        )

    def stop(self) -> None:
        """See Process."""
        self._needs.drop(self)
        _kill(self._process)
        if self._process.stdin:
            self._process.stdin.close()
        self._read_all(time.monotonic() + STOP_DEADLINE_S)

    def need(self, why: str) -> None:
        """See Process."""
        self._needs.add(self, lambda: self._process.poll() is not None, why)

    def _read_all(self, end: float) -> bool:
        """Tell whether the outputs have ended by the time ``end``."""
        for reader in self._readers:
            reader.join(max(0, end - time.monotonic()))
        return not any(reader.is_alive() for reader in self._readers)

    def _read(self, stream: IO[bytes], parts: list[str]) -> None:
        with stream:
            while text := os.read(stream.fileno(), 1 << 16).decode(errors="replace"):
                parts.append(text)
                if self._on_output and parts is self._outputs[0]:
                    self._on_output(text)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started in its session; of another user's nothing is."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_DEADLINE_S)
