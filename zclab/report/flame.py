"""A differential flame graph by component and symbol, on a page of its own.

It lies on its side: what costs more is higher, so that names of symbols can be read, on a phone
too. matplotlib draws it: what else draws flame graphs is no Python library that is kept, or
brings megabytes of script into each page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from zclab.model import Component
from zclab.report import words
from zclab.report.charts import WIDTH_IN, drawing
from zclab.report.figures import Chart, chart
from zclab.report.moved import component_rows, cost_sentence, percent, signed, symbol_rows
from zclab.report.page import template
from zclab.runs.profiles import CellMovements, Cost, Movement

HEIGHT_IN = 7.0
_LABEL_IN = 0.15
"""A line of text is as high; what is lower is drawn together with others of its kind."""
_COMPONENTS_WIDTH = 0.27
_NAME_MAX = 34
_GONE_SHOWN = 8
_COLOURS = mpl.colormaps["RdBu_r"]
_UNCHANGED = (0.94, 0.94, 0.94, 1.0)
_PALEST, _DARKEST = 0.04, 0.27
"""How far from the middle of the colours; darker than this, black text cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """A rectangle of the graph: where it begins and how high it is, in what it costs."""

    name: str
    cost: Cost
    start: float
    component: bool = False


def flame_page(cells: Sequence[CellMovements], *, base: str, head: str, shown: int) -> str:
    """Return a page with a graph and tables for each cell; ``base`` and ``head`` name the runs."""
    return template("profile.html.j2").render(
        base=base,
        head=head,
        sentences=[cost_sentence(cell) for cell in cells],
        sections=[
            {
                "title": f"{cell.dimensions.mode}, {words.cell_name(cell.dimensions)}",
                "conditions": words.conditions(cell.dimensions),
                "what": cell.what,
                "chart": _chart(cell),
                "tables": (
                    ("component", component_rows(cell)),
                    ("symbol", symbol_rows(cell, shown)),
                ),
                "gone": _gone(cell),
            }
            for cell in cells
        ],
    )


def flame(cell: CellMovements) -> str:
    """Return the graph as SVG: the height is the cost in head, the colour what changed."""
    blocks = tuple(_blocks(cell))
    most = {
        kind: max((abs(one.cost.change) for one in blocks if one.component == kind), default=0.0)
        for kind in (True, False)
    }
    with drawing(WIDTH_IN, HEIGHT_IN) as (figure, svg):
        axes = figure.subplots()
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(max(1e-9, cell.whole.head), 0)
        for number, block in enumerate(blocks):
            _draw(axes, block, f"tip-{number}", cell, most[block.component])
    tips = [_tip(block, cell) for block in blocks]
    # matplotlib gives a patch an id but no title, which browsers show where the pointer is.
    return re.sub(
        r'<g id="(c[0-9a-f]+-tip-([0-9]+))">',
        lambda found: f"{found[0]}<title>{escape(tips[int(found[2])])}</title>",
        svg[0],
    )


def _blocks(cell: CellMovements) -> Iterator[Block]:
    """Yield components, the dearest first, and in each its symbols; small ones are together."""
    start = 0.0
    least = cell.whole.head * _LABEL_IN / HEIGHT_IN
    for name, cost in sorted(cell.components.items(), key=lambda part: -part[1].head):
        if not cost.head:
            continue
        yield Block(name=name, cost=cost, start=start, component=True)
        inner = start
        for symbol, of_symbol in _symbols(cell, name, least):
            yield Block(name=symbol, cost=of_symbol, start=inner)
            inner += of_symbol.head
        start += cost.head


def _symbols(cell: CellMovements, component: Component, least: float) -> Iterator[tuple[str, Cost]]:
    found = [one for one in cell.movements if one.component == component and one.head]
    found.sort(key=lambda one: -one.head)
    large = [one for one in found if one.head >= least]
    yield from ((one.symbol, one) for one in large)
    if small := found[len(large) :]:
        base, head = sum(one.base for one in small), sum(one.head for one in small)
        yield _together(small), Cost(base=base, head=head)


def _together(small: Sequence[Movement]) -> str:
    """Return what symbols are called that are drawn as one: the one that moved is named."""
    if len(small) == 1:
        return small[0].symbol
    mover = max(small, key=lambda one: abs(one.change))
    alone = abs(mover.change) > sum(abs(one.change) for one in small) / 2
    return f"{mover.symbol}, {len(small) - 1:,} others" if alone else f"{len(small):,} others"


def _draw(axes: Axes, block: Block, gid: str, cell: CellMovements, most: float) -> None:
    left = 0.0 if block.component else _COMPONENTS_WIDTH
    right = _COMPONENTS_WIDTH if block.component else 1.0
    patch = Rectangle(
        (left, block.start),
        right - left,
        block.cost.head,
        facecolor=_colour(block.cost.change, most, cell.decimals),
        edgecolor="white",
        linewidth=0.8,
    )
    patch.set_gid(gid)
    axes.add_patch(patch)
    if block.cost.head < cell.whole.head * _LABEL_IN / HEIGHT_IN:
        return
    middle = block.start + block.cost.head / 2
    axes.text(left + 0.015, middle, _short(block), va="center", fontsize=8)
    if not block.component and round(block.cost.change, cell.decimals):
        change = signed(block.cost.change, cell.decimals)
        axes.text(right - 0.015, middle, change, va="center", ha="right", fontsize=8)


def _short(block: Block) -> str:
    too_long = len(block.name) > _NAME_MAX
    return f"{block.name[: _NAME_MAX - 1]}…" if too_long else block.name


def _colour(change: float, most: float, decimals: int) -> tuple[float, float, float, float]:
    """Return red for more and blue for less; square roots, so that small changes are seen."""
    if not round(change, decimals):
        return _UNCHANGED
    share = _PALEST + (_DARKEST - _PALEST) * math.sqrt(abs(change) / most)
    return _COLOURS(0.5 + math.copysign(share, change))


def _chart(cell: CellMovements) -> Chart:
    name = f"{cell.dimensions.mode}, {words.cell_name(cell.dimensions)}"
    return chart(f"{cell.what} of {name}, by component and symbol", flame(cell))


def _tip(block: Block, cell: CellMovements) -> str:
    cost = block.cost
    numbers = f"{cost.base:,.{cell.decimals}f} to {cost.head:,.{cell.decimals}f}"
    change = " ".join((signed(cost.change, cell.decimals), percent(cost))).strip()
    return f"{block.name}: {numbers}, {change}"


def _gone(cell: CellMovements) -> str:
    """Return what is not drawn because it costs nothing any more."""
    gone = [one for one in cell.movements if not one.head and round(one.base, cell.decimals)]
    told = [f"{_of(one)} {signed(one.change, cell.decimals)}" for one in gone[:_GONE_SHOWN]]
    more = len(gone) - len(told)
    return ", ".join((*told, *((f"{more:,} more",) if more else ())))


def _of(one: Movement) -> str:
    return f"{one.symbol} ({one.component})"
