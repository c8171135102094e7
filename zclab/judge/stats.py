"""Statistics of repeated measurements: numbers in, numbers out.

The independent unit is the guest's boot. Two values of one boot share its page placement, its
timers' phase, its hash seeds; a hundred seconds of one boot say nothing about the next. A Series
is therefore a sequence of boots, each a sequence of values, and what is tested are boots.

Every draw is seeded: the same results give the same verdict, today and next year.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Series = Sequence[Sequence[float]]
Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

CONFIDENCE = 0.95
POWER = 0.8
RESAMPLES = 9_999
RELABELLINGS = 4_999
"""All are tried up to so many (7 boots against 7, or 12 pairs), and of more a random sample."""
FEWEST_FOR_INTERVAL = 5
"""With fewer boots no bootstrap interval keeps its promise; what they ranged over is shown."""
MOST_BOOTS = 200
"""More than this is not advice."""
_SEED = 6_12


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and what is known about it.

    ``low`` and ``high`` are a confidence interval (``interval``), the least and the greatest of
    too few boots for one (``range``), or those of the virtual clock's fixed starts (``starts``).
    """

    value: float
    low: float
    high: float
    sd: float
    boots: int
    kind: Literal["interval", "range", "starts"]


def boot_means(series: Series) -> Array:
    """Return the mean of each boot."""
    return np.array([np.mean(values) for values in series], dtype=np.float64)


def mean(series: Series) -> Estimate:
    """Return the mean over boots with its interval: a hierarchical bootstrap."""
    drawn = _Nested(series)
    means = boot_means(series)
    return _estimate(
        float(means.mean()),
        sample=means,
        boots=len(means),
        degrees=len(means) - 1,
        draw=lambda level: _percentiles(drawn.means, (len(means),), level),
    )


def ratio(ours: Series, theirs: Series, *, paired: bool) -> Estimate | None:
    """Return the ratio of two means with its interval; None where the divisor is not positive.

    ``paired`` series have their boots in the same order, one of each side in every block, and are
    resampled by blocks.
    """
    top, bottom = boot_means(ours), boot_means(theirs)
    if not bottom.min() > 0:
        return None
    above, below = _Nested(ours), _Nested(theirs)
    draws: dict[bool, Callable[[float], tuple[float, float]]] = {
        True: lambda level: _percentiles(
            lambda chosen: above.means(chosen) / below.means(chosen), (len(top),), level
        ),
        False: lambda level: _percentiles(
            lambda mine, yours: above.means(mine) / below.means(yours),
            (len(top), len(bottom)),
            level,
        ),
    }
    return _estimate(
        float(top.mean() / bottom.mean()),
        sample=top / bottom if paired else np.divide.outer(top, bottom).ravel(),
        boots=min(len(top), len(bottom)),
        degrees=len(top) - 1 if paired else len(top) + len(bottom) - 2,
        draw=draws[paired],
    )


def p_value(ours: Series, theirs: Series, *, paired: bool) -> float:
    """Return the two-sided p of a permutation test on boots for a difference of means.

    Exact as long as there are at most RELABELLINGS ways to relabel the boots.
    """
    mine, yours = boot_means(ours), boot_means(theirs)
    return _probability(float(p_values(mine, yours, paired=paired)))


def p_values(ours: Array, theirs: Array, *, paired: bool) -> Array:
    """Return the p of p_value() for many comparisons at once, each along the last axis."""
    if min(ours.shape[-1], theirs.shape[-1]) < 2:  # noqa: PLR2004 - one has no relabelling
        return np.ones(ours.shape[:-1])
    result = stats.permutation_test(
        (ours, theirs),
        lambda x, y, axis: np.mean(x, axis=axis) - np.mean(y, axis=axis),
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=RELABELLINGS,
        axis=-1,
        rng=np.random.default_rng(_SEED),
    )
    return np.asarray(result.pvalue)


def _probability(p: float) -> float:
    """Return a p; values so large that their squares are infinite tell nothing."""
    return 1.0 if math.isnan(p) else float(p)


def least_p(ours: int, theirs: int, *, paired: bool) -> float:
    """Return the smallest p that so many boots can give, however far apart they are."""
    if min(ours, theirs) < 2:  # noqa: PLR2004 - as above
        return 1.0
    ways = 2**ours if paired else math.comb(ours + theirs, ours)
    return min(1.0, 2 / min(ways, RELABELLINGS + 1))


def adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected for their number, after Benjamini and Hochberg.

    Where nothing differs, a false alarm anywhere is as rare as with one comparison; where much
    does, at most the stated share of alarms is false.
    """
    if not p_values:
        return ()
    return tuple(float(p) for p in stats.false_discovery_control(p_values, method="bh"))


def boots_needed(
    ours: Series, theirs: Series, *, effect: float, significance: float, paired: bool
) -> int | None:
    """Return how many boots of each side find a difference of ``effect``, at the noise seen.

    They do so with probability POWER at this significance; None if MOST_BOOTS would not do.
    """
    mine, yours = boot_means(ours), boot_means(theirs)
    if min(len(mine), len(yours)) < 2 or effect <= 0:  # noqa: PLR2004 - noise needs two
        return None
    if paired:
        noise = float(np.std(mine - yours, ddof=1))
    else:
        noise = math.sqrt((np.var(mine, ddof=1) + np.var(yours, ddof=1)) / 2)

    def enough(boots: int) -> bool:
        if least_p(boots, boots, paired=paired) > significance:
            return False
        degrees, shrink = (boots - 1, boots) if paired else (2 * (boots - 1), boots / 2)
        critical = stats.t.isf(significance / 2, degrees)
        far = effect / noise * math.sqrt(shrink) if noise else math.inf
        return math.isinf(far) or bool(stats.nct.sf(critical, degrees, far) >= POWER)

    numbers = range(2, MOST_BOOTS + 1)
    place = bisect_left(numbers, True, key=enough)
    return numbers[place] if place < len(numbers) else None


def starts(series: Series) -> Estimate:
    """Return the mean over the virtual clock's starts, and what they range over: no noise."""
    means = boot_means(series)
    return Estimate(
        value=float(means.mean()),
        low=float(means.min()),
        high=float(means.max()),
        sd=_sd(means),
        boots=len(means),
        kind="starts",
    )


