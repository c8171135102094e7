"""A run on a lab, as run-bench makes it, for tests to look at."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from zclab.errors import LabError
from zclab.experiment.run import lab_for
from zclab.experiment.run import run as run_plan
from zclab.lab import lifecycle as labs
from zclab.lab.artifacts import Artifacts
from zclab.lab.session import Session
from zclab.model import Lab, ModeName, Switch, Workload
from zclab.progress import silent
from zclab.runs.plan import Boot, Part, plan
from zclab.runs.results import Results
from zclab.runs.store import RunDirectory, load


def run(
    lab: Lab,
    artifacts: Artifacts,
    path: Path,
    *,
    modes: Sequence[ModeName],
    workloads: Sequence[Workload],
    mtu: int = 1500,
    offloads: Switch = "on",
) -> Results:
    """Run one repetition on a lab, which stays up if it was up; LabError where a trial failed."""
    shutil.rmtree(path, ignore_errors=True)  # of the time before, where this is the second
    store = RunDirectory.create(
        lab=lab.name, clock="wall", modes=tuple(modes), command="test", out=path
    )
    boots = plan(lab, modes=modes, workloads=workloads, repetitions=1, mtu=mtu, offloads=offloads)
    part = Part(lab=lab, mtu=mtu, offloads=offloads, boots=tuple(boots))
    with lab_for(lab, artifacts, store, keep=False, progress=silent):
        run_plan(part, artifacts, store, progress=silent)
    results = load(path)
    if failed := [f"{t.mode}: {t.reason}" for t in results.trials if t.status == "failed"]:
        raise LabError("; ".join(failed))
    return results


def opened(
    lab: Lab, artifacts: Artifacts, *, keep: bool = True, offloads: Switch = "on"
) -> AbstractContextManager[Session]:
    """Open a lab for a test that boots guests itself; ``keep`` leaves it up."""
    return labs.opened(lab, artifacts, keep=keep, mtu=1500, offloads=offloads, progress=silent)


def boot_in(mode: ModeName) -> Boot:
    """Return the boot of a guest that no trial of a plan is run in."""
    return Boot(number=0, mode=mode, repetition=0, trials=())
