"""Statistics on simulated boots whose truth is known: how often they are right.

The bounds are a little wider than what was promised, because a few hundred simulations scatter;
every one of them is seeded.
"""

from __future__ import annotations

import numpy as np
import pytest

from zclab.judge import stats

SIMULATIONS = 200
BOOT_NOISE = 0.02
"""Relative: how far boots are apart; a busy machine's are."""
PROMISED = 0.05


class Machine:
    """A machine whose boots differ, and whose values within a boot differ again."""

    def __init__(self, seed: int, *, skewed: bool = False) -> None:
        self.random = np.random.default_rng(seed)
        self.skewed = skewed

    def boots(self, truth: float, count: int, values: int = 1) -> list[list[float]]:
        """Return the values of some boots around their true mean."""
        if self.skewed:
            boots = self.random.exponential(BOOT_NOISE, count) - BOOT_NOISE
        else:
            boots = self.random.normal(0.0, BOOT_NOISE, count)
        return [
            (truth * (1 + boot + self.random.normal(0, BOOT_NOISE / 2, values))).tolist()
            for boot in boots
        ]

    def means(self, simulations: int, count: int, values: int = 1) -> stats.Array:
        """Return what boots() does around 100, so many times, each boot by its mean."""
        found = [self.boots(100.0, count, values) for _ in range(simulations)]
        return np.mean(found, axis=-1)


@pytest.mark.parametrize(("boots", "values"), [(5, 1), (8, 1), (8, 4)])
def test_an_interval_covers_the_true_mean_as_often_as_promised(boots: int, values: int) -> None:
    machine = Machine(1)
    found = [stats.mean(machine.boots(500.0, boots, values)) for _ in range(SIMULATIONS)]

    covered = sum(estimate.low <= 500.0 <= estimate.high for estimate in found) / SIMULATIONS

    assert 0.90 <= covered <= 0.99


def test_an_interval_of_a_skewed_machine_covers_nearly_as_often() -> None:
    machine = Machine(2, skewed=True)
    found = [stats.mean(machine.boots(500.0, 10)) for _ in range(SIMULATIONS)]

    assert sum(e.low <= 500.0 <= e.high for e in found) / SIMULATIONS >= 0.87


@pytest.mark.parametrize("paired", [False, True])
def test_a_ratios_interval_covers_the_true_ratio(paired: bool) -> None:
    machine = Machine(3)
    covered = 0
    for _ in range(SIMULATIONS):
        found = stats.ratio(machine.boots(125.0, 6), machine.boots(100.0, 6), paired=paired)
        assert found is not None
        covered += found.low <= 1.25 <= found.high

    assert 0.90 <= covered / SIMULATIONS <= 0.99


def test_pairs_take_the_machines_drift_out() -> None:
    """The machine got three times as fast meanwhile, for both sides alike."""
    drift = np.linspace(1, 3, 6)
    theirs = [[100.0 * step] for step in drift]
    ours = [
        [110.0 * step * wobble] for step, wobble in zip(drift, [1, 0.99, 1.01] * 2, strict=True)
    ]

    found = stats.ratio(ours, theirs, paired=True)

    assert found is not None
    assert 1.08 < found.low < 1.10 < found.high < 1.12


@pytest.mark.parametrize("paired", [False, True])
def test_many_comparisons_at_once_give_the_p_of_each(paired: bool) -> None:
    machine = Machine(4)
    ours, theirs = machine.means(5, 6), machine.means(5, 6)

    found = stats.p_values(ours, theirs, paired=paired)

    assert found.tolist() == [
        stats.p_value([[boot] for boot in mine], [[boot] for boot in yours], paired=paired)
        for mine, yours in zip(ours, theirs, strict=True)
    ]
    assert stats.p_values(ours[:, :1], theirs[:, :1], paired=paired).tolist() == [1.0] * 5


@pytest.mark.parametrize("paired", [False, True])
def test_without_a_difference_false_alarms_are_as_rare_as_promised(paired: bool) -> None:
    machine = Machine(4)
    ours, theirs = (machine.means(SIMULATIONS * 2, 6) for _ in range(2))

    alarms = stats.p_values(ours, theirs, paired=paired) <= PROMISED

    assert np.mean(alarms) <= PROMISED + 0.02


def test_many_seconds_of_few_boots_are_no_evidence() -> None:
    """Taking each second for a boot would raise a false alarm in most of these."""
    machine = Machine(5)
    alarms = sum(
        stats.p_value(machine.boots(100.0, 5, 60), machine.boots(100.0, 5, 60), paired=False)
        <= PROMISED
        for _ in range(SIMULATIONS)
    )

    assert alarms / SIMULATIONS <= PROMISED + 0.03