def starts_ratio(ours: Series, theirs: Series) -> Estimate | None:
    """Return the ratio of two means over the same starts; its range is that of single starts."""
    top, bottom = boot_means(ours), boot_means(theirs)
    if not bottom.min() > 0:
        return None
    single = top / bottom
    return Estimate(
        value=float(top.mean() / bottom.mean()),
        low=float(single.min()),
        high=float(single.max()),
        sd=_sd(single),
        boots=len(single),
        kind="starts",
    )


def starts_p_value(ours: Series, theirs: Series) -> float:
    """Return the p of a paired t-test over the same starts.

    A change of code shifts everything after it, as another start does; so far apart as the
    starts' differences are, a mean difference may be such a shift. Differences that are all the
    same have no such noise: they are 0 (p = 1) or an effect (p = 0).
    """
    difference = boot_means(ours) - boot_means(theirs)
    if len(difference) < 2:  # noqa: PLR2004 - what another start does is unknown
        return 1.0
    if np.ptp(difference) == 0:
        return 1.0 if difference[0] == 0 else 0.0
    return _probability(stats.ttest_1samp(difference, 0.0).pvalue)


def starts_interval(ours: Series, theirs: Series) -> tuple[float, float] | None:
    """Return the interval of the ratio of two means over the same starts, as the t-test has it."""
    top, bottom = boot_means(ours), boot_means(theirs)
    if len(top) < 2 or not bottom.min() > 0:  # noqa: PLR2004 - as above
        return None
    relative = (top - bottom) / bottom.mean()
    if np.ptp(relative) == 0:
        return 1 + float(relative[0]), 1 + float(relative[0])
    interval = stats.ttest_1samp(relative, 0.0).confidence_interval(CONFIDENCE)
    return 1 + float(interval.low), 1 + float(interval.high)


class _Nested:
    """Draws of a hierarchical bootstrap: given boots, draws values within each of them."""

    def __init__(self, series: Series) -> None:
        self._sizes = np.array([len(values) for values in series])
        self._values = np.zeros((len(series), self._sizes.max()))
        for row, values in zip(self._values, series, strict=True):
            row[: len(values)] = values
        self._random = np.random.default_rng(_SEED + 1)

    def means(self, boots: Indices) -> Array:
        """Return the mean over each last-axis set of boots, with values drawn anew in each."""
        if self._values.shape[1] == 1:
            only: Array = self._values[boots, 0].mean(axis=-1)
            return only
        sizes = self._sizes[boots][..., np.newaxis]
        places = self._random.random((*boots.shape, self._values.shape[1]))
        drawn = self._values[boots[..., np.newaxis], (places * sizes).astype(np.int64)]
        drawn[np.arange(self._values.shape[1]) >= np.broadcast_to(sizes, drawn.shape)] = 0
        totals: Array = (drawn.sum(axis=-1) / sizes[..., 0]).mean(axis=-1)
        return totals


def _estimate(
    value: float,
    *,
    sample: Array,
    boots: int,
    degrees: int,
    draw: Callable[[float], tuple[float, float]],
) -> Estimate:
    few = boots < FEWEST_FOR_INTERVAL
    if few:
        low, high = float(sample.min()), float(sample.max())
    else:
        low, high = draw(_expanded(boots, degrees))
    return Estimate(
        value=value,
        low=low,
        high=high,
        sd=_sd(sample),
        boots=boots,
        kind="range" if few else "interval",
    )


def _expanded(boots: int, degrees: int) -> float:
    """Return the level at which percentiles of few boots cover CONFIDENCE.

    A bootstrap sees a spread that is too small by sqrt((n-1)/n), and normal tails where a t
    distribution belongs; Hesterberg's expanded percentiles make up for both.
    """
    tails = stats.t.isf((1 - CONFIDENCE) / 2, degrees) * math.sqrt(boots / (boots - 1))
    return float(1 - 2 * stats.norm.sf(tails))


def _percentiles(
    statistic: Callable[..., Array], boots: tuple[int, ...], level: float
) -> tuple[float, float]:
    """Return the bootstrap's percentiles; what scipy draws are the numbers of boots."""

    def drawn(*chosen: Any, axis: int = -1) -> Array:  # noqa: ARG001 - scipy names it
        return statistic(*(np.asarray(indices, dtype=np.int64) for indices in chosen))

    result = stats.bootstrap(
        tuple(np.arange(count) for count in boots),
        drawn,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _sd(values: Array) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
