"""Rendering a run's results: tables for the terminal, and one in Markdown. Nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from zclab.compare import Cell, Measured, ModeResult, Spread, compare
from zclab.model import ModeName, WorkloadName
from zclab.results import METRICS, Dimensions, Metric, Results

# What the tables show of each workload: its result, its cost, and what explains them. All else is
# in results.json.
_COLUMNS: dict[WorkloadName, tuple[str, ...]] = {
    "TCP_STREAM": (
        "throughput_mbps",
        "service_demand_us_per_kb",
        "copied_bytes_per_payload_byte",
    ),
    "TCP_RR": (
        "transactions_per_s",
        "service_demand_us_per_transaction",
        "latency_p99_us",
    ),
    "UDP_STREAM": (
        "received_mbps",
        "service_demand_us_per_kb",
        "copied_bytes_per_payload_byte",
    ),
}
_COPIED = "copied_bytes_per_payload_byte"
"""Shown without a ratio, which would divide by nothing where nothing is copied."""

_EMULATED = "emulated wall clock: compare ratios, not machines"
_HASH_SHOWN = 12
_NONE = "-"


def render(results: Results, *, baseline: ModeName = "vhost") -> RenderableType:
    """Return the report of a run for a terminal or, piped, as plain text."""
    cells = compare(results, baseline=baseline)
    parts: list[RenderableType] = [*_headline(results)]
    for cell in cells:
        parts += ["", _title(cell.dimensions), _table(cell, baseline), *_remarks(cell)]
    if not cells:
        parts += ["", Text("No trial has ended.", style="yellow")]
    parts += ["", _evidence(cells), "", _provenance(results)]
    return Group(*parts)


def markdown(results: Results, *, baseline: ModeName = "vhost") -> str:
    """Return the run's figures as one Markdown table, a row for each cell and mode."""
    vs = f"vs {baseline}"
    heading = ("workload", "mode", "result", vs, "host CPU", vs, "copied B/B", "p99 us")
    lines = [f"| {' | '.join(heading)} |", "|---|---|---:|---:|---:|---:|---:|---:|"]
    for cell in compare(results, baseline=baseline):
        rate, demand, _ = _COLUMNS[cell.dimensions.workload]
        for result in cell.modes:
            words = (
                _name(cell.dimensions),
                result.mode,
                _with_unit(result, rate) if result.metrics else "; ".join(_reasons(result)),
                _ratio(result.metrics.get(rate)),
                _with_unit(result, demand),
                _ratio(result.metrics.get(demand)),
                _value(result, "copied_bytes_per_payload_byte"),
                _value(result, "latency_p99_us"),
            )
            lines.append(f"| {' | '.join(words)} |")
    return "\n".join((*lines, ""))


def _headline(results: Results) -> Iterator[Text]:
    run, made_with = results.run, results.provenance
    yield Text.assemble((f"run {run.id}", "bold"), f"  lab {run.lab}, {run.clock} clock")
    if "emulator" in made_with.versions or "emulator" in made_with.artifacts:
        yield Text(_EMULATED, style="yellow")
    if any(trial.repetition for trial in results.trials):
        spread = "± is half the range over repetitions; in brackets, the range of their ratios"
        yield Text(spread, style="dim")
    else:
        yield Text("one repetition: how far figures scatter is unknown", style="yellow")


def _name(dimensions: Dimensions) -> str:
    words = (dimensions.workload, dimensions.direction, f"{dimensions.message_bytes} B")
    return " ".join(word for word in words if word)


def _title(dimensions: Dimensions) -> Text:
    streams = f", {dimensions.streams} streams" if dimensions.streams > 1 else ""
    details = (
        f"  {dimensions.nic}, MTU {dimensions.mtu}, offloads {dimensions.offloads}, "
        f"{dimensions.duration_s:g} s{streams}"
    )
    return Text.assemble((_name(dimensions), "bold cyan"), (details, "dim"))


def _table(cell: Cell, baseline: ModeName) -> Table:
    """Return a table with a row for each mode; it fits in 100 columns."""
    rate, demand, detail = (METRICS[name] for name in _COLUMNS[cell.dimensions.workload])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("mode\n", min_width=11, no_wrap=True)
    for metric in (rate, demand):
        table.add_column(_heading(metric), justify="right", min_width=12, no_wrap=True)
        table.add_column(f"vs {baseline}\n", min_width=17, no_wrap=True)
    table.add_column(_heading(detail), justify="right", no_wrap=True)
    table.add_column("" if detail.name == _COPIED else "vs\n", no_wrap=True)
    for result in cell.modes:
        table.add_row(
            result.mode,
            _figure(result, rate),
            _coloured_ratio(result, rate),
            _figure(result, demand),
            _coloured_ratio(result, demand),
            _figure(result, detail),
            "" if detail.name == _COPIED else _coloured_ratio(result, detail, with_range=False),
        )
    return table


