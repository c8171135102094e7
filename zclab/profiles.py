"""Profiles of runs in virtual time: read back from their folders, and what moved between two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from zclab.errors import ConfigError
from zclab.model import COMPONENTS, TRANSACTIONS, Component
from zclab.outside import quoted
from zclab.results import Results, Trial

FOLDER = "profile"
LEAST = 0.05
"""Instructions per unit that are worth a line; less is how starts differ, not what code costs."""

Key = tuple[Component, str]
"""A component, and a symbol of what runs in it: the guest's kernel is the component ``guest``."""

_COMPONENTS: Mapping[str, Component] = {str(name): name for name in COMPONENTS}

Cell = tuple[str, str]
"""A mode, and a workload by its label."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """What a symbol cost per unit (a frame, a transaction) in two windows."""

    component: Component
    symbol: str
    base: float
    head: float

    @property
    def change(self) -> float:
        """How much more it costs now."""
        return self.head - self.base


@dataclass(frozen=True, kw_only=True)
class CellMovements:
    """What moved in one mode and workload.

    ``unit`` is what costs are per, KB or transaction. ``change`` is that of all symbols together,
    of those which moved too little to be among ``movements``, too.
    """

    mode: str
    workload: str
    unit: str
    change: float
    movements: tuple[Movement, ...]


def profile_name(trial: Trial) -> str:
    """Return the name of a trial's profile under a run's ``raw/``."""
    return f"{FOLDER}/{trial.stem}.tsv"


def accounts_name(trial: Trial) -> str:
    """Return the name of a trial's accounts under a run's ``raw/``."""
    return f"accounts/{trial.stem}.json"


def movements(
    base: Path, base_results: Results, head: Path, head_results: Results
) -> tuple[CellMovements, ...]:
    """Return what each symbol costs in two runs, the largest movers of each cell first.

    A cost is the mean over a cell's starts. Raises ConfigError where the runs have no profile of
    one cell in common.
    """
    before, after = _costs(base, base_results), _costs(head, head_results)
    shared = [cell for cell in before if cell in after]
    if not shared:
        msg = (
            f"{base} and {head}: no profile of one mode and workload in common; "
            "make both with `run-bench --clock=virtual --profile`"
        )
        raise ConfigError(msg)
    return tuple(_moved(cell, before[cell], after[cell]) for cell in shared)


def _moved(cell: Cell, base: Mapping[Key, float], head: Mapping[Key, float]) -> CellMovements:
    mode, workload = cell
    moved = difference(base, head, base_units=1, head_units=1)
    return CellMovements(
        mode=mode,
        workload=workload,
        unit="transaction" if workload.split()[0] in TRANSACTIONS else "KB",
        change=sum(one.change for one in moved),
        movements=tuple(one for one in moved if abs(one.change) >= LEAST),
    )


def _costs(run: Path, results: Results) -> dict[Cell, dict[Key, float]]:
    """Return the mean cost per unit of every symbol, by cell."""
    found: dict[Cell, list[Mapping[Key, float]]] = {}
    folder = run if run.is_dir() else run.parent
    for trial in results.trials:
        file = folder / "raw" / profile_name(trial)
        if trial.status == "ok" and file.is_file():
            streams = f"{trial.streams} streams" if trial.streams > 1 else None
            words = (trial.workload, trial.direction, f"{trial.message_bytes} B", streams)
            label = " ".join(word for word in words if word)
            found.setdefault((trial.mode, label), []).append(_read(file))
    return {cell: _mean(profiles) for cell, profiles in found.items()}


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


def _mean(profiles: Iterable[Mapping[Key, float]]) -> dict[Key, float]:
    profiles = list(profiles)
    keys = {key for profile in profiles for key in profile}
    return {key: fmean(profile.get(key, 0.0) for profile in profiles) for key in keys}


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
