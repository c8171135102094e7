"""How much of a host's memory is pinned for devices, by the kernel's own count."""

from __future__ import annotations

from zclab.outside import whole_number
from zclab.runner import Runner, read_text

VMSTAT = "/proc/vmstat"


def pinned_pages(runner: Runner) -> int:
    """Return how many pages are pinned (FOLL_PIN) now."""
    return parse_pinned_pages(read_text(runner, VMSTAT))


def parse_pinned_pages(text: str) -> int:
    """Parse /proc/vmstat, lines of ``nr_foll_pin_acquired 130``; what was not released is pinned.

    The two are counted by CPU and read one after the other: while pages come and go, the difference
    is off by a few, and may be negative.
    """
    values = dict(line.split()[:2] for line in text.splitlines() if len(line.split()) > 1)
    acquired, released = (
        whole_number(values.get(f"nr_foll_pin_{name}", ""), f"{VMSTAT}: nr_foll_pin_{name}")
        for name in ("acquired", "released")
    )
    return max(0, acquired - released)
