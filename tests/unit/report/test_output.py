"""Standard output that is no friendly terminal: no traceback, and no mark that means another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zclab.judge.simulated import SimulatedRun
from zclab.runs.store import RESULTS_FILE

ROOT = Path(__file__).parents[3]


@pytest.fixture
def argv(tmp_path: Path) -> str:
    """Return a shell command that reports on a run which is better and worse."""
    run = SimulatedRun()
    figures = {"throughput_mbps": 400.0, "service_demand_us_per_kb": 10.0}
    worse = {"throughput_mbps": 200.0, "service_demand_us_per_kb": 5.0}
    run.boots({"vhost": figures, "zerocopy": worse}, boots=6)
    (tmp_path / RESULTS_FILE).write_text(run.results.model_dump_json(by_alias=True))
    return f"{sys.executable} -m invoke report {tmp_path}"


def sh(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ("bash", "-c", command),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_marks_are_told_apart_in_an_encoding_that_has_none(argv: str) -> None:
    done = sh(argv, PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, "")
    assert "0.50xv" in done.stdout
    assert "^ better, v worse, = the same, ? undecided" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("redirection", "status", "says"),
    [
        ("> /dev/full", 3, "error: cannot write to stdout: No space left on device\n"),
        (">&-", 3, "error: cannot write to stdout: it is closed\n"),
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)
def test_output_that_nobody_can_take_ends_without_a_traceback(
    argv: str, redirection: str, status: int, says: str
) -> None:
    done = sh(f"{argv} {redirection}")

    assert (done.returncode, done.stderr) == (status, says)
