"""Charts as SVG text: bars with intervals, stacked CPU time, percentiles, curves over sizes.

Colours are told apart by the colour-blind (after Okabe and Ito), hatches and markers where there
is no colour at all. Every bar begins at zero. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from zclab.judge.stats import Estimate
from zclab.model import Component, ModeName
from zclab.units import KIB, MIB

WIDTH_IN = 3.9
"""Wide enough for a phone held upright; larger screens show more charts in a row."""
_BAR_IN = 0.36
LABEL = 28
"""How many characters of a run's version a chart has room for."""

_MODES: Mapping[ModeName, tuple[str, str, str, str]] = {
    # Colour, hatch of a bar, marker and line of a curve.
    "vhost": ("#56B4E9", "////", "o", "-"),
    "passthrough": ("#E69F00", "|||", "s", ":"),
    "zerocopy": ("#009E73", "", "D", "--"),
}
_COMPONENTS: Mapping[Component, tuple[str, str]] = {
    "vhost": ("#0072B2", ""),
    "nic": ("#F0E442", "////"),
    "qemu": ("#CC79A7", "---"),
    "kvm": ("#D9D9D9", "xxxx"),
    "interrupts": ("#D55E00", "++++"),
    "guest": ("#FFFFFF", "||||"),
    "scheduler": ("#777777", ""),
    "rest": ("#FFFFFF", ""),
}
_PERCENTILES = (("p50", "#FFFFFF", ""), ("p90", "#BBBBBB", "////"), ("p99", "#555555", ""))
_STYLE: Any = {
    "font.size": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "zclab",
    "hatch.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def bars(rows: Sequence[tuple[ModeName, Estimate]], unit: str, texts: Sequence[str]) -> str:
    """Return a bar for each mode with its interval, and behind it its value as text."""
    with _figure(len(rows)) as (axes, svg):
        for place, (mode, estimate) in enumerate(rows):
            colour, hatch, _, _ = _MODES[mode]
            axes.barh(place, estimate.value, color=colour, hatch=hatch, edgecolor="black")
            if estimate.boots > 1:
                below, above = estimate.value - estimate.low, estimate.high - estimate.value
                axes.errorbar(
                    estimate.value,
                    place,
                    xerr=[[max(0.0, below)], [max(0.0, above)]],
                    color="black",
                    capsize=4,
                )
            end = max(estimate.high, estimate.value)
            axes.annotate(
                texts[place],
                (end, place),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
            )
        _label_rows(axes, [mode for mode, _ in rows], unit)
        axes.margins(x=0.2)
        _from_zero(axes)
    return svg[0]


def stacked(rows: Sequence[tuple[ModeName, Mapping[Component, float]]], unit: str) -> str:
    """Return what each mode costs, by what it was for; a component that none has is left out."""
    used = [name for name in _COMPONENTS if any(parts.get(name) for _, parts in rows)]
    with _figure(len(rows) + 1.2 * math.ceil(len(used) / 4)) as (axes, svg):
        for name in used:
            colour, hatch = _COMPONENTS[name]
            axes.barh(
                range(len(rows)),
                [parts.get(name, 0.0) for _, parts in rows],
                left=[_before(parts, used[: used.index(name)]) for _, parts in rows],
                color=colour,
                hatch=hatch,
                edgecolor="black",
                label=name,
            )
        _label_rows(axes, [mode for mode, _ in rows], unit)
        _from_zero(axes)
        _legend(axes, columns=4)
    return svg[0]


def percentiles(rows: Sequence[tuple[ModeName, Mapping[str, float]]], unit: str) -> str:
    """Return p50, p90 and p99 of each mode, one bar each."""
    with _figure(len(rows) * 1.9 + 1.2) as (axes, svg):
        for number, (name, colour, hatch) in enumerate(_PERCENTILES):
            axes.barh(
                [place + (number - 1) * 0.28 for place in range(len(rows))],
                [values.get(name, 0.0) for _, values in rows],
                height=0.28,
                color=colour,
                hatch=hatch,
                edgecolor="black",
                label=name,
            )
        _label_rows(axes, [mode for mode, _ in rows], unit)
        _from_zero(axes)
        _legend(axes, columns=3)
    return svg[0]


def curves(
    lines: Sequence[tuple[ModeName, Sequence[tuple[int, Estimate]]]],
    unit: str,
    crossings: Sequence[float] = (),
) -> str:
    """Return a curve for each mode over message sizes, with crossovers marked."""
    with _figure(6) as (axes, svg):
        for mode, points in lines:
            colour, _, marker, line = _MODES[mode]
            sizes = [size for size, _ in points]
            axes.fill_between(
                sizes,
                [estimate.low for _, estimate in points],
                [estimate.high for _, estimate in points],
                color=colour,
                alpha=0.25,
                linewidth=0,
            )
            axes.plot(
                sizes,
                [estimate.value for _, estimate in points],
                color=colour,
                marker=marker,
                linestyle=line,
                markeredgecolor="black",
                label=mode,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({size for _, points in lines for size, _ in points}))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: short_bytes(size)))
        axes.tick_params(axis="x", labelrotation=45)
        axes.set_xlabel("message size")
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0)
        for size in crossings:
            axes.axvline(size, color="black", linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(
                f"{short_bytes(size)}",
                (size, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -10),
                textcoords="offset points",
            )
        _legend(axes, columns=3)
    return svg[0]


def history(
    points: Sequence[Estimate], labels: Sequence[str], unit: str, moves: Sequence[int] = ()
) -> str:
    """Return a figure's history; ``labels`` name the runs, ``moves`` are where it moved."""
    with _figure(7) as (axes, svg):
        places = range(len(points))
        values = [estimate.value for estimate in points]
        below = [max(0.0, estimate.value - estimate.low) for estimate in points]
        above = [max(0.0, estimate.high - estimate.value) for estimate in points]
        axes.errorbar(
            places, values, yerr=[below, above], color="black", marker="o", markersize=3, capsize=2
        )
        for place in moves:
            axes.axvline(place - 0.5, color="#D55E00", linestyle="--")
        changed = [place for place in places if not place or labels[place] != labels[place - 1]]
        shown = [_short(labels[place]) for place in changed]
        axes.set_xticks(changed, shown, rotation=90, fontsize=7, parse_math=False)
        axes.set_ylabel(unit)
    return svg[0]


def short_bytes(count: float) -> str:
    """Return a size for an axis: ``16K`` is 16384."""
    for unit, size in (("M", MIB), ("K", KIB)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.0f}"


def _before(parts: Mapping[Component, float], earlier: Sequence[Component]) -> float:
    """Return where a component's part of a stacked bar begins."""
    return sum(parts.get(name, 0.0) for name in earlier)


def _short(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def _from_zero(axes: Axes) -> None:
    """Have a chart begin at zero; where nothing is above that, there is only the text."""
    end = axes.get_xlim()[1]
    axes.set_xlim(0, end if end > 0 else 1)


def _label_rows(axes: Axes, labels: Sequence[str], unit: str) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _legend(axes: Axes, *, columns: int) -> None:
    figure = axes.get_figure()
    if figure is not None:
        figure.legend(
            *axes.get_legend_handles_labels(),
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            columnspacing=1,
            handlelength=1.6,
        )


@contextmanager
def _figure(rows: float) -> Iterator[tuple[Axes, list[str]]]:
    """Give axes to draw on; their SVG is in the list afterwards."""
    with drawing(WIDTH_IN, rows * _BAR_IN + 0.75) as (figure, svg):
        yield figure.subplots(), svg


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[tuple[Figure, list[str]]]:
    """Give a figure to draw on; its SVG is in the list afterwards."""
    svg: list[str] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        yield figure, svg
        text = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text in the SVG: a glyph that we have not, the reader's browser may have.
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg.append(_inline(text.getvalue()))


def _inline(document: str) -> str:
    """Return an SVG document as an element of a page: without prolog, size, and ids of others."""
    element = document[document.index("<svg") :]
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    own = f"c{zlib.crc32(element.encode()):x}-"
    element = re.sub(r'\bid="', f'id="{own}', element)
    element = re.sub(r'href="#', f'href="#{own}', element)
    return element.replace("url(#", f"url(#{own}").strip()
