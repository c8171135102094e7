"""Verdicts: what is compared with what, what is refused, and how often a verdict is right."""

from __future__ import annotations

from typing import Any

import pytest

from zclab.documents.gates import Gate, Gates, default_gates
from zclab.errors import ConfigError, LabError
from zclab.judge.cells import cells
from zclab.judge.compare import between, tally, within
from zclab.judge.simulated import PROVENANCE, TRANSACTIONS, SimulatedRun
from zclab.judge.stats import POWER
from zclab.judge.verdicts import Judged
from zclab.model import Clock, ModeName
from zclab.runs.results import Provenance, Results, Status

THROUGHPUT = Gates(gates=(Gate(metric="throughput_mbps", min_effect_percent=2.0),))
WALL, VIRTUAL = default_gates("wall"), default_gates("virtual")
FIGURES = {"throughput_mbps": 400.0, "service_demand_us_per_kb": 10.0}
OTHER_KERNEL = PROVENANCE.model_copy(
    update={"artifacts": PROVENANCE.artifacts | {"kernel": "another", "series": "another"}}
)


def two_modes(ratio: float, *, boots: int = 10, noise: float = 0.01, seed: int = 1) -> Results:
    run = SimulatedRun(seed=seed)
    truth: dict[ModeName, dict[str, float]] = {
        "vhost": {"throughput_mbps": 400.0},
        "zerocopy": {"throughput_mbps": 400.0 * ratio},
    }
    run.boots(truth, boots=boots, noise=noise)
    return run.results


def nightly(
    run_id: str,
    *,
    worse: float = 1.0,
    seed: int = 1,
    clock: Clock = "wall",
    boots: int = 10,
    provenance: Provenance = PROVENANCE,
    **changes: Any,
) -> Results:
    """Return a run of six cells in one of which throughput is ``worse`` times what it was."""
    run = SimulatedRun(run_id, seed=seed, clock=clock, provenance=provenance)
    for number in range(6):
        factor = worse if number == 4 else 1.0
        truth: dict[ModeName, dict[str, float]] = {
            "zerocopy": {
                "throughput_mbps": 400.0 * factor,
                "service_demand_us_per_kb": 10.0 / factor,
            }
        }
        run.boots(truth, boots=boots, noise=0.01, message_bytes=64 << number, **changes)
    return run.results


def only(judged: tuple[Judged, ...]) -> Judged:
    (one,) = judged
    return one


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.2, "better"), (0.8, "worse"), (1.0, "same"), (1.015, "undecided")]
)
def test_more_throughput_is_better_and_less_is_worse(ratio: float, verdict: str) -> None:
    found = only(within(two_modes(ratio), THROUGHPUT))

    assert found.verdict == verdict
    assert found.ratio is not None
    assert found.ratio.low < ratio < found.ratio.high


def test_more_cpu_time_is_worse() -> None:
    run = SimulatedRun()
    run.boots(
        {"vhost": {"service_demand_us_per_kb": 10.0}, "zerocopy": {"service_demand_us_per_kb": 12}}
    )

    assert only(within(run.results, WALL)).verdict == "worse"


def test_a_sure_difference_below_its_gate_is_no_verdict() -> None:
    """One percent without a doubt, where two matter."""
    assert only(within(two_modes(0.99, noise=0.001), THROUGHPUT)).verdict == "same"


def test_noise_is_undecided_and_says_what_would_decide() -> None:
    found = only(within(two_modes(0.97, noise=0.05, boots=6), THROUGHPUT))

    assert found.verdict == "undecided"
    assert found.more_boots is not None
    assert "too noisy to tell a difference of 8" in found.reason
    assert found.reason.endswith(f"{found.more_boots} more repetitions would decide")


def test_too_few_boots_say_so() -> None:
    found = only(within(two_modes(0.5, boots=3), THROUGHPUT))

    assert found.verdict == "undecided"
    assert found.reason == "3 boots are too few for any difference; 1 more repetitions would decide"
    assert only(within(two_modes(0.5, boots=4), THROUGHPUT)).verdict == "worse"


