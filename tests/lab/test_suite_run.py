"""A suite in the wall clock: all its parts in one lab, also where it was interrupted between."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from zclab.experiment import bench as experiment
from zclab.experiment.bench import Options, bench, planned_suite, resume, virtual_options
from zclab.lab import emulated
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab
from zclab.runs.results import Sample, Trial
from zclab.runs.resume import KernelOptions
from zclab.runs.store import RunDirectory, load

pytestmark = pytest.mark.lab

SUITE = """\
modes: [vhost]
repetitions: 1
duration_s: 1
warm_up_s: 1
cells:
  - workload: TCP_STREAM
    directions: [tx]
    streams: [1, 2]
    offloads: [on, off]
  - workload: UDP_RR
"""


def test_a_suite_that_is_interrupted_and_gone_on_with_boots_one_lab_each_time(
    own_lab: Lab, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the boot that was interrupted is another boot; what had ended is kept."""
    suite, run = tmp_path / "mine.yaml", tmp_path / "run"
    suite.write_text(SUITE)
    plan = planned_suite(own_lab, str(suite), Options(), seed=1)
    options = virtual_options(jobs=1, profile=False, copy_bytes=8)
    add = RunDirectory.add

    def add_one(store: RunDirectory, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        add(store, trial, samples)
        raise KeyboardInterrupt

    monkeypatch.setattr(RunDirectory, "add", add_one)
    with pytest.raises(KeyboardInterrupt):
        bench(
            plan, lambda: artifacts, options, keep=False, out_dir=str(run), kernel=KernelOptions()
        )
    monkeypatch.setattr(RunDirectory, "add", add)
    (first,) = load(run).trials
    assert emulated.find(own_lab.name) is None

    monkeypatch.setattr(experiment, "build_lab", lambda *_lab, **_options: artifacts)
    resume(str(run), jobs=1, executor="", keep=False, dry_run=False)

    results = load(run)
    assert {(one.status, one.reason) for one in results.trials} == {("ok", None)}
    places = {(one.workload, one.streams, one.offloads, one.warm_up_s) for one in results.trials}
    assert places == {
        *(("TCP_STREAM", streams, offloads, 1) for streams in (1, 2) for offloads in ("on", "off")),
        ("UDP_RR", 1, "on", 1),
    }
    assert first in results.trials
    assert {one.boot for one in results.trials if one.offloads == first.offloads} == {0, 2}
    consoles = sorted((run / "raw").glob("host-console*.log"))
    booted = [
        console.read_text(errors="replace").count("Please press Enter") for console in consoles
    ]
    assert booted == [1, 1]
    assert emulated.find(own_lab.name) is None
