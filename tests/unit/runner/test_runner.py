"""Running commands on this machine, in a network namespace, and waiting on conditions."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from zclab.errors import CommandError
from zclab.runner import LocalRunner, NetnsRunner, Result, local, read_text, wait_until, write_text
from zclab.runner.fake import FakeRunner


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # A killed process stays as a zombie until it is waited for.
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False


def pid_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text() != "", what="pid", deadline_s=5)
    return int(file.read_text())


def test_a_command_gets_its_stdin_and_returns_both_outputs() -> None:
    result = LocalRunner().run(("sh", "-c", "cat; echo oops >&2"), stdin="hello")

    assert (result.exit_status, result.stdout, result.stderr) == (0, "hello", "oops\n")


def test_arguments_reach_the_command_unquoted_and_whole() -> None:
    argument = "two words; $HOME 'and' \"quotes\""

    assert LocalRunner().run(("printf", "%s", argument)).stdout == argument


def test_a_failing_command_says_where_what_and_its_last_words() -> None:
    with pytest.raises(CommandError) as caught:
        LocalRunner("lab").run(("sh", "-c", "echo broken >&2; exit 3"))

    assert str(caught.value) == "lab: sh -c 'echo broken >&2; exit 3': exit status 3:\n  broken"


def test_an_unchecked_failure_is_a_result() -> None:
    result = LocalRunner().run(("false",), check=False)

    assert result == Result(where="localhost", argv=("false",), exit_status=1, stdout="", stderr="")


def test_a_missing_command_is_named() -> None:
    with pytest.raises(CommandError, match="localhost: no-such-command: not installed"):
        LocalRunner().run(("no-such-command",))


HOST = LocalRunner("host")
BAD_WORDS = [("true", "a\0b"), ("true", "\ud800"), ("true", "x" * 3_000_000), ("/",)]


@pytest.mark.parametrize("argv", BAD_WORDS)
def test_a_command_that_cannot_be_started_is_an_error_of_a_few_lines(argv: tuple[str, ...]) -> None:
    for start in (HOST.run, HOST.start):
        with pytest.raises(CommandError, match=r"^host: cannot run ") as caught:
            start(argv)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


def test_any_bytes_that_were_read_as_text_are_a_command_s_stdin() -> None:
    text = bytes(range(256)).decode(errors="surrogateescape")

    assert HOST.run(("od", "-An", "-v", "-tu1"), stdin=text).stdout.split() == [
        str(byte) for byte in range(256)
    ]
    with pytest.raises(CommandError, match=r"host: cannot run cat: its stdin: .*surrogates"):
        HOST.run(("cat",), stdin="\ud800")


def test_a_command_that_outlives_its_deadline_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"

    with pytest.raises(CommandError, match=r"no end within 0\.5 s"):
        LocalRunner().run(
            ("sh", "-c", 'echo $$ > "$0"; exec sleep 60', str(pid_file)), timeout_s=0.5
        )

    assert not alive(pid_in(pid_file))


def test_a_started_command_hands_on_its_output_and_its_result() -> None:
    heard: list[str] = []

    result = LocalRunner().start(("echo", "a b"), on_output=heard.append).wait()

    assert "".join(heard) == "a b\n"
    assert result.exit_status == 0


def test_a_started_command_can_be_stopped(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    process = LocalRunner().start(("sh", "-c", 'echo $$ > "$0"; exec sleep 60', str(pid_file)))
    pid = pid_in(pid_file)

    process.stop()

    wait_until(lambda: not alive(pid), what="end of sleep", deadline_s=5)
    assert not process.wait().ok


DAEMON = 'setsid sleep 60 & echo $! >> "$0"; '
"""It is in no session that ends with its caller's, and has its caller's outputs."""


@pytest.fixture
def daemons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have a file for the PIDs of daemons, which end with the test."""
    monkeypatch.setattr(local, "STOP_DEADLINE_S", 0.5)
    yield tmp_path / "daemons"
    for pid in (tmp_path / "daemons").read_text().split():
        os.kill(int(pid), signal.SIGKILL)


def test_a_wait_ends_in_time_whoever_keeps_the_outputs_open(daemons: Path) -> None:
    argv = ("sh", "-c", DAEMON, str(daemons))
    start = time.monotonic()

    with pytest.raises(CommandError, match=r"no end within 0\.5 s"):
        LocalRunner().start(argv).wait(timeout_s=0.5)
    with pytest.raises(CommandError, match=r"no end within 0\.5 s"):
        LocalRunner().run(argv, timeout_s=0.5)

    assert time.monotonic() - start < 30


def test_a_stop_ends_in_time_whoever_keeps_the_outputs_open(daemons: Path) -> None:
    process = LocalRunner().start(("sh", "-c", f"{DAEMON} exec sleep 60", str(daemons)))
    daemon = pid_in(daemons)
    wait_until(lambda: os.getsid(daemon) == daemon, what="its own session", deadline_s=5)
    start = time.monotonic()

    process.stop()

    assert time.monotonic() - start < 30


def test_put_copies_a_file(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"\x00data")

    LocalRunner().put(tmp_path / "here", str(tmp_path / "there"))

    assert (tmp_path / "there").read_bytes() == b"\x00data"
    for bad in (tmp_path / "none", Path("a\0b")):
        with pytest.raises(CommandError, match=r"^localhost: cannot copy .* to /there: "):
            LocalRunner().put(bad, "/there")


def test_write_text_and_read_text_are_each_other_s_inverse(tmp_path: Path) -> None:
    path = str(tmp_path / "a file")
    text = "one\ntwo $(three)"

    write_text(LocalRunner(), path, text)

    assert read_text(LocalRunner(), path) == text


def test_a_namespace_s_runner_enters_it_and_says_so() -> None:
    with FakeRunner("host") as host:
        host.expect(("ip", "netns", "exec", "peer", "ss", "-tn"), stdin="in", stdout="out")

        peer = NetnsRunner(host, "peer")

        assert peer.where == "host/peer"
        assert peer.run(("ss", "-tn"), stdin="in").stdout == "out"


def test_waiting_ends_with_its_condition() -> None:
    answers = iter((False, False, True))

    wait_until(lambda: next(answers), what="third answer", deadline_s=5, interval_s=0)

    assert list(answers) == []


def test_waiting_without_success_says_for_what() -> None:
    start = time.monotonic()

    with pytest.raises(CommandError, match=r"no success within 0\.2 s: netserver on peer"):
        wait_until(lambda: False, what="netserver on peer", deadline_s=0.2, interval_s=0.01)

    assert time.monotonic() - start >= 0.2


def test_a_fake_runner_rejects_what_was_not_planned() -> None:
    host = FakeRunner()
    host.expect(("true",))

    with pytest.raises(AssertionError, match=r"unplanned: \('false',\)"):
        host.run(("false",))


def test_a_fake_runner_misses_what_was_planned() -> None:
    with (
        pytest.raises(AssertionError, match=r"never run:\n  \('true',\)"),
        FakeRunner() as host,
    ):
        host.expect(("true",))


def test_a_fake_runner_checks_like_a_real_one() -> None:
    host = FakeRunner()
    host.expect(("false",), exit_status=1, stderr="no\n")

    with pytest.raises(CommandError, match="host: false: exit status 1:\n  no"):
        host.run(("false",))