def test_one_boot_decides_nothing() -> None:
    found = only(within(two_modes(0.5, boots=1), THROUGHPUT))

    assert (found.verdict, found.more_boots) == ("undecided", None)
    assert found.reason.startswith("one boot says nothing about the next")


def test_a_machines_drift_is_no_difference_between_modes() -> None:
    """The machine got twice as fast during the run, for both modes."""
    run = SimulatedRun()
    for block in range(8):
        speed = 1 + block / 7
        run.add("vhost", {"throughput_mbps": 400.0 * speed}, boot=2 * block, repetition=block)
        figures = {"throughput_mbps": (420.0 + block % 3) * speed}
        run.add("zerocopy", figures, boot=2 * block + 1, repetition=block)

    found = only(within(run.results, THROUGHPUT))

    assert found.verdict == "better"
    assert found.ratio is not None
    assert 1.04 < found.ratio.low < found.ratio.high < 1.07


def test_only_good_trials_count() -> None:
    run = SimulatedRun()
    run.boots({"vhost": FIGURES, "zerocopy": FIGURES}, boots=5)
    clean = within(run.results, WALL)
    for number, status in enumerate(("invalid", "failed")):
        bad: Status = "invalid" if status == "invalid" else "failed"
        run.add("zerocopy", {"throughput_mbps": 9e9}, boot=90 + number, repetition=9, status=bad)

    assert within(run.results, WALL) == clean


def test_a_bad_trial_takes_its_block_out_of_the_comparison() -> None:
    run = SimulatedRun()
    for block, status in enumerate(("ok", "ok", "invalid")):
        state: Status = "ok" if status == "ok" else "invalid"
        speed = 10.0**block
        run.add("vhost", {"throughput_mbps": speed}, boot=2 * block, repetition=block, status=state)
        run.add("zerocopy", {"throughput_mbps": speed}, boot=2 * block + 1, repetition=block)

    found = only(within(run.results, THROUGHPUT))

    assert found.ratio is not None
    assert (found.ratio.value, found.ratio.boots) == (1.0, 2)


def test_a_mode_that_only_failed_is_missing_not_better() -> None:
    run = SimulatedRun()
    run.boots({"vhost": FIGURES}, boots=4)
    run.add("zerocopy", {}, boot=50, status="failed", reason="no lease")

    found = within(run.results, WALL)

    assert [one.verdict for one in found] == ["missing", "missing"]


def test_without_the_baseline_there_is_no_verdict() -> None:
    run = SimulatedRun()
    run.boots({"zerocopy": FIGURES})

    assert within(run.results, WALL) == ()
    assert within(SimulatedRun().results, WALL) == ()


def test_another_mode_can_be_the_baseline() -> None:
    found = only(within(two_modes(2.0), THROUGHPUT, baseline="zerocopy"))

    assert (found.mode, found.verdict) == ("vhost", "worse")


@pytest.mark.parametrize(
    "change",
    [
        {"direction": "tx"},
        {"message_bytes": 64},
        {"mtu": 9000},
        {"offloads": "off"},
        {"nic": "igb"},
        {"streams": 2},
        {"duration_s": 1.0},
        {"workload": "UDP_STREAM"},
    ],
)
def test_what_differs_in_any_dimension_is_another_cell(change: dict[str, Any]) -> None:
    run = SimulatedRun()
    run.boots({"vhost": FIGURES})
    run.boots({"zerocopy": FIGURES}, **change)

    assert [len(cell.modes) for cell in cells([run.results])] == [1, 1]
    assert within(run.results, WALL) == ()


def test_cells_keep_their_order_and_put_the_baseline_first() -> None:
    run = SimulatedRun()
    run.boots({"zerocopy": FIGURES, "vhost": FIGURES}, direction="tx")
    run.boots({"zerocopy": FIGURES, "vhost": FIGURES})
    run.add("vhost", FIGURES, boot=99, repetition=99, direction="tx")

    found = cells([run.results])

    assert [cell.dimensions.direction for cell in found] == ["tx", "rx"]
    assert [result.mode for result in found[0].modes] == ["vhost", "zerocopy"]
    assert list(found[0].modes[0].figures) == ["throughput_mbps", "service_demand_us_per_kb"]


