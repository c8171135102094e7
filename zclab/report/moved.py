"""What costs more or less on another side: by component, then by symbol.

All that is printed adds up to the last digit: costs are rounded first and added then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zclab.report import words
from zclab.runs.profiles import CellMovements, Cost, Movement

IN_ALL = "in all"
_TOLD = 3
"""How many components a sentence names."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table; ``component`` is that of a symbol, and empty for anything else."""

    name: str
    component: str
    base: str
    head: str
    change: str
    percent: str


def cost_sentence(cell: CellMovements) -> str:
    """Return what a cell costs more or less in all, and the components that moved most."""
    costs = _rounded_components(cell)
    whole = _sum(costs.values())
    name = f"{cell.dimensions.mode}, {words.cell_name(cell.dimensions)}"
    moved = [part for part in _by_change(costs.items()) if part[1].change]
    told = ", ".join(f"{part} {signed(cost.change, cell.decimals)}" for part, cost in moved[:_TOLD])
    most = "" if not moved else f" (most: {told})" if len(moved) > _TOLD else f" ({told})"
    share = percent(whole)
    all_of_it = f"{signed(whole.change, cell.decimals)} {cell.what} in all"
    return f"{name}: {all_of_it}{f', {share}' if share else ''}{most}."


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


def component_rows(cell: CellMovements) -> list[Row]:
    """Return what each component costs, the largest mover first, and all together."""
    costs = _rounded_components(cell)
    rows = [_row(cell, name, "", cost) for name, cost in _by_change(costs.items())]
    return [*rows, _row(cell, IN_ALL, "", _sum(costs.values()))]


def symbol_rows(cell: CellMovements, shown: int) -> list[Row]:
    """Return the largest movers, what they, the others, and all come to."""
    found = listed(cell, shown)
    costs = [_rounded(one, cell) for one in found]
    rows = [
        _row(cell, one.symbol, one.component, cost) for one, cost in zip(found, costs, strict=True)
    ]
    whole, these = _sum(_rounded_components(cell).values()), _sum(costs)
    if others := len(cell.movements) - len(found):
        rest = Cost(base=whole.base - these.base, head=whole.head - these.head)
        rows.append(_row(cell, f"these {len(found):,}", "", these))
        rows.append(_row(cell, f"{others:,} others", "", rest))
    return [*rows, _row(cell, IN_ALL, "", whole)]


def signed(change: float, decimals: int) -> str:
    """Return a change with its sign; nothing is +0.0, not -0.0."""
    return f"{round(change, decimals) + 0.0:+,.{decimals}f}"


def _row(cell: CellMovements, name: str, component: str, cost: Cost) -> Row:
    return Row(
        name=name,
        component=component,
        base=f"{cost.base:,.{cell.decimals}f}",
        head=f"{cost.head:,.{cell.decimals}f}",
        change=signed(cost.change, cell.decimals),
        percent=percent(cost),
    )


def _components(cell: CellMovements) -> Table:
    table = _table((cell.what,), cell)
    for row in component_rows(cell):
        style = "bold" if row.name == IN_ALL else ""
        table.add_row(row.name, row.base, row.head, row.change, row.percent, style=style)
    return table


def _symbols(cell: CellMovements, shown: int) -> Table:
    table = _table(("symbol", "component"), cell)
    for row in symbol_rows(cell, shown):
        style = "" if row.component else "bold" if row.name == IN_ALL else "dim"
        name = Text(row.name)
        table.add_row(name, row.component, row.base, row.head, row.change, row.percent, style=style)
    return table


def _table(names: Sequence[str], cell: CellMovements) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for heading in (cell.base, cell.head, "change", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _rounded_components(cell: CellMovements) -> dict[str, Cost]:
    return {name: _rounded(cost, cell) for name, cost in cell.components.items()}


def _rounded(cost: Cost, cell: CellMovements) -> Cost:
    return Cost(base=round(cost.base, cell.decimals), head=round(cost.head, cell.decimals))


def _sum(costs: Iterable[Cost]) -> Cost:
    costs = list(costs)
    return Cost(base=sum(one.base for one in costs), head=sum(one.head for one in costs))


def _by_change(costs: Iterable[tuple[str, Cost]]) -> list[tuple[str, Cost]]:
    return sorted(costs, key=lambda part: -abs(part[1].change))
