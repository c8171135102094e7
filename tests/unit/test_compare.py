"""Statistics over samples: what counts, how it is paired, and its spread."""

from __future__ import annotations

from typing import Any

import pytest

from zclab.compare import Spread, compare, ratio, spread
from zclab.model import ModeName
from zclab.results import Dimensions, Results, RunInfo, Sample, Status, Trial, samples

RUN = RunInfo(id="x", started="2026-11-22T18:53:20+00:00", lab="emulated", clock="wall", command="")


def dimensions(mode: ModeName, repetition: int, **changes: Any) -> Dimensions:
    values: dict[str, Any] = {
        "mode": mode,
        "workload": "TCP_STREAM",
        "direction": "rx",
        "message_bytes": 16384,
        "mtu": 1500,
        "offloads": "on",
        "nic": "e1000e",
        "streams": 1,
        "duration_s": 5.0,
        "boot": repetition,
        "repetition": repetition,
    }
    return Dimensions(**(values | changes))


class Runs:
    """Results under construction."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.samples: list[Sample] = []

    def add(
        self,
        mode: ModeName,
        repetition: int,
        throughput_mbps: float | None,
        *,
        status: Status = "ok",
        **changes: Any,
    ) -> None:
        """Add a trial with its throughput, if it had any."""
        where = dimensions(mode, repetition, **changes)
        self.trials.append(Trial(**where.model_dump(), status=status))
        if throughput_mbps is not None:
            self.samples += samples(where, {"throughput_mbps": throughput_mbps})

    @property
    def results(self) -> Results:
        """What has been added."""
        return Results(run=RUN, trials=tuple(self.trials), samples=tuple(self.samples))


def test_a_spread_is_a_mean_and_its_extremes() -> None:
    assert spread([1.0, 2.0, 6.0]) == Spread(mean=3.0, low=1.0, high=6.0, count=3)


def test_a_ratio_pairs_repetitions() -> None:
    """The host got twice as fast between the repetitions; the mode is 1.5 times the baseline."""
    assert ratio({0: 15.0, 1: 30.0}, {0: 10.0, 1: 20.0}) == Spread(
        mean=1.5, low=1.5, high=1.5, count=2
    )


def test_a_ratio_is_that_of_the_means_between_its_extremes() -> None:
    found = ratio({0: 10.0, 1: 30.0}, {0: 10.0, 1: 10.0})

    assert found == Spread(mean=2.0, low=1.0, high=3.0, count=2)


def test_a_repetition_that_one_of_both_lacks_does_not_count() -> None:
    assert ratio({0: 10.0, 1: 99.0}, {0: 10.0, 2: 1.0}) == Spread(
        mean=1.0, low=1.0, high=1.0, count=1
    )


@pytest.mark.parametrize(("ours", "theirs"), [({}, {0: 1.0}), ({0: 1.0}, {}), ({0: 1.0}, {0: 0.0})])
def test_without_a_divisor_there_is_no_ratio(
    ours: dict[int, float], theirs: dict[int, float]
) -> None:
    assert ratio(ours, theirs) is None


def test_modes_of_one_cell_are_compared_with_the_baseline_first() -> None:
    runs = Runs()
    runs.add("zerocopy", 0, 150.0)
    runs.add("vhost", 0, 100.0)

    (cell,) = compare(runs.results)

    vhost, zerocopy = cell.modes
    assert (vhost.mode, zerocopy.mode) == ("vhost", "zerocopy")
    assert vhost.metrics["throughput_mbps"].ratio is None
    assert zerocopy.metrics["throughput_mbps"].value == spread([150.0])
    assert zerocopy.metrics["throughput_mbps"].ratio == spread([1.5])


def test_another_baseline_can_be_chosen() -> None:
    runs = Runs()
    runs.add("vhost", 0, 100.0)
    runs.add("zerocopy", 0, 200.0)

    (cell,) = compare(runs.results, baseline="zerocopy")

    assert [result.mode for result in cell.modes] == ["zerocopy", "vhost"]
    assert cell.modes[1].metrics["throughput_mbps"].ratio == spread([0.5])


def test_without_the_baseline_there_are_figures_and_no_ratios() -> None:
    runs = Runs()
    runs.add("zerocopy", 0, 150.0)

    (cell,) = compare(runs.results)

    assert cell.modes[0].metrics["throughput_mbps"].value == spread([150.0])
    assert cell.modes[0].metrics["throughput_mbps"].ratio is None


@pytest.mark.parametrize("status", ["invalid", "failed"])
def test_only_good_trials_count(status: Status) -> None:
    runs = Runs()
    runs.add("vhost", 0, 100.0)
    runs.add("vhost", 1, 9999.0, status=status)

    (cell,) = compare(runs.results)

    assert cell.modes[0].metrics["throughput_mbps"].value == spread([100.0])
    assert (cell.modes[0].ok, len(cell.modes[0].trials)) == (1, 2)


def test_a_bad_baseline_trial_takes_its_repetition_out_of_the_ratio() -> None:
    runs = Runs()
    runs.add("vhost", 0, 100.0)
    runs.add("zerocopy", 0, 150.0)
    runs.add("vhost", 1, 1.0, status="invalid")
    runs.add("zerocopy", 1, 150.0)

    (cell,) = compare(runs.results)

    assert cell.modes[1].metrics["throughput_mbps"].ratio == spread([1.5])


def test_a_mode_that_only_failed_is_there_without_figures() -> None:
    runs = Runs()
    runs.add("vhost", 0, 100.0)
    runs.add("passthrough", 0, None, status="failed")

    (cell,) = compare(runs.results)

    assert cell.modes[1].mode == "passthrough"
    assert cell.modes[1].metrics == {}


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
def test_what_differs_in_any_dimension_is_never_compared(change: dict[str, Any]) -> None:
    runs = Runs()
    runs.add("vhost", 0, 100.0)
    runs.add("zerocopy", 0, 150.0, **change)

    cells = compare(runs.results)

    assert [len(cell.modes) for cell in cells] == [1, 1]


def test_cells_keep_the_order_they_were_run_in() -> None:
    runs = Runs()
    runs.add("vhost", 0, 1.0, direction="tx")
    runs.add("vhost", 0, 1.0, direction="rx")
    runs.add("vhost", 1, 1.0, direction="tx")

    assert [cell.dimensions.direction for cell in compare(runs.results)] == ["tx", "rx"]


def test_metrics_keep_the_order_of_their_table() -> None:
    runs = Runs()
    runs.add("vhost", 0, None)
    figures = {"cpu_vhost_s": 1.0, "service_demand_us_per_kb": 2.0, "throughput_mbps": 3.0}
    runs.samples += samples(dimensions("vhost", 0), figures)

    (cell,) = compare(runs.results)

    assert list(cell.modes[0].metrics) == [
        "throughput_mbps",
        "service_demand_us_per_kb",
        "cpu_vhost_s",
    ]


def test_no_results_are_no_cells() -> None:
    assert compare(Runs().results) == ()
