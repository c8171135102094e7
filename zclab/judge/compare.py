"""Comparing the modes of a run, or runs with each other: which figures meet which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from zclab.documents.gates import Gates
from zclab.errors import ConfigError
from zclab.judge.cells import Cell, cells
from zclab.judge.comparable import check_comparable, check_exact, check_one_baseline, matched
from zclab.judge.verdicts import Judged, Pair, Verdict, judge
from zclab.model import Clock, ModeName
from zclab.runs.results import Results


def within(results: Results, gates: Gates, *, baseline: ModeName = "vhost") -> tuple[Judged, ...]:
    """Compare each mode of a run with the baseline's mode."""
    pairs = []
    for cell in cells([results], baseline=baseline):
        base = cell.mode(baseline)
        for result in cell.modes:
            if base is None or result is base:
                continue
            for metric, theirs in base.figures.items():
                ours = result.figures.get(metric, ())
                if gate := gates.gate(cell.dimensions, result.mode, metric):
                    pairs.append(
                        Pair(
                            dimensions=cell.dimensions,
                            mode=result.mode,
                            gate=gate,
                            clock=results.run.clock,
                            ours=ours,
                            theirs=theirs,
                            blocks=True,
                        )
                    )
    return judge(pairs, gates)


def between(
    ours: Results, baselines: Sequence[Results], gates: Gates, *, allow: Collection[str] = ()
) -> tuple[Judged, ...]:
    """Compare a run with one or more runs that are its baseline, mode by mode.

    Raises ConfigError where they differ in more than the kernel, or have no cell in common;
    LabError where virtual time was not exact.
    """
    if any(results.run.id == ours.run.id for results in baselines):
        raise ConfigError(f"--baseline: {ours.run.id} is the run itself; name another one")
    check_one_baseline(baselines)
    for results in baselines:
        check_comparable(ours, results, allow=allow)
        check_exact(ours, results)
        check_exact(baselines[0], results)
    pairs = [
        pair
        for cell, base in matched(cells([ours]), cells(baselines), allow=allow)
        if base is not None
        for pair in _pairs_of_runs(cell, base, ours.run.clock, gates)
    ]
    if not pairs:
        raise ConfigError(
            f"{ours.run.id} and {baselines[0].run.id} have no valid figure of one mode and "
            "workload in common that a gate judges; compare runs of the same plan"
        )
    return judge(pairs, gates)


def _pairs_of_runs(cell: Cell, base: Cell, clock: Clock, gates: Gates) -> Iterator[Pair]:
    for theirs in base.modes:
        ours = cell.mode(theirs.mode)
        if ours is None:
            continue
        for metric, units in theirs.figures.items():
            if gate := gates.gate(cell.dimensions, theirs.mode, metric):
                yield Pair(
                    dimensions=cell.dimensions,
                    mode=theirs.mode,
                    gate=gate,
                    clock=clock,
                    ours=ours.figures.get(metric, ()),
                    theirs=units,
                    blocks=False,
                )


def tally(judged: Sequence[Judged]) -> Counter[Verdict]:
    """Return how often each verdict was given."""
    return Counter(one.verdict for one in judged)
