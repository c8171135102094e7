"""Sweeps over message sizes: where one mode overtakes another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from zclab.judge.cells import Cell, Key, key_of
from zclab.runs.results import Dimensions

FEWEST_SIZES = 3
"""Fewer sizes are bars, not a curve."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Cells that differ in nothing but the size of their messages, smallest first.

    In virtual time, streams of small messages move less than others.
    """

    cells: tuple[Cell, ...]

    @property
    def dimensions(self) -> Dimensions:
        """What the cells have in common; size and amount are those of the last."""
        return self.cells[-1].dimensions

    @property
    def is_curve(self) -> bool:
        """Whether there are sizes enough for a curve."""
        return len(self.cells) >= FEWEST_SIZES


def sweeps(cells: Sequence[Cell]) -> tuple[Sweep, ...]:
    """Return cells by what they have in common but their size, in the order they were run in."""
    found: dict[Key, list[Cell]] = {}
    for cell in cells:
        without_size = cell.dimensions.model_copy(update={"message_bytes": 0, "amount": None})
        found.setdefault(key_of(without_size), []).append(cell)
    return tuple(
        Sweep(cells=tuple(sorted(group, key=lambda cell: cell.dimensions.message_bytes)))
        for group in found.values()
    )


def crossovers(ratios: Sequence[tuple[int, float]]) -> tuple[float, ...]:
    """Return the sizes at which a ratio crosses 1, between the measured ones.

    Between two sizes the ratio's logarithm is taken to be straight over the size's: costs by the
    byte and costs by the message make it nearly so.
    """
    found = []
    for (small, before), (large, after) in pairwise(ratios):
        if (before < 1 < after) or (after < 1 < before):
            share = math.log(before) / (math.log(before) - math.log(after))
            found.append(small * (large / small) ** share)
    return tuple(found)
