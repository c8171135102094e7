"""Comparing modes: pure statistics over the samples of a run.

Only trials that ended ``ok`` count. Ratios to the baseline pair samples of the same repetition,
which ran next to each other, so that slow drift of the host cancels out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from zclab.model import ModeName
from zclab.results import METRICS, Dimensions, Results, Sample, Trial

_CELL = tuple(
    name for name in Dimensions.model_fields if name not in ("mode", "boot", "repetition")
)

Key = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A mean, and the least and the greatest value it was made of."""

    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of one mode in one cell; ``ratio`` is to the baseline, None without one."""

    value: Spread
    ratio: Spread | None


@dataclass(frozen=True, kw_only=True)
class ModeResult:
    """What one mode did in one cell; ``metrics`` keeps the order of zclab.results.METRICS."""

    mode: ModeName
    trials: tuple[Trial, ...]
    metrics: Mapping[str, Measured]

    @property
    def ok(self) -> int:
        """How many trials count."""
        return sum(trial.status == "ok" for trial in self.trials)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All modes in one cell: trials that differ in nothing but mode, boot and repetition."""

    dimensions: Dimensions
    modes: tuple[ModeResult, ...]


def compare(results: Results, *, baseline: ModeName = "vhost") -> tuple[Cell, ...]:
    """Return the cells of a run in the order they were first run, the baseline's mode first."""
    cells: dict[Key, list[Trial]] = {}
    for trial in results.trials:
        cells.setdefault(_key(trial), []).append(trial)
    good = {
        (_key(trial), trial.mode, trial.repetition)
        for trial in results.trials
        if trial.status == "ok"
    }
    samples: dict[Key, list[Sample]] = {}
    for sample in results.samples:
        if (_key(sample), sample.mode, sample.repetition) in good:
            samples.setdefault(_key(sample), []).append(sample)
    return tuple(_cell(trials, samples.get(key, ()), baseline) for key, trials in cells.items())


def spread(values: Iterable[float]) -> Spread:
    """Return the mean and the extremes of at least one value."""
    found = tuple(values)
    return Spread(mean=fmean(found), low=min(found), high=max(found), count=len(found))


def ratio(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Spread | None:
    """Return the ratio of the means of two series keyed by repetition.

    Its extremes are those of the single repetitions. Only repetitions that both have, and in which
    the divisor is not 0, count; None where there is none.
    """
    both = [number for number in ours if theirs.get(number)]
    if not both:
        return None
    single = spread(ours[number] / theirs[number] for number in both)
    mean = fmean(ours[number] for number in both) / fmean(theirs[number] for number in both)
    return Spread(mean=mean, low=single.low, high=single.high, count=single.count)


def _cell(trials: Sequence[Trial], samples: Sequence[Sample], baseline: ModeName) -> Cell:
    series: dict[ModeName, dict[str, dict[int, float]]] = {}
    for sample in samples:
        metrics = series.setdefault(sample.mode, {})
        metrics.setdefault(sample.metric, {})[sample.repetition] = sample.value
    # A mode's place is that of its first trial; sorted() is stable.
    modes = sorted(dict.fromkeys(trial.mode for trial in trials), key=lambda mode: mode != baseline)
    return Cell(
        dimensions=trials[0],
        modes=tuple(
            ModeResult(
                mode=mode,
                trials=tuple(trial for trial in trials if trial.mode == mode),
                metrics=_measured(
                    series.get(mode, {}), {} if mode == baseline else series.get(baseline, {})
                ),
            )
            for mode in modes
        ),
    )


def _measured(
    ours: Mapping[str, Mapping[int, float]], theirs: Mapping[str, Mapping[int, float]]
) -> dict[str, Measured]:
    return {
        metric: Measured(
            value=spread(ours[metric].values()),
            ratio=ratio(ours[metric], theirs.get(metric, {})),
        )
        for metric in METRICS
        if metric in ours
    }


def _key(dimensions: Dimensions) -> Key:
    return tuple(getattr(dimensions, name) for name in _CELL)
