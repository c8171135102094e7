"""Units as the results name them.

Rates are decimal (1 Mb/s = 10^6 bit/s, as netperf and NIC vendors count); sizes and service
demand are binary (1 KB = 1024 bytes, as netperf's service demand counts).
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

NS_PER_US = 1_000
NS_PER_S = 1_000_000_000


def us_per_kb(cpu_ns: float, byte_count: float) -> float:
    """Return a service demand: microseconds of CPU time for each 1024 bytes moved."""
    return cpu_ns / NS_PER_US / (byte_count / KIB)


def format_bytes(count: float) -> str:
    """Return ``count`` bytes for people, in binary multiples: ``1536`` is ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < KIB:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= KIB
    return f"{count:.1f} GiB"


def format_duration(seconds: float) -> str:
    """Return a duration for people: ``75.2`` is ``1:15``, ``3.25`` is ``3.2 s``."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
