"""Judging pairs of figures: better, worse, the same, or undecided, and why.

A difference is one if it is significant, after correction for the number of figures compared, and
as large as the figure's gate says. It is ruled out if its whole interval lies within that gate.
Everything else is undecided, with what would decide it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from zclab.documents.gates import Gate, Gates
from zclab.judge import stats
from zclab.judge.cells import Unit
from zclab.model import Clock, ModeName
from zclab.runs.results import METRICS, Dimensions

Verdict = Literal["better", "worse", "same", "undecided", "missing"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One figure of one mode in one cell against its baseline.

    ``missing`` is the verdict where our side has no valid figure and the baseline has; ``p`` is
    corrected for the number of figures that were compared.
    """

    dimensions: Dimensions
    mode: ModeName
    gate: Gate
    verdict: Verdict
    reason: str
    ours: stats.Estimate | None
    theirs: stats.Estimate
    ratio: stats.Estimate | None
    p: float
    more_boots: int | None = None

    @property
    def metric(self) -> str:
        """The name of what was compared."""
        return self.gate.metric


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sides of a figure, before anything is said about them."""

    dimensions: Dimensions
    mode: ModeName
    gate: Gate
    clock: Clock
    ours: tuple[Unit, ...]
    theirs: tuple[Unit, ...]
    blocks: bool
    """Both sides are of one run, whose blocks are common to them."""

    @property
    def common(self) -> bool:
        """Whether the boots of both sides correspond, one to one and in order."""
        return self.clock != "wall" or self.blocks


def measured(units: Sequence[Unit], clock: Clock) -> stats.Estimate:
    """Return the mean of a figure, with what is known about it in a clock."""
    series = [unit.values for unit in units]
    return stats.mean(series) if clock == "wall" else stats.starts(series)


def judge(pairs: Sequence[Pair], gates: Gates) -> tuple[Judged, ...]:
    """Return the verdict on each pair; their number is corrected for, so give all at once."""
    pairs = [_aligned(pair) if pair.common and pair.ours else pair for pair in pairs]
    judged = [pair for pair in pairs if pair.ours]
    significance = gates.significance / max(1, len(judged))
    p_values = stats.adjusted([_p_value(pair, significance) for pair in judged])
    p_of = dict(zip(map(id, judged), p_values, strict=True))
    return tuple(
        _verdict(pair, p_of[id(pair)], gates.significance, significance)
        if id(pair) in p_of
        else _missing(pair)
        for pair in pairs
    )


def _aligned(pair: Pair) -> Pair:
    """Keep the boots that both sides have, in one order; none where they have none in common."""
    ours = {_counterpart(unit, pair.clock): unit for unit in pair.ours}
    theirs = {_counterpart(unit, pair.clock): unit for unit in pair.theirs}
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        return replace(pair, ours=())
    return replace(
        pair, ours=tuple(ours[key] for key in both), theirs=tuple(theirs[key] for key in both)
    )


def _counterpart(unit: Unit, clock: Clock) -> int:
    """Return what two boots that belong together have in common: their block, or their start."""
    return unit.block if clock == "wall" else unit.boot


def _series(pair: Pair) -> tuple[stats.Series, stats.Series]:
    return [unit.values for unit in pair.ours], [unit.values for unit in pair.theirs]


def _tested_in_pairs(pair: Pair, significance: float) -> bool:
    """Tell whether pairs are to be tested: they need more boots to reach a significance at all.

    With fewer, boots are tested as if they were in no blocks. That is still right, since their
    order in each block was drawn by lot, but the machine's drift counts as noise.
    """
    boots = min(len(pair.ours), len(pair.theirs))
    return pair.blocks and stats.least_p(boots, boots, paired=True) <= significance


def _p_value(pair: Pair, significance: float) -> float:
    ours, theirs = _series(pair)
    if pair.clock != "wall":
        return stats.starts_p_value(ours, theirs)
    return stats.p_value(ours, theirs, paired=_tested_in_pairs(pair, significance))


def _verdict(pair: Pair, p: float, alarm: float, significance: float) -> Judged:
    mine, yours = measured(pair.ours, pair.clock), measured(pair.theirs, pair.clock)
    ratio, sure = _ratio(pair)
    difference = mine.value - yours.value
    smallest = max(pair.gate.min_effect, pair.gate.min_effect_percent / 100 * abs(yours.value))
    verdict: Verdict = "undecided"
    reason, more = "", None
    if p <= alarm and difference and abs(difference) >= smallest:
        higher_is_better = METRICS[pair.gate.metric].better == "higher"
        verdict = "better" if (difference > 0) == higher_is_better else "worse"
    elif _ruled_out(pair, sure, smallest / abs(yours.value) if yours.value else 0.0):
        verdict = "same"
    else:
        reason, more = _why(pair, smallest, significance)
    return Judged(
        dimensions=pair.dimensions,
        mode=pair.mode,
        gate=pair.gate,
        verdict=verdict,
        reason=reason,
        ours=mine,
        theirs=yours,
        ratio=ratio,
        p=p,
        more_boots=more,
    )


def _ratio(pair: Pair) -> tuple[stats.Estimate | None, tuple[float, float] | None]:
    """Return the ratio of both sides, and its confidence interval where there can be one."""
    ours, theirs = _series(pair)
    if pair.clock != "wall":
        return stats.starts_ratio(ours, theirs), stats.starts_interval(ours, theirs)
    ratio = stats.ratio(ours, theirs, paired=pair.blocks)
    return ratio, (ratio.low, ratio.high) if ratio and ratio.kind == "interval" else None


def _ruled_out(pair: Pair, sure: tuple[float, float] | None, smallest: float) -> bool:
    """Tell whether a difference that matters is out of the question."""
    if sure is not None:
        return 1 - smallest < sure[0] and sure[1] < 1 + smallest
    # Where nothing scatters, as in copies of 0 bytes, there is nothing to be unsure about.
    enough = len(pair.ours) > 1 or pair.clock != "wall"
    return (
        enough and len({value for unit in (*pair.ours, *pair.theirs) for value in unit.values}) == 1
    )


def _why(pair: Pair, smallest: float, significance: float) -> tuple[str, int | None]:
    """Say why a figure is undecided, and how many more boots of each side would decide it."""
    boots = min(len(pair.ours), len(pair.theirs))
    if boots == 1:
        once = "boot" if pair.clock == "wall" else "start"
        return f"one {once} says nothing about the next; run more repetitions", None
    if pair.clock != "wall":
        return "no larger than the difference between two starts of the same code", None
    ways = (False, True) if pair.blocks else (False,)
    needed = min(
        filter(
            None,
            (
                stats.boots_needed(
                    *_series(pair), effect=smallest, significance=significance, paired=paired
                )
                for paired in ways
            ),
        ),
        default=None,
    )
    difference = f"a difference of {smallest:.3g} {METRICS[pair.gate.metric].unit}"
    if needed is None:
        why = f"too noisy to tell {difference}"
        return f"{why}; no practical number of repetitions would decide", None
    if needed <= boots:
        return f"close to the gate, {difference}", None
    more = needed - boots
    if stats.least_p(len(pair.ours), len(pair.theirs), paired=False) > significance:
        why = f"{boots} boots are too few for any difference"
    else:
        why = f"too noisy to tell {difference}"
    return f"{why}; {more} more repetitions would decide", more


def _missing(pair: Pair) -> Judged:
    return Judged(
        dimensions=pair.dimensions,
        mode=pair.mode,
        gate=pair.gate,
        verdict="missing",
        reason="no valid trial to compare with the baseline's",
        ours=None,
        theirs=measured(pair.theirs, pair.clock),
        ratio=None,
        p=1.0,
    )
