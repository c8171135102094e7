"""The pages of the host that a guest has for its memory, and how much was written to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from zclab.errors import ParseError
from zclab.outside import quoted, whole_number
from zclab.runner import Runner

PAGE_BYTES = 4096
MOST_PAGES = 1 << 24
"""Of the largest guest that a lab file may have, 64 GiB."""

Span = tuple[int, int]
"""The first and the last byte of something in the host's memory, as addresses."""

# Print the ranges of physical pages, first and last, behind a process's largest mapping, which is
# the guest's memory. In an entry of pagemap, bit 63 says present, bits 0 to 54 are the page
# (Documentation/admin-guide/mm/pagemap.rst).
_PAGES = """
import struct, sys
pid = sys.argv[1]
spans = [line.split()[0].split("-") for line in open(f"/proc/{pid}/maps")]
start, end = max(((int(a, 16), int(b, 16)) for a, b in spans), key=lambda s: s[1] - s[0])
with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
    pagemap.seek(start // 4096 * 8)
    data = pagemap.read((end - start) // 4096 * 8)
pages = sorted(e & (1 << 55) - 1 for (e,) in struct.iter_unpack("Q", data) if e >> 63)
first = last = None
for page in pages:
    if last is None or page != last + 1:
        if last is not None:
            print(first, last)
        first = page
    last = page
print(first, last)
"""


def pages_of(host: Runner, qemu_pid: int) -> set[int]:
    """Return the numbers of the host's pages that a guest has for its memory at present.

    It takes root: others are shown no numbers. Raises CommandError where the guest has ended.
    """
    return parse(host.run(("python3", "-c", _PAGES, str(qemu_pid))).stdout)


def parse(text: str) -> set[int]:
    """Return the numbers of all pages in lines of the first and the last of a range: ``32 4095``.

    Raises ParseError for anything else, and for more pages than a guest can have.
    """
    pages: set[int] = set()
    for line in text.splitlines():
        first, _, last = line.partition(" ")
        what = f"the guest's pages: {quoted(line)}"
        span = range(whole_number(first, what), whole_number(last, what) + 1)
        if len(pages) + span.stop - span.start > MOST_PAGES:
            raise ParseError(f"{what}: more than {MOST_PAGES} pages")
        pages.update(span)
    return pages


def bytes_within(spans: Iterable[Span], pages: Collection[int]) -> int:
    """Return how many bytes of spans are in pages; a span that is so only in part counts none."""
    return sum(
        last - first + 1
        for first, last in spans
        if first // PAGE_BYTES in pages and last // PAGE_BYTES in pages
    )
