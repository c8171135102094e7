"""How a task ends."""

import os
import signal
import time

import pytest
from invoke.exceptions import Exit

from zclab.commands import explained
from zclab.errors import INTERRUPTED


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
