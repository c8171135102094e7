"""Which charts show a sweep's cells."""

from __future__ import annotations

from dataclasses import dataclass, field

from markupsafe import Markup

from zclab.judge.cells import Cell, ModeResult
from zclab.judge.costs import cpu_parts, instructions
from zclab.judge.stats import Estimate
from zclab.judge.sweep import Sweep, crossovers
from zclab.judge.verdicts import measured
from zclab.model import Clock, Component, ModeName, WorkloadName
from zclab.report import charts
from zclab.report.words import COLUMNS, Verdicts, number
from zclab.runs.results import METRICS, Metric


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure of the page: what it shows in words, and drawn."""

    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What all parts of a page are made from."""

    clock: Clock
    baseline: ModeName
    verdicts: Verdicts = field(default_factory=dict)


def figures(sweep: Sweep, shown: Shown) -> tuple[Chart, ...]:
    """Return the charts of a sweep: curves where it has sizes enough, and bars at its ends."""
    drawn = _curves(sweep, shown) if sweep.is_curve else []
    cells = (sweep.cells[0], sweep.cells[-1]) if sweep.is_curve else sweep.cells
    for cell in cells:
        drawn += _bars(cell, shown, with_rates=not sweep.is_curve)
    return tuple(drawn)


def _bars(cell: Cell, shown: Shown, *, with_rates: bool) -> list[Chart]:
    size = f"{cell.dimensions.message_bytes:,} B"
    rate, demand, detail = (METRICS[name] for name in COLUMNS[cell.dimensions.workload])
    drawn = []
    for metric in (rate, detail) if with_rates else (detail,):
        rows = [
            (result.mode, measured(result.figures[metric.name], shown.clock))
            for result in cell.modes
            if metric.name in result.figures
        ]
        texts = [number(estimate.value, metric) for _, estimate in rows]
        drawable = any(estimate.value for _, estimate in rows)
        if drawable and not metric.name.startswith("latency"):
            drawn.append(chart(f"{metric.title}, {size}", charts.bars(rows, metric.unit, texts)))
    drawn += _stacks(cell, demand, shown)
    latency = [(result.mode, found) for result in cell.modes if (found := _latency(result, shown))]
    if latency:
        drawn.append(chart(f"latency percentiles, {size}", charts.percentiles(latency, "us")))
    return drawn


def _latency(result: ModeResult, shown: Shown) -> dict[str, float]:
    names = {name: f"latency_{name}_us" for name in ("p50", "p90", "p99")}
    return {
        short: _mean(result, name, shown.clock)
        for short, name in names.items()
        if name in result.figures
    }


def _stacks(cell: Cell, demand: Metric, shown: Shown) -> list[Chart]:
    """Return what a cell's modes cost by component: in CPU time, and in exact instructions."""
    size = f"{cell.dimensions.message_bytes:,} B"
    drawn = []
    for what, unit, parts_of in (
        ("host CPU", demand.unit, cpu_parts),
        ("instructions", f"1/{demand.unit.partition('/')[2]}", _own_instructions),
    ):
        rows = [
            (result.mode, parts)
            for result in cell.modes
            if (parts := parts_of(result, cell.dimensions.workload, shown.clock))
        ]
        if rows:
            caption = f"{what} by what it was for, {size}"
            drawn.append(chart(caption, charts.stacked(rows, unit)))
    return drawn


def _own_instructions(
    result: ModeResult, workload: WorkloadName, clock: Clock
) -> dict[Component, float]:
    """Return the instructions of all components but the peer, in virtual time."""
    found = instructions(result, workload, clock)
    return {name: count for name, count in found.items() if name != "peer"}


def _curves(sweep: Sweep, shown: Shown) -> list[Chart]:
    drawn = []
    modes = dict.fromkeys(result.mode for cell in sweep.cells for result in cell.modes)
    for name in COLUMNS[sweep.dimensions.workload][:2]:
        metric = METRICS[name]
        lines = [(mode, points) for mode in modes if (points := _points(sweep, mode, name, shown))]
        crossings = {
            mode: sizes
            for mode in modes
            if (sizes := crossovers(_ratios(sweep, mode, name, shown)))
        }
        told = "; ".join(
            f"{mode} crosses {shown.baseline} at {', '.join(f'{size:,.0f} B' for size in sizes)}"
            for mode, sizes in crossings.items()
        )
        caption = f"{metric.title} by message size: {told or 'no crossover'}"
        marked = [size for sizes in crossings.values() for size in sizes]
        if lines:
            drawn.append(chart(caption, charts.curves(lines, metric.unit, marked)))
    return drawn


def _points(sweep: Sweep, mode: ModeName, metric: str, shown: Shown) -> list[tuple[int, Estimate]]:
    return [
        (cell.dimensions.message_bytes, measured(result.figures[metric], shown.clock))
        for cell in sweep.cells
        for result in cell.modes
        if result.mode == mode and metric in result.figures
    ]


def _ratios(sweep: Sweep, mode: ModeName, metric: str, shown: Shown) -> list[tuple[int, float]]:
    """Return the ratios that are surely above or below 1: noise crosses it back and forth."""
    found = []
    for cell in sweep.cells:
        judged = shown.verdicts.get((cell.key, mode, metric))
        if judged and judged.ratio and judged.verdict in {"better", "worse"}:
            found.append((cell.dimensions.message_bytes, judged.ratio.value))
    return found


def _mean(result: ModeResult, name: str, clock: Clock) -> float:
    return measured(result.figures[name], clock).value if name in result.figures else 0.0


def chart(caption: str, svg: str) -> Chart:
    """Return a chart that was drawn."""
    return Chart(caption=caption, svg=Markup(svg))  # noqa: S704 - drawn by us; texts are escaped
