"""Commands over SSH: begun, ended and lost as they are, on a real sshd."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sshd import Sshd, keygen, public, sshd
from zclab.errors import CommandError
from zclab.lab import lock
from zclab.lab.ssh_config import host_config
from zclab.model import Endpoint
from zclab.runner import SshRunner, master, wait_until
from zclab.runner import ssh as ssh_runner
from zclab.runner.far import far_command


@contextmanager
def runner_of(server: Sshd, folder: Path) -> Iterator[SshRunner]:
    """Have a runner for a server, which lets it in."""
    server.authorize(public(keygen(folder / "id")))
    (folder / "known_hosts").write_text(server.known)
    endpoint = Endpoint(
        address=server.address,
        port=server.port,
        identity_file=str(folder / "id"),
        known_hosts_file=str(folder / "known_hosts"),
    )
    (folder / "ssh_config").write_text(host_config(endpoint, users=False))
    runner = SshRunner("host", config=folder / "ssh_config", destination=server.address)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the runner be sooner sure that a connection has not ended with a command of it."""
    monkeypatch.setattr(master, "END_TIMEOUT_S", 0.1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    with sshd(tmp_path / "sshd") as started:
        yield started


@pytest.fixture
def host(server: Sshd, tmp_path: Path) -> Iterator[SshRunner]:
    with runner_of(server, tmp_path) as runner:
        yield runner


def is_there(pid: int) -> bool:
    """Tell whether a process runs, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_command_gets_its_words_and_its_input_and_gives_its_output(host: SshRunner) -> None:
    words = ("a'b", "c\nd", "e\\f", "!g", '"$HOME"', "ü", "", "*", "%s", "-n")

    assert host.run(("printf", "%s|", *words)).stdout == "|".join((*words, ""))
    assert host.run(("cat",), stdin="ß\n" * 100_000).stdout == "ß\n" * 100_000
    assert host.run(("cat",)).stdout == ""


def test_an_error_has_the_command_s_last_words(host: SshRunner) -> None:
    with pytest.raises(CommandError, match=r"host: sh -c .*: exit status 3:\n  wrong$"):
        host.run(("sh", "-c", "echo wrong >&2; exit 3"))
    with pytest.raises(CommandError, match=r"host: no-such-program: exit status 127"):
        host.run(("no-such-program",))


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize("script", ["exit 255", "kill -9 $$"])
def test_a_command_that_ends_with_ssh_s_own_status_is_not_a_lost_connection(
    host: SshRunner, script: str
) -> None:
    assert host.run(("sh", "-c", script), check=False).exit_status == 255


def test_a_guest_that_dies_before_its_command_begins_ends_the_wait(
    host: SshRunner, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has let us in already, and whoever carries its packets keeps the connection open."""
    host.connect()
    monkeypatch.setattr(ssh_runner, "ANSWER_TIMEOUT_S", 0.3)
    for pid in server.sessions():
        os.kill(pid, signal.SIGSTOP)

    with pytest.raises(CommandError, match=r"host: lost while running true: no answer within 0\.3"):
        host.run(("true",))


def test_a_command_that_never_ends_is_given_up_and_ended(host: SshRunner, tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; sleep 1000; :"

    with pytest.raises(CommandError, match=r"no end within 1 s; it was stopped"):
        host.run(("sh", "-c", script), timeout_s=1)
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_there(pid), what="the command's end", deadline_s=30)


def test_waiting_for_a_started_command_that_never_ends_is_given_up(host: SshRunner) -> None:
    process = host.start(("sleep", "1000"))

    with pytest.raises(CommandError, match=r"host: sleep 1000: no end within 0\.3 s"):
        process.wait(timeout_s=0.3)


def test_a_started_command_is_heard_and_ends_with_all_that_it_started(
    host: SshRunner, tmp_path: Path
) -> None:
    heard: list[str] = []
    script = f"sleep 1000 & echo $! > {tmp_path}/pid; echo one; wait"
    process = host.start(("sh", "-c", script), on_output=heard.append)
    wait_until(lambda: heard == ["one\n"], what="its output", deadline_s=30)

    process.stop()

    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not is_there(pid), what="its child's end", deadline_s=30)


def test_a_started_command_that_ends_gives_its_result(host: SshRunner) -> None:
    result = host.start(("sh", "-c", "echo out; echo err >&2; exit 5")).wait()

    assert (result.exit_status, result.stdout, result.stderr) == (5, "out\n", "err\n")


def test_a_held_stdin_ends_with_the_connection(host: SshRunner, tmp_path: Path) -> None:
    script = f"echo up; cat; touch {tmp_path}/ended"
    heard: list[str] = []
    process = host.start(("sh", "-c", script), on_output=heard.append, hold_stdin=True)
    wait_until(lambda: heard == ["up\n"], what="its output", deadline_s=30)
    assert not (tmp_path / "ended").exists()

    host.close()

    wait_until((tmp_path / "ended").exists, what="the end of its stdin", deadline_s=30)
    process.stop()


