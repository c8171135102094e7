"""Conversions, and how numbers are shown to people."""

from __future__ import annotations

import pytest

from zclab.units import format_bytes, format_duration, us_per_kb


def test_service_demand_counts_1024_bytes_as_a_kb() -> None:
    assert us_per_kb(cpu_ns=3_000_000, byte_count=2048) == 1500.0


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.0 GiB")],
)
def test_bytes_are_shown_in_binary_multiples(count: int, shown: str) -> None:
    assert format_bytes(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(3.25, "3.2 s"), (59.9, "59.9 s"), (75.2, "1:15"), (3600, "1:00:00"), (3725.4, "1:02:05")],
)
def test_durations_are_shown_as_on_a_clock(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown
