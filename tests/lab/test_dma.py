"""Where the NIC writes the frames for the guest: by its own word, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import run
from zclab.documents.labs import with_overrides
from zclab.lab import emulated, machine
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, NicModel
from zclab.runs.plan import select_workloads
from zclab.units import MIB

pytestmark = pytest.mark.lab

BLOCK_BYTES = 512
"""What stat(2) counts in."""


@pytest.mark.parametrize("nic", ["e1000e", pytest.param("igb", marks=pytest.mark.nightly)])
def test_the_nic_itself_writes_the_guests_memory(
    own_lab: Lab, artifacts: Artifacts, tmp_path: Path, nic: NicModel
) -> None:
    """As many bytes as the mp device says in mode zerocopy, and none in mode vhost.

    How many that is depends on the machine that the lab runs on: where the guest does not get to
    refill its virtqueue within two jiffies, the next 1024 frames are copied (decision 19).
    """
    workloads = select_workloads(
        names=("TCP_STREAM",), directions=("rx",), amounts={"TCP_STREAM": 16 * MIB}
    )
    results = run(
        with_overrides(own_lab, nic=nic),
        artifacts,
        tmp_path / "run",
        modes=("vhost", "zerocopy"),
        workloads=workloads,
        offloads="off",
    )

    assert [trial.reason for trial in results.trials if trial.status != "ok"] == []
    to_guest = {trial.mode: trial.evidence["nic_to_guest_bytes"] for trial in results.trials}
    assert to_guest["vhost"] == 0
    assert to_guest["zerocopy"] > 4 * MIB
    log = emulated.folder_of(own_lab.name) / machine.DEBUG_LOG
    assert log.stat().st_blocks * BLOCK_BYTES < MIB
