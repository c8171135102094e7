"""Commands over SSH to a machine that stops answering: every wait has an end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest

from zclab.errors import CommandError
from zclab.lab.keys import KeyPair
from zclab.runner import SshRunner
from zclab.runner import ssh as ssh_runner


class _Guest(paramiko.ServerInterface):
    """Lets everyone in, and then either dies with the first command or lets it run for ever."""

    def __init__(self, *, dies: bool) -> None:
        self.dies = dies
        self.end = threading.Event()

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002 - paramiko's protocol
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self.dies:
            self.end.wait()
        elif command.startswith(b"echo $$"):
            channel.sendall(b"4711\n")
        return True


@contextmanager
def guest(tmp_path: Path, *, dies: bool) -> Iterator[SshRunner]:
    host_key, user_key = paramiko.RSAKey.generate(2048), KeyPair.generate(None, "user")
    identity = tmp_path / "identity"
    identity.write_bytes(user_key.openssh)
    identity.chmod(0o600)
    server = _Guest(dies=dies)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} ssh-rsa {host_key.get_base64()}\n")
        transports: list[paramiko.Transport] = []

        def serve() -> None:
            transport = paramiko.Transport(listener.accept()[0])
            transports.append(transport)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=server)

        threading.Thread(target=serve, daemon=True).start()
        runner = SshRunner(
            "guest", address="127.0.0.1", port=port, identity=identity, known_hosts=known_hosts
        )
        try:
            runner.connect()
            yield runner
        finally:
            runner.close()
            server.end.set()
            for transport in transports:
                transport.close()


def test_a_guest_that_dies_before_its_command_begins_ends_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has let us in already, and whoever carries its packets keeps the connection open."""
    monkeypatch.setattr(ssh_runner, "ANSWER_TIMEOUT_S", 0.3)

    with (
        guest(tmp_path, dies=True) as runner,
        pytest.raises(CommandError, match=r"guest: lost while running true: no answer within 0\.3"),
    ):
        runner.run(("true",))


def test_a_command_that_never_ends_is_given_up(tmp_path: Path) -> None:
    with (
        guest(tmp_path, dies=False) as runner,
        pytest.raises(CommandError, match=r"guest: nc -l: no end within 0\.3 s"),
    ):
        runner.run(("nc", "-l"), timeout_s=0.3)


def test_waiting_for_a_started_command_that_never_ends_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_runner, "STOP_DEADLINE_S", 0.1)

    with guest(tmp_path, dies=False) as runner:
        process = runner.start(("nc", "-l"))
        with pytest.raises(CommandError, match=r"guest: nc -l: no end within 0\.3 s"):
            process.wait(timeout_s=0.3)
