"""What costs more or less on another side: by component, then by symbol, for the terminal.

All that is printed adds up to the last digit: costs are rounded first and added then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zclab.profiles import CellMovements, Cost, Movement
from zclab.report import words

_TOLD = 3
"""How many components a sentence names."""


def cost_sentence(cell: CellMovements) -> str:
    """Return what a cell costs more or less in all, and the components that moved most."""
    costs = _rounded_components(cell)
    whole = _sum(costs.values())
    name = f"{cell.dimensions.mode}, {words.cell_name(cell.dimensions)}"
    moved = [part for part in _by_change(costs.items()) if part[1].change]
    told = ", ".join(f"{part} {_signed(cost, cell)}" for part, cost in moved[:_TOLD])
    most = "" if not moved else f" (most: {told})" if len(moved) > _TOLD else f" ({told})"
    share = percent(whole)
    return (
        f"{name}: {_signed(whole, cell)} {cell.what} in all{f', {share}' if share else ''}{most}."
    )


def render_moved(cell: CellMovements, *, shown: int) -> RenderableType:
    """Return tables of a cell's components and of its ``shown`` largest movers."""
    name = f"{cell.dimensions.mode}, {words.cell_name(cell.dimensions)}"
    title = Text.assemble((name, "bold cyan"), (f"  {words.conditions(cell.dimensions)}", "dim"))
    parts: list[RenderableType] = [title, _components(cell)]
    if cell.movements:
        parts += ["", _symbols(cell, shown)]
    return Group(*parts, "")


def listed(cell: CellMovements, shown: int) -> Sequence[Movement]:
    """Return the largest movers; what moved by nothing that is printed is none."""
    least = 0.5 * 10**-cell.decimals
    return [one for one in cell.movements[:shown] if abs(one.change) >= least]


def percent(cost: Cost) -> str:
    """Return a change in percent; a word where there was nothing or is nothing, or no change."""
    if not cost.base:
        return "new" if cost.head else ""
    if not cost.head:
        return "gone"
    share = round(cost.change / cost.base * 100, 1)
    return f"{share:+.1f}%" if share else ""


def _components(cell: CellMovements) -> Table:
    costs = _rounded_components(cell)
    table = _table((cell.what,), cell)
    for name, cost in _by_change(costs.items()):
        table.add_row(name, *_numbers(cost, cell))
    table.add_row("in all", *_numbers(_sum(costs.values()), cell), style="bold")
    return table


def _symbols(cell: CellMovements, shown: int) -> Table:
    table = _table(("symbol", "component"), cell)
    found = listed(cell, shown)
    costs = [_rounded(one, cell) for one in found]
    for one, cost in zip(found, costs, strict=True):
        table.add_row(Text(one.symbol), one.component, *_numbers(cost, cell))
    whole, these = _sum(_rounded_components(cell).values()), _sum(costs)
    if others := len(cell.movements) - len(found):
        rest = Cost(base=whole.base - these.base, head=whole.head - these.head)
        table.add_row(f"these {len(found):,}", "", *_numbers(these, cell), style="dim")
        table.add_row(f"{others:,} others", "", *_numbers(rest, cell), style="dim")
    table.add_row("in all", "", *_numbers(whole, cell), style="bold")
    return table


def _table(names: Sequence[str], cell: CellMovements) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for heading in (cell.base, cell.head, "change", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _numbers(cost: Cost, cell: CellMovements) -> Iterator[str]:
    yield f"{cost.base:,.{cell.decimals}f}"
    yield f"{cost.head:,.{cell.decimals}f}"
    yield _signed(cost, cell)
    yield percent(cost)


def _signed(cost: Cost, cell: CellMovements) -> str:
    # Rounded once more: a difference of rounded numbers can be -0.0.
    return f"{round(cost.change, cell.decimals) + 0.0:+,.{cell.decimals}f}"


def _rounded_components(cell: CellMovements) -> dict[str, Cost]:
    return {name: _rounded(cost, cell) for name, cost in cell.components.items()}


def _rounded(cost: Cost, cell: CellMovements) -> Cost:
    return Cost(base=round(cost.base, cell.decimals), head=round(cost.head, cell.decimals))


def _sum(costs: Iterable[Cost]) -> Cost:
    costs = list(costs)
    return Cost(base=sum(one.base for one in costs), head=sum(one.head for one in costs))


def _by_change(costs: Iterable[tuple[str, Cost]]) -> list[tuple[str, Cost]]:
    return sorted(costs, key=lambda part: -abs(part[1].change))
