"""A run that is killed in its middle is gone on with, and comes to what it would have come to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zclab.runner import wait_until
from zclab.runs.results import Results
from zclab.runs.store import RESULTS_FILE, load

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PLAN = ("--clock=virtual", "--mode=vhost", "--workload=TCP_RR", "--repetitions=4", "--jobs=1")
FRESH = "--fresh"
TRIALS = 4


def run_bench(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "invoke", "run-bench", *options)


def finished(*options: str) -> None:
    done = subprocess.run(
        run_bench(*options), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def killed(path: Path, *, after: int) -> Results:
    """Begin a run and kill it, with all it started, once some of its trials are stored."""

    def stored() -> int:
        return len(load(path).trials) if (path / RESULTS_FILE).exists() else 0

    with subprocess.Popen(
        run_bench(*PLAN, FRESH, f"--out={path}"), cwd=ROOT, start_new_session=True
    ) as process:
        try:
            wait_until(
                lambda: stored() >= after or process.poll() is not None,
                what=f"{after} trials to be stored",
                deadline_s=900,
            )
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    return load(path)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The whole equals a run that nobody killed, to the last digit: nothing is missing or mixed."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    before = killed(run, after=2)
    assert 2 <= len(before.trials) < TRIALS

    finished(f"--resume={run}", FRESH)

    finished(*PLAN, FRESH, f"--out={whole}")
    after = load(run)
    assert after.trials[: len(before.trials)] == before.trials
    assert after.samples[: len(before.samples)] == before.samples
    assert after.trials == load(whole).trials
    assert sorted(after.samples, key=str) == sorted(load(whole).samples, key=str)
    assert len(after.run.resumed) == 1
