"""Accounts of instructions, from what the plugin wrote about tests/data/account/init.c."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zclab.errors import ParseError
from zclab.host.cpu import Roles
from zclab.virtualtime.account import Exit, between, parse, window

DATA = Path(__file__).parents[2] / "data/account"
MARKS = (DATA / "marks.jsonl").read_text()
INIT = Roles(qemu_pid=1, nic=None)


def test_marks_are_read_in_their_order() -> None:
    marks = parse(MARKS)

    assert [mark.mark for mark in marks] == ["faulted", "forked", "guest", "guest-end"]
    assert marks[-1].insns == 725_157_610
    assert marks[-1].idle_ns == 23_650_969


def test_a_window_is_the_difference_of_two_marks() -> None:
    guest = window(parse(MARKS), "guest", "guest-end")

    assert guest.insns == 243_451
    assert guest.idle_ns == 0
    assert guest.elapsed_ns == 243_451


def test_components_sum_to_the_window() -> None:
    guest = window(parse(MARKS), "guest", "guest-end")

    components = guest.components(INIT)

    assert sum(components.values()) == guest.insns
    assert {name: insns for name, insns in components.items() if insns} == {
        "guest": 51,
        "kvm": 236_498,
        "qemu": 3_050,
        "interrupts": 3_852,
    }


def test_a_process_that_runs_no_guest_is_not_kvm() -> None:
    forked = window(parse(MARKS), "faulted", "forked")

    components = forked.components(Roles(qemu_pid=4711, nic=None))

    assert components["kvm"] == components["qemu"] == components["guest"] == 0
    assert components["rest"] == forked.insns - components["interrupts"]


def test_exits_are_counted_by_reason() -> None:
    exits = window(parse(MARKS), "guest", "guest-end").exits()

    assert exits == {
        "io": Exit(code=0x7B, count=50, kernel=134_382, user=1_750),
        "hlt": Exit(code=0x78, count=1, kernel=2_521, user=52),
        "npf": Exit(code=0x400, count=1, kernel=3_728, user=0),
    }


def test_a_thread_that_started_in_the_window_counts_from_its_start() -> None:
    before, after = parse(MARKS)[:2]
    child = next(
        context for context in after.contexts if context.comm == "init" and context.pid > 1
    )
    without = before.model_copy(
        update={"contexts": tuple(c for c in before.contexts if c.pid != child.pid)}
    )

    assert child in between(without, after).contexts


def test_a_mark_that_was_never_reached_is_named() -> None:
    with pytest.raises(ParseError, match="no mark 'end': the run did not get there"):
        window(parse(MARKS), "guest", "end")


def test_accounts_that_do_not_sum_up_are_rejected() -> None:
    record = json.loads(MARKS.splitlines()[0])
    record["contexts"][0]["kernel"] += 1

    with pytest.raises(
        ParseError, match="mark 'faulted': the accounts sum to 721208645 of 721208644"
    ):
        parse(json.dumps(record))


def test_a_torn_line_is_named() -> None:
    first, second = MARKS.splitlines()[:2]

    with pytest.raises(ParseError, match="line 2 is not a mark"):
        parse(f"{first}\n{second[:-9]}")