def test_many_comparisons_without_a_difference_raise_no_more_alarms_than_one() -> None:
    nights, cells = SIMULATIONS, 10
    machine = Machine(6)
    ours, theirs = (machine.means(nights * cells, 6) for _ in range(2))
    found = stats.p_values(ours, theirs, paired=False).reshape(nights, cells)

    alarms = sum(min(stats.adjusted(night)) <= PROMISED for night in found.tolist())

    assert alarms / nights <= PROMISED + 0.03


def test_as_many_boots_as_advised_find_the_difference_with_the_promised_power() -> None:
    """Three percent; each time from the noise that eight other boots of each side showed."""
    machine = Machine(7)
    found = 0
    for _ in range(SIMULATIONS // 3):
        advised = stats.boots_needed(
            machine.boots(100.0, 8),
            machine.boots(100.0, 8),
            effect=3.0,
            significance=PROMISED,
            paired=False,
        )
        assert advised is not None
        ours, theirs = machine.boots(103.0, advised), machine.boots(100.0, advised)
        found += stats.p_value(ours, theirs, paired=False) <= PROMISED

    assert 0.7 <= found / (SIMULATIONS // 3) <= 0.95


def test_more_noise_needs_more_boots_and_too_much_cannot_be_helped() -> None:
    quiet, loud = [[99.0], [100.0], [101.0]], [[80.0], [100.0], [120.0]]

    def needed(series: stats.Series, effect: float) -> int | None:
        return stats.boots_needed(series, series, effect=effect, significance=0.05, paired=False)

    assert needed(quiet, 3.0) == 4
    assert needed(loud, 10.0) == 64
    assert needed(loud, 3.0) is None


def test_the_least_p_is_what_boots_that_do_not_overlap_give() -> None:
    for boots in (2, 3, 5, 7):
        ours, theirs = [[float(n)] for n in range(boots)], [[n + 1e3] for n in range(boots)]
        found = stats.p_value(ours, theirs, paired=False)
        assert found == pytest.approx(stats.least_p(boots, boots, paired=False))
    assert stats.least_p(3, 3, paired=False) == 0.1
    assert stats.least_p(3, 3, paired=True) == 0.25
    assert stats.least_p(1, 9, paired=False) == 1.0
    assert stats.least_p(40, 40, paired=False) == pytest.approx(2 / 5_000)


def test_few_boots_have_a_range_and_no_interval() -> None:
    found = stats.mean([[1.0], [2.0, 4.0], [5.0]])

    assert (found.value, found.low, found.high, found.kind) == (3.0, 1.0, 5.0, "range")
    assert stats.mean([[1.0]] * 5).kind == "interval"


def test_one_boot_decides_nothing() -> None:
    assert stats.p_value([[1.0]], [[2.0]], paired=False) == 1.0
    assert stats.boots_needed([[1.0]], [[2.0]], effect=1, significance=0.05, paired=False) is None


def test_a_ratio_to_nothing_does_not_exist() -> None:
    assert stats.ratio([[1.0]], [[0.0]], paired=False) is None
    assert stats.starts_ratio([[1.0]], [[0.0]]) is None


def test_the_same_boots_give_the_same_figures_every_time() -> None:
    ours, theirs = Machine(8).boots(100.0, 9, 3), Machine(9).boots(103.0, 9, 3)

    assert stats.mean(ours) == stats.mean(ours)
    assert stats.ratio(ours, theirs, paired=True) == stats.ratio(ours, theirs, paired=True)
    assert stats.p_value(ours, theirs, paired=False) == stats.p_value(ours, theirs, paired=False)


def test_starts_that_are_equal_differ_in_nothing() -> None:
    series = [[100.25], [101.5], [99.75]]

    assert stats.starts_p_value(series, series) == 1.0
    ratio = stats.starts_ratio(series, series)
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == (1.0, 1.0, 1.0)


def test_starts_that_all_differ_by_the_same_differ_surely() -> None:
    assert stats.starts_p_value([[103.0], [104.0]], [[100.0], [101.0]]) == 0.0


def test_an_effect_as_small_as_what_another_start_does_is_not_one() -> None:
    theirs = [[100.0], [101.0], [99.0], [100.5], [99.5], [100.2], [99.8], [100.0]]
    shuffled = [*theirs[3:], *theirs[:3]]
    slower = [[value * 1.03] for (value,) in theirs]

    assert stats.starts_p_value(shuffled, theirs) > 0.5
    assert stats.starts_p_value(slower, theirs) < 1e-6
