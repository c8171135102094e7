"""The picture that a page begins with: every cell against the baseline, at a glance.

A forest plot: a row for each mode in each cell, a column for what it does, what it costs the host,
and its latency. It is drawn twice, with columns side by side, and below each other for a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from zclab.judge.cells import Key, key_of
from zclab.judge.verdicts import Judged, Verdict
from zclab.model import ModeName
from zclab.report import words
from zclab.report.charts import WIDTH_IN, drawing
from zclab.runs.results import METRICS

_PANELS = (
    ("throughput_mbps", "received_mbps", "transactions_per_s"),
    ("service_demand_us_per_kb", "service_demand_us_per_transaction"),
    ("latency_p99_us",),
)
"""The figures of each column: what is done, what it costs, how long it takes at worst."""
_LABEL_IN, _PANEL_IN, _ROW_IN, _AROUND_IN = 1.7, 2.7, 0.34, 0.85
_MARKS: Mapping[Verdict, tuple[str, str, str]] = {
    # Marker, colour of its edge and of its face; after Okabe and Ito, as in the charts.
    "better": ("^", "#00563b", "#009E73"),
    "worse": ("v", "#a11400", "#D55E00"),
    "same": ("s", "#444444", "#444444"),
    "undecided": ("o", "#444444", "#FFFFFF"),
}
_LINES = {
    "interval": "a line is the ratio's 95% confidence interval",
    "starts": "a line is the range of the ratio over the starts",
    "range": "a line is the range of the ratio over the repetitions",
}
_LEAST_SHOWN = 1.02
_WIDE_RANGE = 4.0
"""From here on ticks are no longer evenly spaced."""
_MOST_TICKS = 6
_NAME_MAX = 16


@dataclass(frozen=True, kw_only=True)
class Row:
    """A mode in a cell; ``columns`` has its verdict in each panel, None where it has no figure."""

    cell: str
    detail: str
    columns: tuple[Judged | None, ...]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The picture in both forms, what it shows, and the same row by row in words.

    ``lines`` says what the lines through the marks are, and is empty where there are none.
    """

    caption: str
    lines: str
    wide: Markup
    narrow: Markup
    width_in: float
    told: tuple[str, ...]


def overview(judged: Sequence[Judged], against: str) -> Overview | None:
    """Return the picture of verdicts against a mode or run; None where there is no ratio."""
    panels = [panel for panel in _PANELS if any(one.ratio for one in judged if one.metric in panel)]
    if not panels:
        return None
    rows = tuple(_rows(judged, panels))
    titles = tuple(_title(judged, panel) for panel in panels)
    label = f"ratio to {against}" if len(against) <= _NAME_MAX else "ratio to the baseline"
    kinds = {one.ratio.kind for one in judged if one.ratio and one.ratio.boots > 1}
    modes = "/".join(dict.fromkeys(one.mode for one in judged))
    shown = ", ".join(title for title, _ in titles)
    return Overview(
        caption=f"{modes} against {against} in all cells: {shown}",
        lines=_LINES[min(kinds, key=list(_LINES).index)] if kinds else "",
        wide=_drawn(rows, titles, label, wide=True),
        narrow=_drawn(rows, titles, label, wide=False),
        width_in=_LABEL_IN + _PANEL_IN * len(panels),
        told=tuple(_told(row) for row in rows),
    )


def _rows(judged: Sequence[Judged], panels: Sequence[Sequence[str]]) -> Iterator[Row]:
    found: dict[tuple[Key, ModeName], list[Judged]] = {}
    for one in judged:
        found.setdefault((key_of(one.dimensions), one.mode), []).append(one)
    several = len({mode for _, mode in found}) > 1
    cells = [group[0].dimensions for group in found.values()]
    for group in found.values():
        columns = tuple(
            next((one for one in group if one.metric in panel), None) for panel in panels
        )
        first = group[0]
        details = [*words.differing(first.dimensions, cells), *([first.mode] if several else [])]
        if any(columns):
            yield Row(
                cell=words.cell_name(first.dimensions),
                detail=", ".join(details),
                columns=columns,
            )


