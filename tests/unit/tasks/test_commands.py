"""How a task ends."""

import os
import signal
import time
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from zclab.errors import INTERRUPTED
from zclab.report.output import out
from zclab.tasks.cli import explained
from zclab.tasks.labs import ssh_argv


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


def test_without_a_command_ssh_logs_in() -> None:
    assert ssh_argv(Path("/lab"), "zclab-guest", "") == ("/lab/ssh", "zclab-guest")
