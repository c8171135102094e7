"""The ssh that holds a connection open, for the commands that go through it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from zclab.errors import CommandError
from zclab.runner.far import Stream, far_command, read

CONNECT_TIMEOUT_S = 20
"""Of each server on the way, from the first packet to the exchange of keys."""
LOGIN_TIMEOUT_S = 60
"""Of the whole way, until a shell answers at its end."""
ALIVE_INTERVAL_S = 15
ALIVE_COUNT = 8
"""A machine that is gone closes no connection: ssh asks it in this interval, in vain so often."""
END_TIMEOUT_S = 1
"""How long a master may take to end after its connection, and the commands in it, have."""
SSH_FAILED = 255
LONGEST_BASE = 64
"""Of the folder with the socket's folder, in bytes: a socket's whole address may have 107, of which
ssh takes 17 while it makes one.
"""

SHELL = "/bin/sh"
"""What ssh runs ProxyCommand and ``Match exec`` with, by $SHELL: the user's may be fish, or false.
"""

_ANCHOR = "echo {mark} $(id -u) $(id -un); cat >/dev/null; kill $PPID"
"""What the master runs. It lasts as long as this process holds the master's stdin open; when that
ends, so does the far sshd of this connection, whatever else goes through it.
"""
_REMEDIES = {
    "Host key verification failed": "look at its key and log in once by hand: ssh {destination}",
    "Permission denied": "zclab cannot ask for a passphrase or password: put the key into an "
    "agent (ssh-add), or set identity_file to a key without a passphrase",
}


class Master:
    """An ssh that logs in to ``destination`` by a configuration file, and stays.

    It is one for the commands of this process only, and its socket is in a folder of its own.
    """

    def __init__(
        self, where: str, *, config: Path, destination: str, gateway: Master | None = None
    ) -> None:
        self.where = where
        self._gateway = gateway
        self._ssh = ("ssh", "-F", config.name)
        self._cwd = config.parent
        self._destination = destination
        self._mark = new_mark()
        self._folder = tempfile.TemporaryDirectory(prefix="zclab-", dir=_base())
        self._socket = f"{self._folder.name}/ssh"
        self._errors = Path(self._folder.name) / "errors"
        proxy = (f"-oProxyCommand={' '.join(gateway.through)} -W %h:%p zclab",) if gateway else ()
        command = far_command(_ANCHOR.format(mark=self._mark))
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    (*self._ssh, *proxy, "-M", "-S", self._socket, "-oControlPersist=no", "-T",
                     "--", destination, command),
                    cwd=self._cwd,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, "SHELL": SHELL},
                    start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
                )  # fmt: skip
        except OSError as exc:
            self._folder.cleanup()
            raise CommandError(f"{where}: ssh does not start: {exc.strerror or exc}") from exc
        self._stream = Stream(cast("IO[bytes]", self._process.stdout), self._mark)

    @property
    def through(self) -> tuple[str, ...]:
        """The ssh that goes through this connection, or nowhere where this has ended."""
        return ("ssh", "-F", "none", "-S", self._socket, "-oProxyCommand=false",
                "-oBatchMode=yes", "-oLogLevel=ERROR")  # fmt: skip

    @property
    def ended(self) -> bool:
        """Whether this has ended."""
        return self._process.poll() is not None

    def has_ended(self) -> bool:
        """Tell whether the connection ended, to a command of it that has just ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        return self.ended

    def wait_for_login(self) -> tuple[str, str]:
        """Return the far user's number and name; raise CommandError where none came to be."""
        read((self._stream,), until=lambda: self._stream.begun,
             end=time.monotonic() + LOGIN_TIMEOUT_S)  # fmt: skip
        problem = "" if self._stream.begun else self._problem()
        self._stream.close()
        if problem:
            self.end()
            raise CommandError(f"{self.where}: no SSH connection to {self._route()}: {problem}")
        uid, _, user = self._stream.said.partition(" ")
        return uid, user

    def end(self) -> None:
        """End the connection, and whatever waits for something to come through it."""
        if not self.ended:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._folder.cleanup()

    def _problem(self) -> str:
        """Return why there is no login."""
        if not self._stream.ended:
            return f"no login within {LOGIN_TIMEOUT_S} s"
        exit_status = self._process.wait()
        errors = ""
        with suppress(FileNotFoundError):  # who closes the connection removes it
            errors = self._errors.read_text(errors="replace")
        words = "; ".join(line.strip() for line in errors.splitlines() if line.strip("@ \r"))
        if exit_status < 0:
            return "it was closed"
        if exit_status != SSH_FAILED:
            said = " ".join((*self._stream.before.split(), *words.split())) or "nothing"
            return f"the login shell runs no command; it said: {said}"
        for sign, remedy in _REMEDIES.items():
            if sign in words:
                return f"{words}; {remedy.format(destination=self._destination)}"
        return words or "ssh did not say why"

    def _route(self) -> str:
        """Return where ssh goes for the destination, such as ``lab1 (root@192.0.2.7:22)``."""
        with suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                (*self._ssh, "-G", "--", self._destination),
                cwd=self._cwd,
                env={**os.environ, "SHELL": SHELL},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=CONNECT_TIMEOUT_S,
                check=False,
            )
            options = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
            if done.returncode == 0:
                jump = options.get("proxyjump") or options.get("proxycommand")
                jump = self._gateway.where if self._gateway else jump
                through = f" through {jump}" if jump and jump != "none" else ""
                host = options["hostname"]
                host = f"[{host}]" if ":" in host else host
                real = f"{options['user']}@{host}:{options['port']}"
                return f"{self._destination} ({real}{through})"
        return self._destination


def new_mark() -> str:
    """Return a word that nothing but our own scripts will print."""
    return f"zclab-{secrets.token_hex(8)}"


def _base() -> str:
    """Return a folder for a socket's folder; ssh would expand some characters of its name."""
    base = tempfile.gettempdir()
    plain = re.fullmatch(r"[\w./-]+", base, re.ASCII) and len(base) <= LONGEST_BASE
    return base if plain else "/tmp"  # noqa: S108 - the folder in it has a name of its own