def test_closing_fails_who_waits_and_the_next_command_connects_again(
    host: SshRunner, tmp_path: Path
) -> None:
    def close_once_it_runs() -> None:
        wait_until((tmp_path / "runs").exists, what="the command", deadline_s=30)
        host.close()

    closer = threading.Thread(target=close_once_it_runs)
    closer.start()

    with pytest.raises(CommandError, match=r"lost while running .*: the connection ended"):
        host.run(("sh", "-c", f"touch {tmp_path}/runs; sleep 1000"), timeout_s=500)
    closer.join()
    assert host.run(("echo", "again")).stdout == "again\n"


def test_a_host_that_ends_the_connection_is_lost(host: SshRunner, server: Sshd) -> None:
    process = host.start(("sleep", "1000"))
    server.hang_up()

    with pytest.raises(CommandError, match=r"host: lost while running sleep 1000"):
        process.wait()


def test_a_run_whose_lock_went_with_the_connection_does_not_connect_again(
    host: SshRunner, server: Sshd, tmp_path: Path
) -> None:
    guest = SshRunner("guest", config=tmp_path / "none", destination="guest", gateway=host)
    with lock.held(host, ("0000:01:00.0",), folder=str(tmp_path / "locks")):
        server.hang_up()

        with pytest.raises(CommandError, match=r"lost while running|is lost"):
            host.run(("sleep", "1000"))
        for runner in (host, guest):
            with pytest.raises(CommandError, match=r"^host: the lock on NIC .* is lost: "):
                runner.run(("true",))
            with pytest.raises(CommandError, match=r"^host: the lock on NIC .* is lost: "):
                runner.connect()

    assert host.run(("echo", "next use")).stdout == "next use\n"


def test_who_closes_the_connection_can_still_undo_what_was_done(
    host: SshRunner, tmp_path: Path
) -> None:
    """The watcher does so to end a wait, when a kernel of the lab reports a bug."""
    with lock.held(host, ("0000:01:00.0",), folder=str(tmp_path / "locks")):
        host.close()

        assert host.run(("echo", "undone")).stdout == "undone\n"


def test_nothing_goes_on_at_the_other_end_when_this_process_is_killed(
    host: SshRunner, server: Sshd, tmp_path: Path
) -> None:
    """A killed controller ends no connection; that its master's stdin ends does."""
    script = (
        "import sys, time; from pathlib import Path; from zclab.runner import SshRunner;"
        f"r = SshRunner('host', config=Path({str(tmp_path / 'ssh_config')!r}), "
        "destination='127.0.0.1'); r.start(('sleep', '1000')); print('up', flush=True); "
        "time.sleep(1000)"
    )
    assert host.where == "host"  # it has written the configuration
    argv = (sys.executable, "-c", script)
    with (
        tempfile.TemporaryDirectory() as sockets,  # which a killed process cannot clear away
        subprocess.Popen(
            argv, stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": sockets}
        ) as killed,
    ):
        assert killed.stdout
        assert killed.stdout.readline() == b"up\n"
        assert server.sessions()
        killed.kill()

    wait_until(lambda: not server.sessions(), what="the connection's end", deadline_s=30)


def test_a_file_is_copied_with_its_permissions(host: SshRunner, tmp_path: Path) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "from").write_bytes(content)
    (tmp_path / "from").chmod(0o640)

    host.put(tmp_path / "from", f"{tmp_path}/t o")

    assert (tmp_path / "t o").read_bytes() == content
    assert (tmp_path / "t o").stat().st_mode & 0o777 == 0o640
    with pytest.raises(
        CommandError, match=r"(?s)cannot copy .*/from to /no/such: .*(existent|No such)"
    ):
        host.put(tmp_path / "from", "/no/such")
    with pytest.raises(CommandError, match=r"cannot copy .*/none to .*: .*No such file"):
        host.put(tmp_path / "none", f"{tmp_path}/t")


BAD_WORDS = [("true", "a\0b"), ("true", "\ud800"), ("true", "x" * 3_000_000)]


@pytest.mark.parametrize("argv", BAD_WORDS)
def test_a_command_that_cannot_be_started_is_an_error_of_a_few_lines(
    host: SshRunner, argv: tuple[str, ...]
) -> None:
    for start in (host.run, host.start):
        with pytest.raises(CommandError, match=r"^host: cannot run ") as caught:
            start(argv)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


