"""All modes on a host whose kernel checks itself; a report of it would end the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import opened, run
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, ModeName
from zclab.runner import read_text
from zclab.runs.plan import select_workloads

pytestmark = [pytest.mark.lab, pytest.mark.nightly]

MODES: tuple[ModeName, ...] = ("passthrough", "vhost", "zerocopy")


@pytest.mark.usefixtures("debug_lab_up")
def test_every_mode_runs_without_a_report(
    debug_lab: Lab, debug_artifacts: Artifacts, tmp_path: Path
) -> None:
    workloads = select_workloads(names=("TCP_STREAM", "TCP_RR"), duration_s=1.0)

    results = run(debug_lab, debug_artifacts, tmp_path / "run", modes=MODES, workloads=workloads)

    assert {(t.mode, t.status, t.reason) for t in results.trials} == {
        (mode, "ok", None) for mode in MODES
    }


@pytest.mark.usefixtures("debug_lab_up")
def test_the_host_fills_free_pages(debug_lab: Lab, debug_artifacts: Artifacts) -> None:
    with opened(debug_lab, debug_artifacts) as session:
        assert "page_poison=1" in read_text(session.host, "/proc/cmdline").split()
