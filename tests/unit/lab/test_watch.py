"""Watching consoles: what ends the use of a lab, and what is told later."""

from __future__ import annotations

import threading
from pathlib import Path

from zclab.lab.watch import Watcher
from zclab.runner import wait_until

HANG = "[   41.9] igb 0000:01:00.0: Detected Tx Unit Hang\n"
FAULT = "[   42.0] DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7ffdc000 []\n"


def test_a_page_that_was_given_back_too_early_ends_the_use() -> None:
    ended = threading.Event()
    watcher = Watcher(abort=ended.set)

    watcher.sink("host")(FAULT)

    assert ended.wait(30)
    assert "the kernel of the host reported: DMAR: [DMA Write" in str(watcher.error())


def test_a_nic_that_hangs_does_not_end_the_use_and_is_told_once() -> None:
    watcher = Watcher(abort=lambda: None)
    watcher.sink("host")(HANG)
    watcher.sink("guest in mode vhost")(HANG * 2)

    told = [(where, str(notice)) for where, notice in watcher.taken()]

    assert told == [
        ("host", "igb 0000:01:00.0: Detected Tx Unit Hang"),
        ("guest in mode vhost", "igb 0000:01:00.0: Detected Tx Unit Hang (2 times)"),
    ]
    assert watcher.error() is None
    assert watcher.taken() == ()


def test_what_a_console_said_before_this_use_began_is_not_told_again(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(HANG * 3)
    watcher = Watcher(abort=lambda: None)
    told: list[str] = []

    def tell() -> bool:
        told.extend(str(notice) for _, notice in watcher.taken())
        return bool(told)

    with watcher.following("host", console):
        with console.open("a") as file:
            file.write("[   50.0] net_ratelimit: 1 callbacks suppressed\n")
        wait_until(tell, what="something to be told", deadline_s=30)

    assert told == ["net_ratelimit: 1 callbacks suppressed"]


def test_a_followed_console_counts_up_to_the_moment_of_asking(tmp_path: Path) -> None:
    """What was said at a trial's end is that trial's, not the next one's."""
    console = tmp_path / "console.log"
    console.write_text("")
    watcher = Watcher(abort=lambda: None)

    with watcher.following("host", console):
        for _ in range(5):
            with console.open("a") as file:
                file.write(HANG)
            assert [str(notice) for _, notice in watcher.taken()] == [HANG[10:-1]]
        with console.open("a") as file:
            file.write(FAULT)
        assert watcher.error() is not None


def test_a_kernel_that_broke_before_this_use_began_ends_it(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    console.write_text(FAULT)
    ended = threading.Event()

    with Watcher(abort=ended.set).following("host", console):
        assert ended.wait(30)


def test_a_report_ends_the_connections_to_both_of_two_hosts() -> None:
    ended: list[str] = []
    watcher = Watcher(abort=lambda: ended.append("first"))
    with watcher.aborting(lambda: ended.append("second")):
        watcher._end()

    assert ended == ["first", "second"]
    watcher._end()
    assert ended == ["first", "second", "first"]
