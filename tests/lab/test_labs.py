"""Labs: up once, side by side, over SSH, and down without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import run
from zclab.lab import emulated, machine
from zclab.lab import lifecycle as labs
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts
from zclab.model import Endpoint, Lab
from zclab.progress import silent
from zclab.runs.plan import select_workloads

pytestmark = pytest.mark.lab


def test_up_twice_is_one_lab(lab: Lab, artifacts: Artifacts, lab_up: Access) -> None:
    again = labs.up(lab, artifacts, with_me=True, progress=silent)

    assert again == lab_up
    assert len(machine.processes(lab_up.folder)) == 1


def test_two_labs_run_side_by_side_and_go_without_a_trace(
    own_lab: Lab, artifacts: Artifacts, lab_up: Access
) -> None:
    second = labs.up(own_lab, artifacts, with_me=True, progress=silent)
    try:
        names = {access.folder.name: access.host_runner() for access in (lab_up, second)}
        boot_ids = {
            runner.run(("cat", "/proc/sys/kernel/random/boot_id")).stdout
            for runner in names.values()
        }
        assert len(boot_ids) == 2
    finally:
        for runner in names.values():
            runner.close()

    assert labs.down(own_lab)
    assert machine.processes(second.folder) == []
    assert sorted(path.name for path in second.folder.iterdir()) == [
        "console.log",
        "debug.log",
        "emulator.log",
        "lock",
    ]
    assert emulated.find(own_lab.name) is None


def test_the_management_network_reaches_nothing_outside(lab_up: Access) -> None:
    host = lab_up.host_runner()
    try:
        done = host.run(
            ("timeout", "5", "socat", "-u", "OPEN:/dev/null", "TCP4:10.0.2.2:22"), check=False
        )
    finally:
        host.close()

    assert not done.ok


def test_the_emulated_host_works_as_an_ssh_lab(
    lab: Lab, artifacts: Artifacts, lab_up: Access, tmp_path: Path
) -> None:
    """The same host code, told nothing but an address, a key and two PCI functions."""
    endpoint: Endpoint = lab_up.endpoint
    ssh_lab = Lab(
        name=f"{lab.name}-ssh",
        kind="ssh",
        host=endpoint,
        nic=lab.nic,
        peer=lab.peer,
        guest=lab.guest,
    )
    workloads = select_workloads(names=("TCP_RR",), duration_s=1.0)

    results = run(ssh_lab, artifacts, tmp_path / "run", modes=("vhost",), workloads=workloads)

    assert [(t.mode, t.status, t.reason) for t in results.trials] == [("vhost", "ok", None)]
