"""Sorting a run's trials and samples into cells: what may be compared with what.

A cell is all trials that differ in nothing but mode, boot and repetition. Only figures of trials
that ended ``ok`` are kept; a failed or invalid trial is there with its reason and no figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from zclab.model import ModeName
from zclab.runs.results import METRICS, Dimensions, Results, Sample, Trial

NOT_OF_A_CELL = ("mode", "boot", "repetition")
CELL_FIELDS = tuple(name for name in Dimensions.model_fields if name not in NOT_OF_A_CELL)

Key = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One boot's values of one metric: the independent unit of all statistics.

    ``block`` is the repetition of its first value. Within a run, boots of different modes in one
    block ran next to each other.
    """

    run: str
    boot: int
    block: int
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ModeResult:
    """What one mode did in one cell; ``figures`` keeps the order of zclab.runs.results.METRICS."""

    mode: ModeName
    trials: tuple[Trial, ...]
    figures: Mapping[str, tuple[Unit, ...]]

    @property
    def ok(self) -> int:
        """How many trials count."""
        return sum(trial.status == "ok" for trial in self.trials)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """All modes in one cell."""

    dimensions: Dimensions
    modes: tuple[ModeResult, ...]

    @property
    def key(self) -> Key:
        """What the trials of this cell have in common."""
        return key_of(self.dimensions)

    def mode(self, name: ModeName) -> ModeResult | None:
        """Return what a mode did, None where it was not run."""
        return next((result for result in self.modes if result.mode == name), None)


def key_of(dimensions: Dimensions) -> Key:
    """Return what tells cells apart."""
    return tuple(getattr(dimensions, name) for name in CELL_FIELDS)


def cells(runs: Sequence[Results], *, baseline: ModeName = "vhost") -> tuple[Cell, ...]:
    """Return the cells of runs in the order they were first run, the baseline's mode first."""
    trials: dict[Key, list[Trial]] = {}
    units: dict[tuple[Key, ModeName], dict[str, list[Unit]]] = {}
    for results in runs:
        good = {trial.identity for trial in results.trials if trial.status == "ok"}
        for trial in results.trials:
            trials.setdefault(key_of(trial), []).append(trial)
        by_boot: dict[tuple[Key, ModeName, str, int], list[Sample]] = {}
        for sample in results.samples:
            if sample.identity in good:
                place = (key_of(sample), sample.mode, sample.metric, sample.boot)
                by_boot.setdefault(place, []).append(sample)
        for (key, mode, metric, _), found in by_boot.items():
            units.setdefault((key, mode), {}).setdefault(metric, []).append(
                _unit(results.run.id, found)
            )
    return tuple(_cell(key, found, units, baseline) for key, found in trials.items())


def _unit(run: str, found: Sequence[Sample]) -> Unit:
    return Unit(
        run=run,
        boot=found[0].boot,
        block=found[0].repetition,
        values=tuple(sample.value for sample in found),
    )


def _cell(
    key: Key,
    trials: Sequence[Trial],
    units: Mapping[tuple[Key, ModeName], Mapping[str, Iterable[Unit]]],
    baseline: ModeName,
) -> Cell:
    # A mode's place is that of its first trial; sorted() is stable.
    modes = sorted(dict.fromkeys(trial.mode for trial in trials), key=lambda mode: mode != baseline)
    results = []
    for mode in modes:
        figures = units.get((key, mode), {})
        results.append(
            ModeResult(
                mode=mode,
                trials=tuple(trial for trial in trials if trial.mode == mode),
                figures={name: tuple(figures[name]) for name in METRICS if name in figures},
            )
        )
    return Cell(dimensions=trials[0], modes=tuple(results))
