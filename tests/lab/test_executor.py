"""Trials in virtual time come to the same wherever they ran, and whoever died under them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zclab.runner import wait_until
from zclab.runs.results import Results
from zclab.runs.store import RESULTS_FILE, load

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
PLAN = ("--clock=virtual", "--mode=vhost", "--workload=TCP_RR", "--repetitions=6", "--jobs=1")
TRIALS = 6


def run_bench(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "invoke", "run-bench", *PLAN, *options)


def local(path: Path) -> Results:
    done = subprocess.run(
        run_bench(f"--out={path}"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return load(path)


def stored(path: Path) -> int:
    return len(load(path).trials) if (path / RESULTS_FILE).exists() else 0


def test_a_worker_that_is_killed_changes_nothing(dask: Any, tmp_path: Path) -> None:
    """The one that has all artifacts is killed under a trial; the other has to be sent them."""
    here = local(tmp_path / "here")
    there, empty = tmp_path / "there", tmp_path / "empty-cache"
    rich = dask.worker("rich")
    run = dask.process("run", *run_bench("--fresh", f"--executor={dask.address}", f"--out={there}"))
    wait_until(
        lambda: stored(there) >= 1 or run.poll() is not None,
        what="the first trial to be stored",
        deadline_s=600,
    )
    assert 1 <= stored(there) < TRIALS, dask.log("run")

    dask.worker("poor", ZCLAB_CACHE=str(empty))
    os.kill(rich.pid, signal.SIGKILL)

    assert run.wait(timeout=900) == 0, dask.log("run")
    results = load(there)
    assert [trial.known_from for trial in results.trials] == [None] * TRIALS
    assert results.trials == tuple(
        trial.model_copy(update={"known_from": None}) for trial in here.trials
    )
    assert sorted(results.samples, key=str) == sorted(here.samples, key=str)
    kinds = {"emulator", "plugin", "kernel", "guest-state"}
    assert {path.name for path in (empty / "artifacts").iterdir()} == kinds
    assert not list((empty / "arriving").iterdir())