def test_values_of_one_boot_are_one_unit() -> None:
    run = SimulatedRun()
    for repetition in range(3):
        run.add("vhost", {"throughput_mbps": repetition}, boot=7, repetition=repetition)

    (unit,) = cells([run.results])[0].modes[0].figures["throughput_mbps"]

    assert (unit.boot, unit.block, unit.values) == (7, 0, (0.0, 1.0, 2.0))


def test_a_planted_regression_is_found_with_the_promised_power_and_no_false_alarms() -> None:
    """Three percent of throughput in one of six cells, at one percent of noise."""
    runs = 20
    hits, alarms = 0, 0
    for seed in range(runs):
        theirs = nightly("before", seed=2 * seed, boots=6)
        ours = nightly("after", worse=0.97, seed=2 * seed + 1, boots=6, provenance=OTHER_KERNEL)
        judged = between(ours, [theirs], THROUGHPUT)
        worse = [one.dimensions.message_bytes for one in judged if one.verdict == "worse"]
        hits += (64 << 4) in worse
        alarms += any(size != 64 << 4 for size in worse)

    assert hits / runs >= POWER
    assert alarms / runs <= 0.05


def test_equal_kernels_raise_no_more_false_alarms_than_promised() -> None:
    """Even with gates that let every significant difference through."""
    any_difference = Gates(gates=(Gate(metric="throughput_mbps", min_effect_percent=1e-6),))
    alarms = 0
    for seed in range(25):
        ours, theirs = nightly("b", seed=seed, boots=5), nightly("a", seed=seed + 99, boots=5)
        alarms += (
            tally(between(ours, [theirs], any_difference)).keys() & {"worse", "better"} != set()
        )

    assert alarms / 25 <= 0.05 + 0.07


def test_an_improvement_is_an_improvement() -> None:
    found = between(nightly("b", worse=1.2, seed=2), [nightly("a")], WALL)

    assert tally(found)["worse"] == 0
    assert tally(found)["better"] == 2


def test_a_planted_regression_in_virtual_time_is_found_and_named() -> None:
    theirs = nightly("a", clock="virtual", boots=8)
    ours = nightly("b", clock="virtual", boots=8, worse=0.97, provenance=OTHER_KERNEL)

    worse = [one for one in between(ours, [theirs], VIRTUAL) if one.verdict == "worse"]

    assert {(one.dimensions.message_bytes, one.metric) for one in worse} == {
        (64 << 4, "throughput_mbps"),
        (64 << 4, "service_demand_us_per_kb"),
    }
    assert tally(between(ours, [theirs], VIRTUAL))["same"] == 10


def test_equal_artifacts_in_virtual_time_are_exactly_the_same() -> None:
    found = between(
        nightly("b", clock="virtual", boots=1), [nightly("a", clock="virtual", boots=1)], VIRTUAL
    )

    assert {one.verdict for one in found} == {"same"}
    assert {one.ratio.value for one in found if one.ratio} == {1.0}


def test_equal_artifacts_with_other_figures_in_virtual_time_are_an_error() -> None:
    theirs = nightly("a", clock="virtual", boots=8)
    ours = nightly("b", clock="virtual", boots=8, worse=0.9999)

    with pytest.raises(LabError, match=r"not exact: b and a were made with the same artifacts"):
        between(ours, [theirs], VIRTUAL)


def test_one_start_in_virtual_time_cannot_tell_chance_from_effect() -> None:
    ours = nightly("b", clock="virtual", boots=1, worse=0.9, provenance=OTHER_KERNEL)

    found = between(ours, [nightly("a", clock="virtual", boots=1)], VIRTUAL)

    assert tally(found) == {"same": 10, "undecided": 2}


def changed(**changes: Any) -> Provenance:
    return PROVENANCE.model_copy(update=changes)


