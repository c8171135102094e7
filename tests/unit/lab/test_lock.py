"""One use of a NIC at a time: real locks, of real processes, on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zclab.errors import CommandError, LabError
from zclab.lab import lock
from zclab.runner import LocalRunner, wait_until
from zclab.runner.fake import FakeRunner

NIC, OTHER = "0000:01:00.0", "0000:02:00.0"

HOLD = """
import sys, time
from zclab.lab import lock
from zclab.runner import LocalRunner
with lock.held(LocalRunner("host"), sys.argv[2:], folder=sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def somebody_else(folder: Path, *nics: str) -> Iterator[None]:
    """Have another zclab hold locks until it is killed, which is at the end of this."""
    argv = (sys.executable, "-c", HOLD, str(folder), *nics)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.kill()


def free(folder: Path, *nics: str) -> bool:
    try:
        lock.check_free(LocalRunner("host"), nics, folder=str(folder))
    except LabError:
        return False
    return True


def test_a_nic_in_use_is_refused_with_who_has_it_from_where_and_since_when(tmp_path: Path) -> None:
    with (
        lock.held(LocalRunner("host"), (NIC,), folder=str(tmp_path)),
        pytest.raises(LabError) as caught,
        lock.held(LocalRunner("host"), (OTHER, NIC), folder=str(tmp_path)),
    ):
        pass

    text = str(caught.value)
    assert text.startswith(f"host: NIC {NIC} is in use by {lock.owner()} since 20")
    assert "held by process " in text
    assert "wait until it ends" in text


def test_a_look_at_a_nic_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "locks"
    lock.check_free(LocalRunner("host"), (NIC,), folder=str(folder))
    assert not folder.exists()

    with (
        lock.held(LocalRunner("host"), (NIC,), folder=str(folder)),
        pytest.raises(LabError, match=f"NIC {NIC} is in use by .* since 20"),
    ):
        lock.check_free(LocalRunner("host"), (OTHER, NIC), folder=str(folder))


def test_a_lock_goes_with_the_use(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.held(LocalRunner("host"), (NIC, OTHER), folder=str(tmp_path)):
            assert not free(tmp_path, NIC)
            assert not free(tmp_path, OTHER)

    assert free(tmp_path, NIC, OTHER)


def test_a_refused_use_keeps_no_lock(tmp_path: Path) -> None:
    with lock.held(LocalRunner("host"), (OTHER,), folder=str(tmp_path)):
        with (
            pytest.raises(LabError, match=f"NIC {OTHER} is in use"),
            lock.held(LocalRunner("host"), (NIC, OTHER), folder=str(tmp_path)),
        ):
            pass

        assert free(tmp_path, NIC)


def test_two_nics_of_one_host_are_held_side_by_side(tmp_path: Path) -> None:
    with (
        lock.held(LocalRunner("host"), (NIC,), folder=str(tmp_path)),
        lock.held(LocalRunner("host"), (OTHER,), folder=str(tmp_path)),
    ):
        assert not free(tmp_path, NIC)
        assert not free(tmp_path, OTHER)


def test_a_dead_owner_keeps_no_lock(tmp_path: Path) -> None:
    """Killed, it undoes nothing: what holds the lock notices that nobody is there any more."""
    with somebody_else(tmp_path, NIC):
        assert not free(tmp_path, NIC)

    wait_until(lambda: free(tmp_path, NIC), what="the lock to be free", deadline_s=20)


def test_a_run_whose_lock_is_lost_runs_no_further_command(tmp_path: Path) -> None:
    host = LocalRunner("host")
    with lock.held(host, (NIC,), folder=str(tmp_path)):
        said = (tmp_path / f"{NIC}.lock").read_text()
        os.kill(int(said.split("held by process ")[1].split()[0]), signal.SIGKILL)
        wait_until(lambda: free(tmp_path, NIC), what="the lock to be free", deadline_s=20)

        with pytest.raises(CommandError, match=rf"^host: the lock on NIC {NIC} is lost: "):
            wait_until(lambda: not host.run(("true",)), what="its end", deadline_s=20)
        with pytest.raises(CommandError, match="is lost"):
            host.start(("true",))

    assert host.run(("echo", "next")).stdout == "next\n"


def test_a_machine_without_flock_is_no_machine_whose_nic_is_in_use(tmp_path: Path) -> None:
    for name in ("sh", "mkdir", "date", "cat"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    bare = LocalRunner("host")
    argv = ("env", f"PATH={tmp_path}", "sh", "-c", lock._HOLD, str(tmp_path / "locks"), "me", NIC)

    done = bare.run(argv, check=False)

    assert lock._TAKEN not in done.stdout
    assert "flock" in done.stderr


def test_what_a_greeting_says_is_no_owner() -> None:
    taken = f"Welcome to lab7\ntaken {NIC}\nsays: bob@ctl (PID 7, `invoke`) since 2026\nrefused\n"
    with FakeRunner() as host:
        argv = ("sh", "-c", lock._HOLD, lock.FOLDER, lock.owner(), NIC)
        host.expect(argv, stdout=taken, exit_status=75)
        with (
            pytest.raises(LabError, match=rf"^host: NIC {NIC} is in use by bob@ctl .* 2026; wait"),
            lock.held(host, (NIC,)),
        ):
            pass


@pytest.mark.parametrize("said", ["held\n", "refused\n", "taken 0000:09:00.0", "", "x" * 5000])
def test_what_a_lock_s_file_has_is_no_answer(tmp_path: Path, said: str) -> None:
    host = LocalRunner("host")
    with lock.held(host, (NIC,), folder=str(tmp_path)):
        (tmp_path / f"{NIC}.lock").write_text(said)
        shown = said.strip()[: lock.SHOWN] or "an unknown owner"

        with (
            pytest.raises(LabError, match=f"NIC {NIC} is in use by {shown}; wait"),
            lock.held(host, (NIC,), folder=str(tmp_path)),
        ):
            pass
        with pytest.raises(LabError, match=f"NIC {NIC} is in use by {shown}; wait"):
            lock.check_free(host, (NIC,), folder=str(tmp_path))


def test_a_lock_that_is_a_link_is_refused_and_not_written_through(tmp_path: Path) -> None:
    host = LocalRunner("host")
    (tmp_path / "shadow").write_text("precious")
    (tmp_path / f"{NIC}.lock").symlink_to("shadow")

    with (
        pytest.raises(CommandError, match=rf"{NIC}\.lock is a symbolic link, and no lock; remove"),
        lock.held(host, (NIC,), folder=str(tmp_path)),
    ):
        pass
    with pytest.raises(CommandError, match="is a symbolic link"):
        lock.check_free(host, (NIC,), folder=str(tmp_path))
    assert (tmp_path / "shadow").read_text() == "precious"


def test_a_folder_that_cannot_be_written_is_an_error_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with (
        pytest.raises(CommandError, match="file"),
        lock.held(LocalRunner("host"), (NIC,), folder=str(tmp_path / "file")),
    ):
        pass


def test_what_a_lock_says_is_one_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/invoke", "run-bench", "--out=a\nb\x1b[2J"])

    assert "\n" not in lock.owner()
    assert "\x1b" not in lock.owner()
    assert "`invoke run-bench" in lock.owner()
