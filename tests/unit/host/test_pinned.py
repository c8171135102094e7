"""The kernel's own count of pinned pages."""

import pytest

from zclab.errors import ParseError
from zclab.host.pinned import parse_pinned_pages

VMSTAT = "nr_free_pages 17\nnr_foll_pin_acquired 1300\nnr_foll_pin_released 1290\n"


def test_what_was_not_released_is_pinned() -> None:
    assert parse_pinned_pages(VMSTAT) == 10


def test_counts_that_were_read_one_after_the_other_are_never_less_than_none() -> None:
    assert parse_pinned_pages(VMSTAT.replace("1290", "1302")) == 0


@pytest.mark.parametrize("text", ["", "nr_foll_pin_acquired 1\n", VMSTAT.replace("1290", "-")])
def test_a_kernel_that_does_not_count_is_an_error(text: str) -> None:
    with pytest.raises(ParseError, match="nr_foll_pin"):
        parse_pinned_pages(text)
