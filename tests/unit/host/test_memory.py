"""What of the NIC's writes is in a guest's pages."""

from zclab.host.memory import PAGE_BYTES, bytes_within


def test_a_span_counts_if_all_of_it_is_in_the_pages() -> None:
    pages = {2, 3, 7}
    inside = (2 * PAGE_BYTES + 100, 2 * PAGE_BYTES + 199)
    across = (3 * PAGE_BYTES - 1, 3 * PAGE_BYTES)
    leaving = (4 * PAGE_BYTES - 1, 4 * PAGE_BYTES)
    outside = (5 * PAGE_BYTES, 5 * PAGE_BYTES + 1)

    assert bytes_within([inside], pages) == 100
    assert bytes_within([inside, across, leaving, outside], pages) == 102
    assert bytes_within([], pages) == 0
