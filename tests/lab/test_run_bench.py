"""All three modes in the emulated lab, through libvirt, vhost and SSH, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.bench import run
from zclab.host import netdev
from zclab.lab import lifecycle as labs
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts
from zclab.lab.names import names_of
from zclab.lab.session import connect_libvirt
from zclab.model import TRANSACTIONS, Lab, ModeName
from zclab.progress import silent
from zclab.report.markdown import markdown
from zclab.runs.plan import select_workloads
from zclab.runs.results import Results, Trial

pytestmark = pytest.mark.lab

ALL_MODES: tuple[ModeName, ...] = ("passthrough", "vhost", "zerocopy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench") / "run"


@pytest.fixture(scope="module")
def results(lab: Lab, artifacts: Artifacts, folder: Path) -> Results:
    """One boot in each mode, each workload for a second."""
    labs.up(lab, artifacts, with_me=True, progress=silent)
    workloads = select_workloads(duration_s=1.0)
    return run(lab, artifacts, folder, modes=ALL_MODES, workloads=workloads)


def trial(results: Results, mode: str, workload: str, direction: str | None = None) -> Trial:
    found = [
        trial
        for trial in results.trials
        if (trial.mode, trial.workload, trial.direction) == (mode, workload, direction)
    ]
    assert len(found) == 1
    return found[0]


def figure(results: Results, of: Trial, metric: str) -> float:
    values = [
        sample.value
        for sample in results.samples
        if sample.metric == metric
        and (sample.mode, sample.workload, sample.direction) == (of.mode, of.workload, of.direction)
    ]
    assert len(values) == 1
    return values[0]


def test_every_trial_of_every_mode_is_valid(results: Results) -> None:
    assert {(t.mode, t.status, t.reason) for t in results.trials} == {
        (mode, "ok", None) for mode in ALL_MODES
    }


def test_evidence_has_no_counter_that_does_not_apply(results: Results) -> None:
    for one in results.trials:
        counts = {"payload_bytes", *(["transactions"] if one.workload in TRANSACTIONS else [])}
        assert {"payload_bytes", "transactions"} & one.evidence.keys() == counts


def test_transactions_have_percentiles_whatever_carries_them(results: Results) -> None:
    for workload in TRANSACTIONS:
        answered = trial(results, "vhost", workload)

        p50, p99 = (figure(results, answered, f"latency_{name}_us") for name in ("p50", "p99"))
        assert 0 < p50 <= p99


def test_transactions_under_load_have_a_stream_beside_them(results: Results) -> None:
    for mode in ALL_MODES:
        loaded = trial(results, mode, "TCP_RR_LOADED")

        beside = figure(results, loaded, "beside_mbps")
        payload = figure(results, loaded, "transactions_per_s") * 8 / 1e6
        assert beside > 100 * payload


def test_zerocopy_zero_copies_what_the_guest_sends(results: Results) -> None:
    """95% or more of the payload, with offloads on, by the device's own counters."""
    sent = trial(results, "zerocopy", "TCP_STREAM", "tx")

    assert sent.evidence["tx_zerocopy_share"] >= 0.95
    assert figure(results, sent, "copied_bytes_per_payload_byte") < 0.05


def test_vhost_copies_each_byte_once_in_each_direction(results: Results) -> None:
    for direction in ("rx", "tx"):
        copied = trial(results, "vhost", "TCP_STREAM", direction)

        # The probe counts retransmitted segments too, and they are few.
        assert 0.95 <= figure(results, copied, "copied_bytes_per_payload_byte") <= 1.1


def test_passthrough_copies_nothing_on_the_host(results: Results) -> None:
    for direction in ("rx", "tx"):
        passed = trial(results, "passthrough", "TCP_STREAM", direction)

        assert figure(results, passed, "copied_bytes_per_payload_byte") < 0.01


def test_guests_negotiate_the_same_virtio_features_in_vhost_and_zerocopy(results: Results) -> None:
    features = {
        t.mode: t.evidence["virtio_features"] for t in results.trials if t.mode != "passthrough"
    }

    assert features["vhost"] == features["zerocopy"] is not None


def test_the_table_names_every_mode(results: Results) -> None:
    table = markdown(results)

    assert [mode for mode in ALL_MODES if mode in table] == list(ALL_MODES)


@pytest.mark.usefixtures("results")
def test_nothing_of_a_run_stays_on_the_host(lab: Lab, lab_up: Access) -> None:
    """Links gone, driver back, no guest, no probe, no namespace."""
    libvirt = connect_libvirt(lab_up)
    assert libvirt.destroy_leftovers(names_of(lab).guests) == []
    libvirt.close()
    host = lab_up.host_runner()
    try:
        assert netdev.driver_of(host, lab.nic) == "e1000e"
        assert netdev.kinds_on(host, netdev.netdev_of(host, lab.nic)) == []
        assert host.run(("cat", "/sys/kernel/tracing/kprobe_events")).stdout == ""
        assert host.run(("ip", "netns", "list")).stdout == ""
    finally:
        host.close()


def test_raw_netperf_output_is_kept(results: Results, folder: Path) -> None:
    assert len(list(folder.glob("raw/netperf/*.txt"))) == len(results.trials)