def _heading(metric: Metric) -> str:
    return f"{metric.title}\n{metric.unit}"


def _figure(result: ModeResult, metric: Metric) -> Text:
    measured = result.metrics.get(metric.name)
    if measured is None:
        return Text(_NONE, style="dim")
    mean = _number(measured.value.mean, metric)
    return Text.assemble(mean, (_half_range(measured.value, metric), "dim"))


def _coloured_ratio(result: ModeResult, metric: Metric, *, with_range: bool = True) -> Text:
    """Return a ratio, green or red where all repetitions agree that it is better or worse."""
    measured = result.metrics.get(metric.name)
    if measured is None or measured.ratio is None:
        return Text()
    ratio = measured.ratio
    style = ""
    if ratio.low > 1 or ratio.high < 1:
        style = "green" if (ratio.low > 1) == (metric.better == "higher") else "red"
    range_shown = f" ({ratio.low:.2f}-{ratio.high:.2f})" if with_range and ratio.count > 1 else ""
    return Text.assemble((_ratio(measured), style), (range_shown, "dim"))


def _remarks(cell: Cell) -> Iterator[RenderableType]:
    for result in cell.modes:
        for reason in _reasons(result):
            yield Padding(
                Text(f"{result.mode}: {reason}", style="yellow"), (0, 0, 0, 2), expand=False
            )


def _reasons(result: ModeResult) -> Iterator[str]:
    """Yield why trials of a mode do not count, each reason once: ``2 of 3 failed: no lease``."""
    bad = [(trial.status, trial.reason or "no reason given") for trial in result.trials]
    bad = [(status, reason) for status, reason in bad if status != "ok"]
    for status, reason in dict.fromkeys(bad):
        count = bad.count((status, reason))
        yield f"{count} of {len(result.trials)} {status}: {' '.join(reason.split())}"


def _evidence(cells: Sequence[Cell]) -> RenderableType:
    """Return what showed that each mode was in effect, a line for each mode."""
    seen: dict[str, dict[str, list[object]]] = {}
    for cell in cells:
        for result in cell.modes:
            for trial in result.trials:
                for name, value in trial.evidence.items():
                    seen.setdefault(result.mode, {}).setdefault(name, []).append(value)
    grid = _grid("evidence")
    for mode, evidence in seen.items():
        shown = (f"{name} {_values(values)}" for name, values in evidence.items())
        grid.add_row(mode, Text(", ".join(shown)))
    return grid if seen else Text("no evidence of the mode in effect", style="yellow")


def _values(values: Sequence[object]) -> str:
    """Return counters as their range, anything else as the values that occurred."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values) and not any(isinstance(value, bool) for value in values):
        low, high = min(numbers), max(numbers)
        return f"{low:,.10g}" if low == high else f"{low:,.10g}-{high:,.10g}"
    return "/".join(dict.fromkeys(str(value) for value in values))


def _provenance(results: Results) -> RenderableType:
    made_with = results.provenance
    grid = _grid("made with")
    for name in dict.fromkeys((*made_with.versions, *made_with.artifacts)):
        version = made_with.versions.get(name, "")
        content = made_with.artifacts.get(name, "")[:_HASH_SHOWN]
        grid.add_row(name, Text.assemble(version, " " if version else "", (content, "dim")))
    if made_with.cpu_model:
        grid.add_row("cpu", Text(made_with.cpu_model))
    grid.add_row("command", Text(results.run.command))
    return grid


def _grid(title: str) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column(title, min_width=11, no_wrap=True)
    grid.add_column("", overflow="fold")
    return grid


def _number(value: float, metric: Metric) -> str:
    if metric.name == _COPIED:
        return f"{value:.2f}"
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 - 3 digits
    return f"{value:,.{decimals}f}"


def _half_range(spread: Spread, metric: Metric) -> str:
    """Return half of a spread's range in percent of its mean, for what was measured repeatedly."""
    if spread.count == 1 or not spread.mean or metric.name == _COPIED:
        return ""
    percent = (spread.high - spread.low) / 2 / spread.mean * 100
    return f" {f'±{percent:.0f}%':>4}"


def _ratio(measured: Measured | None) -> str:
    if measured is None or measured.ratio is None:
        return ""
    return f"{measured.ratio.mean:.2f}x"


def _value(result: ModeResult, name: str) -> str:
    measured = result.metrics.get(name)
    return "" if measured is None else _number(measured.value.mean, METRICS[name])


def _with_unit(result: ModeResult, name: str) -> str:
    shown = _value(result, name)
    return f"{shown} {METRICS[name].unit}" if shown else ""
