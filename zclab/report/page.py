"""One HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from zclab.cells import Cell, ModeResult, cells
from zclab.compare import tally, within
from zclab.gates import Gates, default_gates
from zclab.host.console import ConsoleWatch
from zclab.judge import Judged, Verdict, measured
from zclab.model import COMPONENTS, Clock, Component, ModeName
from zclab.report import charts, words
from zclab.report.words import COLUMNS, MARKS, Verdicts, number
from zclab.results import METRICS, Metric, Results
from zclab.stats import Estimate
from zclab.sweep import Sweep, crossovers, sweeps

HOST: tuple[Component, ...] = ("vhost", "nic", "qemu", "kvm")
"""Whose CPU time is the host's service demand."""
CONSOLE_LINES = 25


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure of the page: what it shows in words, and drawn."""

    caption: str
    svg: Markup


@dataclass(frozen=True, kw_only=True)
class Row:
    """A mode's row of a table: the figures, each with its ratio and its verdict."""

    mode: str
    columns: tuple[tuple[str, str, str], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A workload and direction under one set of conditions."""

    title: str
    conditions: str
    charts: tuple[Chart, ...]
    tables: tuple[tuple[str, tuple[str, ...], tuple[Row, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What all parts of a page are made from."""

    clock: Clock
    baseline: ModeName
    verdicts: Verdicts = field(default_factory=dict)


def page(
    results: Results,
    *,
    folder: Path | None = None,
    baseline: ModeName = "vhost",
    gates: Gates | None = None,
    comparison: Sequence[Judged] = (),
    against: str = "",
) -> str:
    """Return the page of a run; ``folder`` is the run's, for the consoles of failed trials.

    ``comparison`` are the verdicts on the run against another one, called ``against``.
    """
    gates = gates or default_gates(results.run.clock)
    judged = within(results, gates, baseline=baseline)
    found = cells([results], baseline=baseline)
    shown = _Shown(clock=results.run.clock, baseline=baseline, verdicts=words.verdicts_of(judged))
    estimates = [
        measured(units, shown.clock)
        for cell in found
        for result in cell.modes
        for units in result.figures.values()
    ]
    failed = any(trial.status != "ok" for trial in results.trials)
    return template("page.html.j2").render(
        run=results.run,
        provenance=results.provenance,
        verdict=words.sentence(judged, baseline),
        counts=[(verdict, MARKS[verdict], tally(judged)[verdict]) for verdict in get_args(Verdict)],
        caveat=words.caveat(results),
        spread=words.spread_explained(estimates),
        sections=[_section(sweep, shown) for sweep in sweeps(found)],
        undecided=tuple(words.undecided(judged)),
        comparison=[_compared(one) for one in comparison],
        comparison_verdict=words.sentence(comparison, against) if comparison else "",
        consoles=_consoles(folder) if folder and failed else {},
        evidence=words.evidence(found),
        significance=gates.significance,
        baseline=baseline,
    )


def template(name: str) -> Template:
    """Return one of the templates beside this module."""
    environment = Environment(
        loader=PackageLoader("zclab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _section(sweep: Sweep, shown: _Shown) -> Section:
    dimensions = sweep.dimensions
    columns = tuple(METRICS[name] for name in COLUMNS[dimensions.workload])
    drawn = _curves(sweep, shown) if sweep.is_curve else []
    of_each = (sweep.cells[0], sweep.cells[-1]) if sweep.is_curve else sweep.cells
    for cell in of_each:
        drawn += _bars(cell, shown, with_rates=not sweep.is_curve)
    return Section(
        title=" ".join(word for word in (dimensions.workload, dimensions.direction) if word),
        conditions=words.conditions(dimensions),
        charts=tuple(drawn),
        tables=tuple(
            (
                f"{cell.dimensions.message_bytes:,} B",
                tuple(f"{metric.title}, {metric.unit}" for metric in columns),
                tuple(_row(cell, result, columns, shown) for result in cell.modes),
            )
            for cell in sweep.cells
        ),
    )


def _bars(cell: Cell, shown: _Shown, *, with_rates: bool) -> list[Chart]:
    size = f"{cell.dimensions.message_bytes:,} B"
    rate, demand, detail = (METRICS[name] for name in COLUMNS[cell.dimensions.workload])
    drawn = []
    for metric in (rate, detail) if with_rates else (detail,):
        rows = [
            (result.mode, measured(result.figures[metric.name], shown.clock))
            for result in cell.modes
            if metric.name in result.figures
        ]
        if rows and not metric.name.startswith("latency"):
            drawn.append(chart(f"{metric.title}, {size}", charts.bars(rows, metric.unit)))
    drawn += _stacks(cell, demand, shown)
    latency = [(result.mode, found) for result in cell.modes if (found := _latency(result, shown))]
    if latency:
        drawn.append(chart(f"latency percentiles, {size}", charts.percentiles(latency, "us")))
    return drawn


def _latency(result: ModeResult, shown: _Shown) -> dict[str, float]:
    names = {name: f"latency_{name}_us" for name in ("p50", "p90", "p99")}
    return {
        short: _mean(result, name, shown.clock)
        for short, name in names.items()
        if name in result.figures
    }


def _mean(result: ModeResult, name: str, clock: Clock) -> float:
    return measured(result.figures[name], clock).value if name in result.figures else 0.0


def _stacks(cell: Cell, demand: Metric, shown: _Shown) -> list[Chart]:
    """Return what a cell's modes cost by component: in CPU time, and in exact instructions."""
    size = f"{cell.dimensions.message_bytes:,} B"
    drawn = []
    for what, unit, parts_of in (
        ("host CPU", demand.unit, _cpu_parts),
        ("instructions", f"1/{demand.unit.partition('/')[2]}", _instructions),
    ):
        rows = [
            (result.mode, parts)
            for result in cell.modes
            if (parts := parts_of(result, demand, shown.clock))
        ]
        if rows:
            caption = f"{what} by what it was for, {size}"
            drawn.append(chart(caption, charts.stacked(rows, unit)))
    return drawn


def _cpu_parts(result: ModeResult, demand: Metric, clock: Clock) -> dict[Component, float]:
    """Return the service demand by component: in the proportion of their CPU time."""
    seconds = {name: _mean(result, f"cpu_{name}_s", clock) for name in HOST}
    total = sum(seconds.values())
    if demand.name not in result.figures or not total:
        return {}
    whole = _mean(result, demand.name, clock)
    return {name: whole * used / total for name, used in seconds.items()}


def _instructions(result: ModeResult, demand: Metric, clock: Clock) -> dict[Component, float]:
    """Return the instructions of all components but the peer, in virtual time."""
    unit = demand.name.removeprefix("service_demand_us_per_")
    names = {name: f"insns_per_{unit}_{name}" for name in COMPONENTS if name != "peer"}
    return {
        name: _mean(result, metric, clock)
        for name, metric in names.items()
        if metric in result.figures
    }


def _curves(sweep: Sweep, shown: _Shown) -> list[Chart]:
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


def _points(sweep: Sweep, mode: ModeName, metric: str, shown: _Shown) -> list[tuple[int, Estimate]]:
    return [
        (cell.dimensions.message_bytes, measured(result.figures[metric], shown.clock))
        for cell in sweep.cells
        for result in cell.modes
        if result.mode == mode and metric in result.figures
    ]


def _ratios(sweep: Sweep, mode: ModeName, metric: str, shown: _Shown) -> list[tuple[int, float]]:
    """Return the ratios that are surely above or below 1: noise crosses it back and forth."""
    found = []
    for cell in sweep.cells:
        judged = shown.verdicts.get((cell.key, mode, metric))
        if judged and judged.ratio and judged.verdict in {"better", "worse"}:
            found.append((cell.dimensions.message_bytes, judged.ratio.value))
    return found


def _row(cell: Cell, result: ModeResult, columns: Sequence[Metric], shown: _Shown) -> Row:
    found = []
    for metric in columns:
        figure, verdict = words.NONE, ""
        if metric.name in result.figures:
            estimate = measured(result.figures[metric.name], shown.clock)
            half = words.half_width(estimate, metric)
            figure = f"{number(estimate.value, metric)} {half}".strip()
        judged = shown.verdicts.get((cell.key, result.mode, metric.name))
        if judged:
            verdict = judged.verdict
        found.append((figure, _ratio(judged), verdict))
    return Row(mode=result.mode, columns=tuple(found), reasons=tuple(words.reasons(result)))


def _ratio(judged: Judged | None) -> str:
    if judged is None or judged.ratio is None:
        return ""
    mark = MARKS[judged.verdict]
    if judged.metric == words.COPIED:
        return mark
    ratio = judged.ratio
    spread = f" ({ratio.low:.2f}-{ratio.high:.2f})" if ratio.boots > 1 else ""
    return f"{ratio.value:.2f}x {mark}{spread}"


def _compared(one: Judged) -> tuple[str, ...]:
    metric = METRICS[one.metric]
    ratio = words.NONE
    if one.ratio:
        ratio = f"{one.ratio.value:.3f}x ({one.ratio.low:.3f}-{one.ratio.high:.3f})"
    return (
        one.verdict,
        f"{MARKS[one.verdict]} {one.verdict}",
        words.figure_name(one),
        words.with_unit(one.theirs, metric),
        words.with_unit(one.ours, metric) if one.ours else words.NONE,
        ratio,
        one.reason,
    )


def chart(caption: str, svg: str) -> Chart:
    """Return a chart that was drawn."""
    return Chart(caption=caption, svg=Markup(svg))  # noqa: S704 - drawn by us; texts are escaped


def _consoles(folder: Path) -> dict[str, str]:
    """Return of each console the first kernel report, or its last lines where there is none."""
    found = {}
    for log in sorted((folder / "raw").glob("*console*.log")):
        text = log.read_text(encoding="utf-8", errors="replace")
        watch = ConsoleWatch()
        report = watch.feed(f"{text}\n")
        last = text.splitlines()[-CONSOLE_LINES:]
        found[log.name] = "\n".join(report.lines if report else last)
    return found