@pytest.mark.parametrize(
    ("provenance", "named"),
    [
        (changed(cpu_model="EPYC"), "cpu_model: EPYC, and QEMU TCG"),
        (changed(artifacts=PROVENANCE.artifacts | {"emulator": "x"}), "emulator: x, and fedcba"),
        (
            changed(artifacts=PROVENANCE.artifacts | {"host_image": "x"}),
            r"host_image: x, and \(not recorded\) in",
        ),
        (
            changed(settings={"guest_memory_mib": 1024, "threaded_napi": False}),
            "guest_memory_mib: 1024, and 512 in the baseline\n  threaded_napi: False, and True in",
        ),
    ],
)
def test_runs_made_with_other_things_than_the_kernel_are_refused(
    provenance: Provenance, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"differ in more than the kernel:\n  {named}"):
        between(nightly("b", provenance=provenance), [nightly("a")], WALL)


def test_another_kernel_makes_another_machine_and_is_what_is_compared() -> None:
    def machine(kernel: str) -> Provenance:
        return changed(artifacts=PROVENANCE.artifacts | {"kernel": kernel, "machine": kernel})

    ours, theirs = (nightly(name, provenance=machine(name)) for name in ("b", "a"))

    assert between(ours, [theirs], WALL)


def test_runs_of_other_clocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="clock: virtual, and wall in the baseline"):
        between(nightly("b", clock="virtual"), [nightly("a")], WALL)


def test_what_is_allowed_by_name_may_differ() -> None:
    ours = nightly("b", provenance=changed(cpu_model="EPYC"))

    assert between(ours, [nightly("a")], WALL, allow=["cpu_model"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mtu": 9000}, "mtu 9000, and 1500 in the baseline; run both .*, or say --allow mtu"),
        ({"nic": "igb"}, "nic igb, and e1000e in"),
        ({"offloads": "off"}, "offloads off, and on in"),
    ],
)
def test_runs_under_other_conditions_are_refused_unless_allowed(
    change: dict[str, Any], named: str
) -> None:
    ours = nightly("b", **change)

    with pytest.raises(ConfigError, match=f"TCP_STREAM rx 64 B ran under other .*{named}"):
        between(ours, [nightly("a")], WALL)
    assert between(ours, [nightly("a")], WALL, allow=list(change))


def test_cells_that_the_baseline_lacks_are_left_out() -> None:
    ours = SimulatedRun("b")
    for of in ({}, TRANSACTIONS):
        ours.boots({"vhost": FIGURES | {"transactions_per_s": 9.0}}, **of)
    theirs = SimulatedRun("a")
    theirs.boots({"vhost": FIGURES})

    found = between(ours.results, [theirs.results], WALL)

    assert {one.dimensions.workload for one in found} == {"TCP_STREAM"}


def test_runs_without_anything_in_common_are_refused() -> None:
    other = SimulatedRun("b")
    other.boots({"vhost": {"transactions_per_s": 9.0}}, **TRANSACTIONS)

    with pytest.raises(ConfigError, match="no valid figure of one mode and workload in common"):
        between(other.results, [nightly("a")], WALL)


def test_a_run_is_not_its_own_baseline() -> None:
    with pytest.raises(ConfigError, match="a is the run itself"):
        between(nightly("a"), [nightly("a")], WALL)


def test_several_runs_of_one_kernel_are_one_baseline() -> None:
    few = between(nightly("b", seed=3, boots=4), [nightly("a", boots=4)], WALL)
    many = between(
        nightly("b", seed=3, boots=4), [nightly("a", boots=4), nightly("c", seed=4, boots=4)], WALL
    )

    assert few[0].theirs.boots == 4
    assert many[0].theirs.boots == 8


def test_runs_of_two_kernels_are_no_baseline() -> None:
    with pytest.raises(ConfigError, match="a and c cannot be one baseline: kernel is 0123"):
        between(nightly("b"), [nightly("a"), nightly("c", provenance=OTHER_KERNEL)], WALL)
