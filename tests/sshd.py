"""A real sshd on this machine, with keys and a configuration of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from zclab.runner import wait_until

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
AS_ROOT = {"id": "case $1 in -u) echo 0 ;; *) echo root ;; esac"}
"""A far ``id``, for tests that run as somebody else, whom sudo may not let do anything."""


@dataclass(frozen=True, kw_only=True)
class Sshd:
    """A running sshd."""

    folder: Path
    address: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def known(self) -> str:
        """The line that known_hosts has for it."""
        return f"[{self.address}]:{self.port} {public(self.folder / 'host_key')}\n"

    def authorize(self, line: str) -> None:
        """Let a key in."""
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{line}\n")

    def sessions(self) -> list[int]:
        """Return the processes that serve connections."""
        return descendants(self.process.pid)

    def hang_up(self) -> None:
        """Kill what serves connections; the end of one process may be that of another, too."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """Return the processes of commands, which outlive a connection that was cut."""
        mark = _mark(self.folder).encode()
        return [pid for pid in _pids() if mark in _read(Path(f"/proc/{pid}/environ")).split(b"\0")]


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they did."""
    children = _read(Path(f"/proc/{pid}/task/{pid}/children")).split()
    return [pid for child in children for pid in (int(child), *descendants(int(child)))]


def keygen(path: Path, *options: str, passphrase: str = "") -> Path:
    """Make a key pair."""
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path), *options)
    subprocess.run(argv, check=True)
    return path


def public(key: Path) -> str:
    """Return a public key without its comment."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


@contextmanager
def sshd(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    options: str = "",
    programs: Mapping[str, str] | None = None,
    sign: Callable[[Path], None] = lambda _key: None,
) -> Iterator[Sshd]:
    """Have an sshd that lets in who is in its ``authorized_keys``; it ends with this.

    ``programs`` are scripts that commands there find first on their PATH; ``sign`` may sign the
    host key.
    """
    if not PROGRAM:
        pytest.skip("no sshd: apt install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    else:
        programs = {**AS_ROOT, **(programs or {})}
    (folder / "bin").mkdir(parents=True)
    for name, script in (programs or {}).items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / name).chmod(0o755)
    sign(keygen(folder / "host_key"))
    (folder / "authorized_keys").touch()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as free:
        port = free.getsockname()[1]
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress {address}\nPort {port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        # The default exchange of keys is most of what a login costs, and no test is about it.
        f"KexAlgorithms curve25519-sha256\nPermitRootLogin yes\n{options}\n"
        # A home without files: bash would read ~/.bashrc for each command, and that of a
        # developer may take longer than all the rest.
        f"SetEnv PATH={folder}/bin:{os.environ['PATH']} HOME={folder} {_mark(folder)}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen((PROGRAM, "-D", "-e", "-f", config), stderr=log)
    server = Sshd(folder=folder, address=address, port=port, process=process)
    try:
        wait_until(
            lambda: _answers(address, port) or process.poll() is not None,
            what="sshd to answer",
            deadline_s=30,
            interval_s=0.01,
        )
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        sessions = server.sessions() if process.poll() is None else []
        process.kill()
        process.wait()
        for pid in (*sessions, *server.left()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _mark(folder: Path) -> str:
    return f"ZCLAB_TEST_SSHD={folder}"


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def _read(path: Path) -> bytes:
    """Return a file of /proc, or nothing where its process is gone or somebody else's."""
    with suppress(OSError):
        return path.read_bytes()
    return b""


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
