"""Trends: in which figures a row of runs moved, and between which two of them.

A change point splits a figure's history into stretches with medians of their own; that it is one is
decided by the noise between neighbours, and by the figure's gate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import ruptures
from scipy import stats

from zclab.documents.gates import Gate, Gates
from zclab.errors import ConfigError
from zclab.judge.cells import Key, cells
from zclab.judge.comparable import check_comparable
from zclab.judge.stats import Estimate
from zclab.judge.verdicts import measured
from zclab.model import ModeName
from zclab.options import is_there
from zclab.runs.results import METRICS, Dimensions, Results, RunInfo
from zclab.runs.store import RESULTS_FILE, load

FEWEST_RUNS = 4
"""A stretch is at least two runs: one is an outlier, which `invoke compare` finds."""
_STRETCH = 2
_PENALTY = 2.5
"""Of a change point, in units of the noise times the logarithm of the runs' number."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A figure that moved between two runs that follow each other."""

    before: RunInfo
    after: RunInfo
    ratio: float
    verdict: Literal["better", "worse"]


@dataclass(frozen=True, kw_only=True)
class History:
    """A figure in a row of runs, and where it moved."""

    dimensions: Dimensions
    mode: ModeName
    gate: Gate
    points: tuple[tuple[Results, Estimate], ...]
    moves: tuple[Move, ...]

    @property
    def metric(self) -> str:
        """The name of the figure."""
        return self.gate.metric


def load_runs(folder: Path) -> tuple[tuple[Results, ...], tuple[str, ...]]:
    """Return the runs below a folder, oldest first, and why others of them cannot be read.

    Raises ConfigError where there are none.
    """
    runs, reasons = [], []
    try:
        paths = sorted(folder.iterdir())
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}; name a folder of runs") from exc
    for path in paths:
        try:
            if is_there(path / RESULTS_FILE):
                runs.append(load(path))
        except ConfigError as exc:
            reasons.append(f"{path.name} is left out: {str(exc).splitlines()[0]}")
    if not runs:
        what = f"{folder}: no folder in it has a {RESULTS_FILE} that can be read"
        raise ConfigError("\n".join((f"{what}; name a folder of runs", *reasons)))
    return tuple(sorted(runs, key=lambda one: (one.run.started, one.run.id))), tuple(reasons)


def comparable_with_last(runs: Sequence[Results]) -> tuple[tuple[Results, ...], tuple[str, ...]]:
    """Return the runs that may be compared with the last one, and why the others may not."""
    kept, reasons = [], []
    for results in runs:
        try:
            check_comparable(runs[-1], results)
        except ConfigError as exc:
            what = str(exc).splitlines()[1:2] or [str(exc)]
            reasons.append(f"{results.run.id} is left out: {what[0].strip()}")
        else:
            kept.append(results)
    return tuple(kept), tuple(reasons)


def histories(runs: Sequence[Results], gates: Gates) -> tuple[History, ...]:
    """Return the history of each figure that has a gate, in the order of the last run's cells."""
    points: dict[tuple[Key, ModeName, str], list[tuple[Results, Estimate]]] = {}
    where: dict[tuple[Key, ModeName, str], tuple[Dimensions, Gate]] = {}
    for results in reversed(runs):
        for cell in cells([results]):
            for result in cell.modes:
                for metric, units in result.figures.items():
                    if gate := gates.gate(cell.dimensions, result.mode, metric):
                        place = (cell.key, result.mode, metric)
                        where.setdefault(place, (cell.dimensions, gate))
                        estimate = measured(units, results.run.clock)
                        points.setdefault(place, []).insert(0, (results, estimate))
    return tuple(
        History(
            dimensions=dimensions,
            mode=mode,
            gate=gate,
            points=tuple(points[key, mode, metric]),
            moves=_moves(points[key, mode, metric], gate),
        )
        for (key, mode, metric), (dimensions, gate) in where.items()
    )


def change_points(values: Sequence[float], *, smallest: float) -> tuple[int, ...]:
    """Return the places at which a new stretch begins.

    The noise is what neighbours differ by, so that a jump is none of it; where it is less than a
    third of the smallest difference that matters, it is taken to be that. Stretches have medians,
    not means, so that one run that went wrong is no stretch.
    """
    if len(values) < FEWEST_RUNS:
        return ()
    steps = stats.median_abs_deviation(np.diff(values), scale="normal")
    noise = max(float(steps) / math.sqrt(2), smallest / 3)
    if not noise:
        return ()
    found = ruptures.Pelt(model="l1", min_size=_STRETCH, jump=1).fit(np.array(values) / noise)
    return tuple(found.predict(pen=_PENALTY * math.log(len(values)))[:-1])


def _moves(points: Sequence[tuple[Results, Estimate]], gate: Gate) -> tuple[Move, ...]:
    values = [estimate.value for _, estimate in points]
    relative = gate.min_effect_percent / 100
    smallest = max(gate.min_effect, relative * abs(float(np.median(values))))
    places = change_points(values, smallest=smallest)
    edges = (0, *places, len(values))
    found = []
    for place, begin, end in zip(places, edges, edges[2:], strict=False):
        before, after = np.median(values[begin:place]), np.median(values[place:end])
        if abs(after - before) < smallest or not before:
            continue
        higher_is_better = METRICS[gate.metric].better == "higher"
        found.append(
            Move(
                before=points[place - 1][0].run,
                after=points[place][0].run,
                ratio=float(after / before),
                verdict="better" if (after > before) == higher_is_better else "worse",
            )
        )
    return tuple(found)


def version_of(results: Results) -> str:
    """Return what tells a run's kernel from another's: a version and the series."""
    versions, artifacts = results.provenance.versions, results.provenance.artifacts
    name = versions.get("host_kernel", "") or artifacts.get("kernel", "")[:8]
    series = artifacts.get("series", "")[:8]
    return f"{name} {series}".strip() or results.run.id
