"""What is shown of what programs and kernels left: its end, and no more than can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.logs import LONGEST_LINE, last_lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"one", ["one"]),
        (b"one\r\ntwo\n", ["one", "two"]),
        (b"one\ntwo\nthree\n", ["two", "three"]),
        (b"\xff\0\n" * 100_000, ["\ufffd\0"] * 2),
        (b"x" * 1_000_000, ["x" * LONGEST_LINE + "\u2026"]),
        (b"x" * 1_000_000 + b"\nthe end\n", ["x" * LONGEST_LINE + "\u2026", "the end"]),
    ],
)
def test_a_log_s_last_lines_fit_whatever_filled_it(
    content: bytes, lines: list[str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)

    assert last_lines(log, 2) == lines


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "log", 2) == []
