"""What a mode costs by component, and how that differs between two runs or two modes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from zclab.judge.cells import Cell, ModeResult, cells
from zclab.judge.comparable import matched
from zclab.judge.verdicts import measured
from zclab.model import COMPONENTS, TRANSACTIONS, Clock, Component, ModeName, WorkloadName
from zclab.runs.profiles import CellMovements, Cost, Key, Profiles, moved, of_mode
from zclab.runs.results import Dimensions, Results

HOST: tuple[Component, ...] = ("vhost", "nic", "qemu", "kvm")
"""Whose CPU time is the host's service demand."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two sides of a comparison: its runs, and their profiles where they have any."""

    runs: Sequence[Results]
    profiles: Profiles = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """What a mode did in a cell; ``profile`` is empty where there is none."""

    dimensions: Dimensions
    result: ModeResult
    clock: Clock
    profile: Mapping[Key, float]


def within(side: Side, *, baseline: ModeName) -> tuple[CellMovements, ...]:
    """Return what each mode of a run costs against the baseline's mode."""
    found = []
    for cell in cells(side.runs, baseline=baseline):
        base = cell.mode(baseline)
        for result in cell.modes:
            if base is not None and result is not base:
                pair = _of_pair(_measured(cell, base, side), _measured(cell, result, side))
                found += [replace(one, base=baseline, head=result.mode) for one in pair]
    return tuple(found)


def between(ours: Side, theirs: Side, *, allow: Collection[str] = ()) -> tuple[CellMovements, ...]:
    """Return what each mode of a run costs against the same mode in the runs of a baseline."""
    found: list[CellMovements] = []
    for cell, base in matched(cells(ours.runs), cells(theirs.runs), allow=allow):
        for before in base.modes if base else ():
            after = cell.mode(before.mode)
            if base and after:
                found += _of_pair(_measured(base, before, theirs), _measured(cell, after, ours))
    return tuple(found)


def cpu_parts(one: ModeResult, workload: WorkloadName, clock: Clock) -> dict[Component, float]:
    """Return the host's CPU time in us per KB or transaction, in the proportion of its threads.

    Empty where it was not measured.
    """
    seconds = {name: _mean(one, f"cpu_{name}_s", clock) for name in HOST}
    total = sum(seconds.values())
    demand = f"service_demand_us_per_{_unit(workload).lower()}"
    if demand not in one.figures or not total:
        return {}
    whole = _mean(one, demand, clock)
    return {name: whole * used / total for name, used in seconds.items()}


def instructions(one: ModeResult, workload: WorkloadName, clock: Clock) -> dict[Component, float]:
    """Return the instructions per KB or transaction of all components, in virtual time."""
    names = {name: f"insns_per_{_unit(workload).lower()}_{name}" for name in COMPONENTS}
    return {
        name: _mean(one, metric, clock) for name, metric in names.items() if metric in one.figures
    }


def _measured(cell: Cell, result: ModeResult, side: Side) -> _Measured:
    return _Measured(
        dimensions=cell.dimensions,
        result=result,
        clock=side.runs[0].run.clock,
        profile=side.profiles.get(of_mode(cell.dimensions, result.mode), {}),
    )


def _of_pair(base: _Measured, head: _Measured) -> Iterator[CellMovements]:
    """Yield what moved: by symbol where both have a profile, or else by component alone."""
    dimensions = of_mode(head.dimensions, head.result.mode)
    if base.profile and head.profile:
        yield moved(dimensions, base.profile, head.profile)
        return
    for what, parts_of, decimals in (
        ("instructions", instructions, 1),
        ("us of host CPU", cpu_parts, 3),
    ):
        before, after = (
            parts_of(one.result, one.dimensions.workload, one.clock) for one in (base, head)
        )
        if before and after:
            yield CellMovements(
                dimensions=dimensions,
                what=f"{what} per {_unit(dimensions.workload)}",
                components={
                    name: Cost(base=before.get(name, 0.0), head=after.get(name, 0.0))
                    for name in COMPONENTS
                    if before.get(name) or after.get(name)
                },
                decimals=decimals,
            )
            return


def _unit(workload: WorkloadName) -> str:
    return "transaction" if workload in TRANSACTIONS else "KB"


def _mean(one: ModeResult, name: str, clock: Clock) -> float:
    return measured(one.figures[name], clock).value if name in one.figures else 0.0