def _title(judged: Sequence[Judged], panel: Sequence[str]) -> tuple[str, str]:
    """Return a column's title, and on which side of 1 it is better."""
    metrics = [METRICS[name] for name in panel if any(one.metric == name for one in judged)]
    names = list(dict.fromkeys(metric.title for metric in metrics))
    # All three names of what is done would run into the next column.
    title = names[0] if len(names) == 1 else "throughput or rate"
    return title, "better →" if metrics[0].better == "higher" else "← better"


def _told(row: Row) -> str:
    figures = [
        f"{METRICS[one.metric].title} "
        + (f"{one.ratio.value:.2f}x ({one.verdict})" if one.ratio else one.verdict)
        for one in row.columns
        if one
    ]
    name = ", ".join(word for word in (row.cell, row.detail) if word)
    return f"{name}: {', '.join(figures)}"


def _drawn(
    rows: Sequence[Row], titles: Sequence[tuple[str, str]], label: str, *, wide: bool
) -> Markup:
    columns = range(len(titles))
    across, down = (len(titles), 1) if wide else (1, len(titles))
    # Side by side, rows are common to all columns; on its own, a column has what it has to show.
    shown = [rows if wide else [row for row in rows if row.columns[one]] for one in columns]
    width = _LABEL_IN + _PANEL_IN * across if wide else WIDTH_IN
    lines = len(rows) if wide else sum(map(len, shown))
    with drawing(width, lines * _ROW_IN + _AROUND_IN * down) as (figure, svg):
        heights = None if wide else [len(group) for group in shown]
        all_axes = figure.subplots(down, across, squeeze=False, height_ratios=heights).flat
        for number, (axes, group) in enumerate(zip(all_axes, shown, strict=True)):
            _panel(axes, [row.columns[number] for row in group])
            title, side = titles[number]
            axes.set_title(f"{title}  {side}", fontsize=9, fontweight="bold", loc="left")
            axes.set_xlabel(label)
            labelled = not wide or number == 0
            labels = [_label(row) if labelled else "" for row in group]
            axes.set_yticks(range(len(group)), labels, fontsize=8)
    return Markup(svg[0])  # noqa: S704 - drawn by us; texts are escaped


def _label(row: Row) -> str:
    return f"{row.cell}\n{row.detail}" if row.detail else row.cell


def _panel(axes: Axes, column: Sequence[Judged | None]) -> None:
    """Draw one column: an interval and a marker for each row, and the ratio beside it."""
    axes.set_xscale("log")
    axes.set_ylim(len(column) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color="black", linewidth=0.8)
    for place in range(1, len(column), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F2F2F2", zorder=0)
    low, high = 1 / _LEAST_SHOWN, _LEAST_SHOWN
    for place, one in enumerate(column):
        if one is None:
            continue
        text = f"{words.MARKS[one.verdict]} {one.verdict}"
        if one.ratio and one.ratio.value > 0 and one.verdict in _MARKS:
            marker, edge, face = _MARKS[one.verdict]
            ratio = one.ratio
            ends = [max(ratio.low, ratio.value / 10), ratio.high]
            axes.plot(ends, [place, place], color=edge, linewidth=1.6, solid_capstyle="butt")
            axes.plot(
                ratio.value,
                place,
                marker=marker,
                markersize=7,
                markerfacecolor=face,
                markeredgecolor=edge,
                linestyle="",
            )
            low, high = min(low, *ends), max(high, *ends)
            text = f"{ratio.value:.2f}x {words.MARKS[one.verdict]}"
        axes.annotate(
            text,
            (1, place),
            xycoords=("axes fraction", "data"),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    _scale(axes, low, high)


def _ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or powers of ten alone where those are too many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) <= _MOST_TICKS:
            break
    return found


def _scale(axes: Axes, low: float, high: float) -> None:
    margin = (high / low) ** 0.06
    axes.set_xlim(low / margin, high * margin)
    axes.xaxis.set_major_locator(
        MaxNLocator(4, steps=[1, 2, 5, 10])
        if high / low < _WIDE_RANGE
        else FixedLocator(_ticks(low, high))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
