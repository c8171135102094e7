"""Profiles of runs in virtual time: read back from their folders, and what moved between two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from zclab.errors import ConfigError
from zclab.model import COMPONENTS, TRANSACTIONS, Component, ModeName
from zclab.outside import quoted
from zclab.runs.results import Dimensions, Results, Trial

FOLDER = "profile"
Key = tuple[Component, str]
"""A component, and a symbol of what runs in it: the guest's kernel is the component ``guest``."""

_COMPONENTS: Mapping[str, Component] = {str(name): name for name in COMPONENTS}

Profiles = Mapping[Dimensions, Mapping[Key, float]]
"""What each symbol costs per unit, by mode and cell: ``boot`` and ``repetition`` say nothing."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What something costs per unit (KB, transaction) on two sides."""

    base: float
    head: float

    @property
    def change(self) -> float:
        """How much more it costs now."""
        return self.head - self.base


@dataclass(frozen=True, kw_only=True)
class Movement(Cost):
    """What a symbol cost on two sides."""

    component: Component
    symbol: str


@dataclass(frozen=True, kw_only=True)
class CellMovements:
    """What one mode cost in one cell on two sides, which are called ``base`` and ``head``.

    ``what`` is in which unit, such as ``instructions per KB``, with ``decimals`` worth showing.
    ``movements`` are all symbols, the largest movers first, and sum to ``components``; there are
    none where a side has no profile.
    """

    dimensions: Dimensions
    what: str
    components: Mapping[Component, Cost]
    movements: tuple[Movement, ...] = ()
    base: str = "base"
    head: str = "head"
    decimals: int = 1

    @property
    def whole(self) -> Cost:
        """All components together."""
        return _sum(self.components.values())


def profile_name(trial: Trial) -> str:
    """Return the name of a trial's profile under a run's ``raw/``."""
    return f"{FOLDER}/{trial.stem}.tsv"


def accounts_name(trial: Trial) -> str:
    """Return the name of a trial's accounts under a run's ``raw/``."""
    return f"accounts/{trial.stem}.json"


def movements(
    base: Path, base_results: Results, head: Path, head_results: Results
) -> tuple[CellMovements, ...]:
    """Return what each symbol costs in two runs, for each mode and cell that both have.

    Cells that ran under other conditions, such as other offloads, are compared where each run has
    one of them. Raises ConfigError where the runs have no profile of one cell in common.
    """
    before, after = profiles([(base, base_results)]), profiles([(head, head_results)])
    pairs = tuple(_pairs(before, after))
    if not pairs:
        msg = (
            f"{base} and {head}: no profile of one mode and workload in common; "
            "make both with `run-bench --clock=virtual --profile`"
        )
        raise ConfigError(msg)
    return tuple(moved(theirs, before[theirs], after[ours]) for theirs, ours in pairs)


def profiles(runs: Iterable[tuple[Path, Results]]) -> Profiles:
    """Return the profiles of runs: the mean over all starts of a mode in a cell."""
    found: dict[Dimensions, list[Mapping[Key, float]]] = {}
    for run, results in runs:
        folder = run if run.is_dir() else run.parent
        for trial in results.trials:
            file = folder / "raw" / profile_name(trial)
            if trial.status == "ok" and file.is_file():
                found.setdefault(of_mode(trial, trial.mode), []).append(_read(file))
    return {cell: _mean(read) for cell, read in found.items()}


def of_mode(cell: Dimensions, mode: ModeName) -> Dimensions:
    """Return what all trials of a mode in a cell have in common."""
    shared = {name: getattr(cell, name) for name in Dimensions.model_fields}
    return Dimensions(**shared | {"mode": mode, "boot": 0, "repetition": 0})


def moved(
    dimensions: Dimensions, base: Mapping[Key, float], head: Mapping[Key, float]
) -> CellMovements:
    """Return what moved between two profiles of a mode in a cell."""
    found = difference(base, head, base_units=1, head_units=1)
    parts = {
        name: [one for one in found if one.component == name]
        for name in COMPONENTS
        if any(one.component == name for one in found)
    }
    unit = "transaction" if dimensions.workload in TRANSACTIONS else "KB"
    return CellMovements(
        dimensions=dimensions,
        what=f"instructions per {unit}",
        components={name: _sum(of) for name, of in parts.items()},
        movements=tuple(found),
    )


def _pairs(before: Profiles, after: Profiles) -> Iterator[tuple[Dimensions, Dimensions]]:
    for cell in before:
        if cell in after:
            yield cell, cell
            continue
        there, here = (
            [one for one in side if _subject(one) == _subject(cell)] for side in (after, before)
        )
        if len(there) == len(here) == 1:
            yield cell, there[0]


def _subject(cell: Dimensions) -> tuple[object, ...]:
    return cell.mode, cell.workload, cell.direction, cell.message_bytes, cell.streams


def _sum(costs: Iterable[Cost]) -> Cost:
    costs = list(costs)
    return Cost(base=sum(one.base for one in costs), head=sum(one.head for one in costs))


def _read(file: Path) -> dict[Key, float]:
    """Read a table of a component, a symbol, its instructions, and those for each unit.

    For example (the first line of many)::

        component	symbol	insns	insns_per_kb
        vhost	rep_movs_alternative	23539818	179.595

    Raises ConfigError that names the line which is none of it.
    """
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from exc
    rows = enumerate(lines[1:], start=2)
    return dict(_row(line, f"{file}:{number}") for number, line in rows if line)


def _row(line: str, where: str) -> tuple[Key, float]:
    try:
        component, symbol, _, cost = line.split("\t")
        key, per_unit = (_COMPONENTS[component], symbol), float(cost)
    except (KeyError, ValueError) as exc:
        raise ConfigError(f"{where}: no line of a profile: {quoted(line)}") from exc
    if not math.isfinite(per_unit):
        raise ConfigError(f"{where}: found {cost}, allowed: a number")
    return key, per_unit


def _mean(read: Sequence[Mapping[Key, float]]) -> dict[Key, float]:
    keys = {key for profile in read for key in profile}
    return {key: fmean(profile.get(key, 0.0) for profile in read) for key in keys}


def difference(
    base: Mapping[Key, float], head: Mapping[Key, float], *, base_units: float, head_units: float
) -> list[Movement]:
    """Return what each symbol costs per unit in two profiles, the largest movers first."""
    moved = [
        Movement(
            component=component,
            symbol=symbol,
            base=base.get((component, symbol), 0) / base_units,
            head=head.get((component, symbol), 0) / head_units,
        )
        for component, symbol in {*base, *head}
    ]
    return sorted(moved, key=lambda m: (-abs(m.change), m.component, m.symbol))
