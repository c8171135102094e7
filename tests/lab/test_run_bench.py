"""All three modes in the emulated lab, through libvirt, vhost and SSH, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.bench.execute import execute
from zclab.bench.plan import plan, select_workloads
from zclab.bench.provenance import seen_on_host
from zclab.bench.run import made_with
from zclab.host import netdev
from zclab.lab.artifacts import Artifacts
from zclab.lab.session import Session
from zclab.model import ModeName
from zclab.progress import silent
from zclab.report.markdown import markdown
from zclab.results import Results, Trial
from zclab.store import RunDirectory, load

pytestmark = pytest.mark.lab

ALL_MODES: tuple[ModeName, ...] = ("passthrough", "vhost", "zerocopy")


@pytest.fixture(scope="module")
def runs(
    session: Session, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> dict[ModeName, Path]:
    """One boot in each mode, each workload for a second; return the run of each mode."""
    root = tmp_path_factory.mktemp("bench")
    return {mode: run_mode(session, artifacts, mode, root) for mode in ALL_MODES}


def run_mode(session: Session, artifacts: Artifacts, mode: ModeName, root: Path) -> Path:
    workloads = select_workloads(duration_s=1.0)
    boots = plan(session.lab, modes=(mode,), workloads=workloads, repetitions=1)
    store = RunDirectory.create(
        lab=session.lab.name, clock="wall", modes=(mode,), command="test", out=root / mode
    )
    store.set_provenance(made_with(seen_on_host(session), artifacts))
    execute(session, boots, store, silent)
    return store.path


@pytest.fixture(scope="module")
def results(runs: dict[ModeName, Path]) -> Results:
    """All modes' results as one."""
    loaded = [load(path) for path in runs.values()]
    return loaded[0].model_copy(
        update={
            "trials": tuple(trial for one in loaded for trial in one.trials),
            "samples": tuple(sample for one in loaded for sample in one.samples),
        }
    )


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


def test_nothing_of_a_mode_stays_on_the_host(session: Session, results: Results) -> None:
    """Links gone, driver back, no guest, no probe; the session's own bridge is still there."""
    assert results.trials
    assert netdev.driver_of(session.host, session.lab.nic) == "e1000e"
    assert netdev.kinds_on(session.host, session.nic) == []
    assert session.libvirt.destroy_leftovers() == []
    probes = session.host.run(("cat", "/sys/kernel/tracing/kprobe_events")).stdout
    assert probes == ""


def test_raw_netperf_output_is_kept(results: Results, runs: dict[ModeName, Path]) -> None:
    raw = [name for path in runs.values() for name in path.glob("raw/netperf/*.txt")]

    assert len(raw) == len(results.trials)
