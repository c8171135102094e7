"""How a task ends."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import paramiko
import pytest
from invoke.exceptions import Exit

from zclab.commands import explained, out, ssh_argv
from zclab.errors import INTERRUPTED
from zclab.lab.access import write_access
from zclab.lab.keys import KeyPair
from zclab.model import Endpoint


def test_sigterm_ends_a_task_as_ctrl_c_does() -> None:
    """What it began is cleared away, and it says that it was interrupted."""
    cleared = []

    @explained
    def task() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            cleared.append("lab")

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.raises(Exit, match="interrupted") as caught:
            task()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)

    assert caught.value.code == INTERRUPTED
    assert cleared == ["lab"]


def test_what_users_wrote_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out.print("results: runs/[/x] [bold] :smile:")

    assert capsys.readouterr().out == "results: runs/[/x] [bold] :smile:\n"


class _Host(paramiko.ServerInterface):
    """Lets everyone in and keeps the command that it is to run."""

    command = b""

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002 - paramiko's protocol
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.command = command

        def end() -> None:
            channel.send_exit_status(0)
            channel.close()

        threading.Timer(0.1, end).start()
        return True


@pytest.mark.parametrize(
    "command", ["grep 'a  b' f", "echo it's", "-V", 'a "$b" `c` \\', "two\nlines", " ", "ü"]
)
def test_a_command_reaches_the_far_shell_as_it_was_typed(command: str, tmp_path: Path) -> None:
    key, user = paramiko.RSAKey.generate(2048), KeyPair.generate(None, "user")
    (tmp_path / "identity").write_bytes(user.openssh)
    (tmp_path / "identity").chmod(0o600)
    host = _Host()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} ssh-rsa {key.get_base64()}\n")
        write_access(
            tmp_path,
            Endpoint(
                address="127.0.0.1",
                port=port,
                identity_file=str(tmp_path / "identity"),
                known_hosts_file=str(known_hosts),
            ),
        )
        argv = ssh_argv(tmp_path / "ssh_config", command, guest=False)
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as client:
            transport = paramiko.Transport(listener.accept()[0])
            transport.add_server_key(key)
            transport.start_server(server=host)
            status = client.wait(60)
            transport.close()

    assert (status, host.command.decode()) == (0, command)


def test_without_a_command_ssh_logs_in() -> None:
    argv = ssh_argv(Path("/lab/ssh_config"), "", guest=True)

    assert argv == ("ssh", "-F", "/lab/ssh_config", "guest")
