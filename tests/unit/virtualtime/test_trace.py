"""Where two traces part."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.errors import ParseError
from zclab.virtualtime.trace import Event, compare, compare_files

TRACE = (
    "5402108211 1230000 thread 212 vhost-207\n",
    "5402108533 1230000 exit 0x400\n",
    "5402109001 1230000 interrupt asm_sysvec_apic_timer_interrupt\n",
    "5402109410 1230000 interrupt-end\n",
    "5402111000 1230000 thread 0 swapper/0\n",
)


def test_equal_traces_do_not_part() -> None:
    compared = compare(TRACE, TRACE)

    assert compared.events == len(TRACE)
    assert compared.parting is None


def test_a_trace_may_end_before_the_other() -> None:
    """Whoever runs a machine ends it once it has said what it was asked, at no exact instant."""
    assert compare(TRACE, TRACE[:3]).parting is None


def test_the_first_line_that_differs_is_where_they_part() -> None:
    other = (*TRACE[:2], "5402109007 1230000 interrupt asm_common_interrupt\n", *TRACE[3:])

    parting = compare(TRACE, other).parting

    assert parting is not None
    assert parting.number == 2
    assert parting.thread == "thread 212 vhost-207"
    assert str(parting) == (
        "they first differ at event 2, in thread 212 vhost-207:\n"
        "  both:   instruction 5,402,108,211 at 5.403338211 s: thread 212 vhost-207\n"
        "  both:   instruction 5,402,108,533 at 5.403338533 s: exit 0x400\n"
        "  first:  instruction 5,402,109,001 at 5.403339001 s: "
        "interrupt asm_sysvec_apic_timer_interrupt\n"
        "  second: instruction 5,402,109,007 at 5.403339007 s: interrupt asm_common_interrupt"
    )


def test_what_is_no_trace_is_an_error() -> None:
    with pytest.raises(ParseError, match="not a line of a trace: 'x y z"):
        Event.of("x y z\n")


def test_files_are_compared(tmp_path: Path) -> None:
    for name, lines in (("one", TRACE), ("other", (*TRACE[:4], "5402111000 1230007 user\n"))):
        (tmp_path / name).write_text("".join(lines))

    compared = compare_files(tmp_path / "one", tmp_path / "other")

    assert compared.events == 4
    assert compared.parting is not None
    assert compared.parting.other.what == "user"
