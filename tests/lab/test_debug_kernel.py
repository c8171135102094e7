"""All modes on a host whose kernel checks itself; a report of it would end the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.bench.execute import execute
from zclab.bench.plan import plan, select_workloads
from zclab.lab import lifecycle as labs
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, ModeName
from zclab.progress import silent
from zclab.store import RunDirectory, load

pytestmark = [pytest.mark.lab, pytest.mark.nightly]

MODES: tuple[ModeName, ...] = ("passthrough", "vhost", "zerocopy")

# Lockdep and DMA-API debugging switch themselves off where they cannot go on.
CHECKS = """
zcat /proc/config.gz | grep -x CONFIG_KASAN=y
grep debug_locks: /proc/lockdep_stats
cat /sys/kernel/debug/dma-api/disabled
"""


@pytest.mark.usefixtures("debug_lab_up")
def test_every_mode_runs_without_a_report(
    debug_lab: Lab, debug_artifacts: Artifacts, tmp_path: Path
) -> None:
    boots = plan(
        debug_lab,
        modes=MODES,
        workloads=select_workloads(names=("TCP_STREAM", "TCP_RR"), duration_s=1.0),
        repetitions=1,
    )
    store = RunDirectory.create(
        lab=debug_lab.name, clock="wall", modes=MODES, command="test", out=tmp_path / "run"
    )
    with labs.opened(
        debug_lab, debug_artifacts, keep=True, mtu=1500, offloads="on", progress=silent
    ) as session:
        execute(session, boots, store, silent)
        checks = session.host.run(("sh", "-c", CHECKS)).stdout.split()

    assert {(t.mode, t.status, t.reason) for t in load(store.path).trials} == {
        (mode, "ok", None) for mode in MODES
    }
    assert checks == ["CONFIG_KASAN=y", "debug_locks:", "1", "N"]
