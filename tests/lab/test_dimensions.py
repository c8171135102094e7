"""What else run-bench varies: the NIC's model, offloads, MTU. Short, and each has to be valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import boot_in, opened, run
from zclab.bench.guest import running_guest
from zclab.bench.provenance import seen_on_host
from zclab.documents.labs import with_overrides
from zclab.host import netdev
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab
from zclab.modes.zerocopy import MOST_OF_IT
from zclab.runs.plan import select_workloads
from zclab.runs.results import Results

pytestmark = pytest.mark.lab

BOTH_WAYS = select_workloads(names=("TCP_STREAM",), duration_s=1.0)
FLOWS = select_workloads(names=("TCP_STREAM",), directions=("rx",), duration_s=2.0, streams=(8,))
SENT = select_workloads(names=("TCP_STREAM",), directions=("tx",), duration_s=1.0)


def outcomes(results: Results) -> set[tuple[str, str, str | None]]:
    return {(t.mode, t.status, t.reason) for t in results.trials}


@pytest.mark.usefixtures("lab_up")
def test_without_offloads_the_nic_has_the_guests_memory_both_ways(
    lab: Lab, artifacts: Artifacts, tmp_path: Path
) -> None:
    """Mostly: how much depends on the machine that the lab runs on, see test_virtual.py."""
    results = run(
        lab, artifacts, tmp_path / "run", modes=("zerocopy",), workloads=BOTH_WAYS, offloads="off"
    )

    assert outcomes(results) == {("zerocopy", "ok", None)}
    assert {t.offloads for t in results.trials} == {"off"}
    for one in results.trials:
        assert one.evidence[f"{one.direction}_zerocopy_share"] > MOST_OF_IT


@pytest.mark.usefixtures("lab_up")
def test_frames_of_9000_bytes_are_zero_copied(
    lab: Lab, artifacts: Artifacts, tmp_path: Path
) -> None:
    results = run(
        lab,
        artifacts,
        tmp_path / "run",
        modes=("zerocopy",),
        workloads=SENT,
        mtu=9000,
        offloads="off",
    )

    assert outcomes(results) == {("zerocopy", "ok", None)}
    assert results.trials[0].mtu == 9000
    assert results.trials[0].evidence["tx_zerocopy_share"] >= 0.9


def test_igb_carries_vhost_and_zerocopy(own_lab: Lab, artifacts: Artifacts, tmp_path: Path) -> None:
    """Another driver, with queues and interrupts of its own, in a lab of its own."""
    results = run(
        with_overrides(own_lab, nic="igb"),
        artifacts,
        tmp_path / "run",
        modes=("vhost", "zerocopy"),
        workloads=BOTH_WAYS,
    )

    assert outcomes(results) == {("vhost", "ok", None), ("zerocopy", "ok", None)}
    sent = [t for t in results.trials if (t.mode, t.direction) == ("zerocopy", "tx")]
    assert [t.nic for t in sent] == ["igb"]
    assert sent[0].evidence["tx_zerocopy_share"] >= 0.95


def test_each_queue_of_the_guest_has_buffers_with_igb(
    own_lab: Lab, artifacts: Artifacts, tmp_path: Path
) -> None:
    """A guest of two vCPUs, with two vhost workers, and a NIC that tells their flows apart.

    Without buffers for one of them, about half would be copied.
    """
    guest = own_lab.guest.model_copy(update={"vcpus": 2, "queues": 2})
    lab = with_overrides(own_lab, nic="igb").model_copy(update={"guest": guest})
    results = run(
        lab,
        artifacts,
        tmp_path / "run",
        modes=("zerocopy",),
        workloads=FLOWS,
        offloads="off",
    )

    assert outcomes(results) == {("zerocopy", "ok", None)}
    assert results.trials[0].evidence["guest_queues"] == 2
    assert results.trials[0].evidence["rx_zerocopy_share"] >= 0.8


@pytest.mark.usefixtures("lab_up")
def test_both_nics_moderate_interrupts_alike_whoever_drives_them(
    lab: Lab, artifacts: Artifacts
) -> None:
    """In passthrough that is the guest, and the host's driver begins anew when it is back."""
    tunables = lab.tunables.model_copy(update={"rx_usecs": 70})
    moderated = lab.model_copy(update={"tunables": tunables})
    with opened(moderated, artifacts) as session:
        assert seen_on_host(session).settings == {"nic_rx_usecs": 70, "peer_rx_usecs": 70}
        with running_guest(session, boot_in("passthrough")) as guest:
            assert netdev.rx_usecs_of(guest.runner, guest.nic.name) == 70
        assert netdev.rx_usecs_of(session.host, session.nic) == 70
    unset = lab.tunables.model_copy(update={"rx_usecs": None})
    with opened(lab.model_copy(update={"tunables": unset}), artifacts) as session:
        assert seen_on_host(session).settings == {"nic_rx_usecs": 3, "peer_rx_usecs": 3}