def test_any_bytes_that_were_read_as_text_are_a_command_s_stdin(host: SshRunner) -> None:
    text = bytes(range(256)).decode(errors="surrogateescape")

    assert host.run(("od", "-An", "-v", "-tu1"), stdin=text).stdout.split() == [
        str(byte) for byte in range(256)
    ]
    with pytest.raises(CommandError, match=r"host: cannot run cat: its stdin: .*surrogates"):
        host.run(("cat",), stdin="\ud800")
    with pytest.raises(CommandError, match="cannot copy"):
        host.put(Path("a\0b"), "/none")


SHELLS = ("sh", "bash", "dash", "zsh", "fish", "tcsh")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_every_login_shell_passes_every_word_on(shell: str, words: list[str]) -> None:
    command = far_command(f"exec printf '%s\\0' {shlex.join(words)}")
    done = subprocess.run((shell, "-c", command), capture_output=True, check=True)

    assert done.stdout.split(b"\0")[:-1] == [word.encode() for word in words]


GREETING = "printf 'Welcome to lab7\\nYou have mail: '; echo 'Welcome to lab7' >&2"


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_a_greeting_and_another_login_shell_do_not_matter(tmp_path: Path, shell: str) -> None:
    login = tmp_path / "login"
    login.write_text(f'#!/bin/sh\n{GREETING}\nexec {shell} -c "$SSH_ORIGINAL_COMMAND"\n')
    login.chmod(0o755)
    with (
        sshd(tmp_path / "sshd", options=f"ForceCommand {login}") as server,
        runner_of(server, tmp_path) as host,
    ):
        heard: list[str] = []
        assert host.run(("echo", "eth0")).stdout == "eth0\n"
        assert host.run(("sh", "-c", "echo no >&2; exit 1"), check=False).stderr == "no\n"
        process = host.start(("sh", "-c", "echo $$; exec sleep 1000"), on_output=heard.append)
        wait_until(lambda: bool(heard), what="its output", deadline_s=30)
        process.stop()
        wait_until(lambda: not is_there(int(heard[0])), what="its end", deadline_s=30)


@pytest.mark.parametrize("lets_in", ["exit 1", "exit 0", "exec cat"])
def test_a_login_shell_that_runs_no_command_is_said_to(tmp_path: Path, lets_in: str) -> None:
    login = tmp_path / "login"
    login.write_text(f"#!/bin/sh\necho 'This account is not available.'\n{lets_in} < /dev/null\n")
    login.chmod(0o755)
    with (
        sshd(tmp_path / "sshd", options=f"ForceCommand {login}") as server,
        runner_of(server, tmp_path) as host,
        pytest.raises(
            CommandError,
            match=r"the login shell runs no command; it said: This account is not available\.",
        ),
    ):
        host.run(("true",))


@pytest.mark.usefixtures("stays")
def test_an_sshd_that_allows_few_sessions_is_said_to(tmp_path: Path) -> None:
    with (
        sshd(tmp_path / "sshd", options="MaxSessions 1") as server,
        runner_of(server, tmp_path) as host,
        pytest.raises(CommandError, match=r"host: cannot run true: .*low MaxSessions"),
    ):
        host.run(("true",))


SUDO = """\
printf '%s\\n' "$*" >> {folder}/sudo.log
[ "$1 $2" = "-n --" ] && shift 2 && exec "$@"
"""
USER = {"id": "case $1 in -u) echo 1000 ;; *) echo ubuntu ;; esac"}


def test_another_user_than_root_does_everything_through_sudo(tmp_path: Path) -> None:
    programs = {**USER, "sudo": SUDO.format(folder=tmp_path)}
    with (
        sshd(tmp_path / "sshd", programs=programs) as server,
        runner_of(server, tmp_path) as host,
    ):
        assert host.run(("cat",), stdin="in").stdout == "in"
        process = host.start(("sleep", "1000"))
        host.put(tmp_path / "known_hosts", f"{tmp_path}/copied")
        process.stop()

    assert (tmp_path / "copied").read_text() == server.known
    # The try when it connects, cat, sleep, the copy, and the end of sleep.
    assert len((tmp_path / "sudo.log").read_text().splitlines()) == 5


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize(
    ("sudo", "words"),
    [
        ("echo 'sudo: a password is required' >&2; exit 1", "sudo: a password is required"),
        ("exit 1", "the far shell said nothing"),
    ],
)
def test_a_user_whom_sudo_asks_for_a_password_is_one_clear_error(
    tmp_path: Path, sudo: str, words: str
) -> None:
    with (
        sshd(tmp_path / "sshd", programs={**USER, "sudo": sudo}) as server,
        runner_of(server, tmp_path) as host,
        pytest.raises(CommandError) as caught,
    ):
        host.connect()

    assert "user ubuntu is not root and `sudo -n` does not work" in str(caught.value)
    assert words in str(caught.value)
    assert "ubuntu ALL=(ALL) NOPASSWD: ALL" in str(caught.value)
