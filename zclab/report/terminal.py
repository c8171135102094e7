"""Tables for the terminal or, piped, plain text: 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from zclab.documents.gates import Gates, default_gates
from zclab.judge.cells import Cell, Key, ModeResult, cells, key_of
from zclab.judge.compare import within
from zclab.judge.verdicts import Judged, Verdict, measured
from zclab.model import Clock, ModeName
from zclab.report import words
from zclab.report.evidence import counters, sentences
from zclab.report.words import COLUMNS, COPIED, NONE, Verdicts, number
from zclab.runs.results import METRICS, Dimensions, Metric, Results

_COLOURS: dict[Verdict, str] = {
    "better": "green",
    "worse": "red",
    "same": "",
    "undecided": "",
    "missing": "red",
}
_HASH_SHOWN = 12
_HASHES = ("series", "machine")
"""The hashes that say most: what is under test, and all that enters a machine in virtual time."""


def render(
    results: Results,
    *,
    baseline: ModeName = "vhost",
    gates: Gates | None = None,
    details: bool = False,
) -> RenderableType:
    """Return the report of a run, with the verdict as its last words.

    ``details`` adds every counter of the evidence, and all that the figures were made with.
    """
    found = cells([results], baseline=baseline)
    verdicts = verdicts_in(results, baseline=baseline, gates=gates)
    parts = [render_headline(results)]
    parts += [render_cell(cell, results.run.clock, verdicts, baseline=baseline) for cell in found]
    if not found:
        parts += ["", Text("No trial has ended.", style="yellow")]
    parts.append(render_footer(results, baseline=baseline, gates=gates, details=details))
    return Group(*parts)


def verdicts_in(results: Results, *, baseline: ModeName, gates: Gates | None = None) -> Verdicts:
    """Return the verdicts on a run's figures; each is corrected for the number there is."""
    rules = gates or default_gates(results.run.clock)
    return words.verdicts_of(within(results, rules, baseline=baseline))


def render_headline(results: Results) -> RenderableType:
    """Return what stands above all cells."""
    run = results.run
    lines = [Text.assemble((f"run {run.id}", "bold"), f"  lab {run.lab}, {run.clock} clock")]
    if caveat := words.caveat(results):
        lines.append(Text(caveat, style="yellow"))
    if resumed := words.resumed(run):
        lines.append(Text(resumed, style="dim"))
    return Group(*lines)


def render_cell(
    cell: Cell, clock: Clock, verdicts: Verdicts, *, baseline: ModeName
) -> RenderableType:
    """Return the table of one cell, with its title and why trials of it do not count."""
    return Group(
        "", _cell_title(cell.dimensions), _table(cell, baseline, clock, verdicts), *_remarks(cell)
    )


def render_footer(
    results: Results, *, baseline: ModeName, gates: Gates | None = None, details: bool = False
) -> RenderableType:
    """Return what stands below all cells: legend, evidence, origin, and the verdict."""
    found = cells([results], baseline=baseline)
    parts: list[RenderableType] = ["", *_legend(results, found)]
    parts += ["", _evidence(found, details=details), ""]
    parts += [_provenance(results)] if details else [*_made_with(results)]
    if _modes(found) > 1:
        rules = gates or default_gates(results.run.clock)
        judged = within(results, rules, baseline=baseline)
        parts += ["", Text(words.sentence(judged, baseline), style="bold")]
    return Group(*parts)


def render_verdict(judged: Sequence[Judged], against: str) -> RenderableType:
    """Return the verdict on a run that was compared with others, in a sentence."""
    return Text(words.sentence(judged, against), style="bold")


def render_figures(judged: Sequence[Judged]) -> RenderableType:
    """Return a table for each cell that was compared, and why some figures are undecided."""
    found: dict[Key, list[Judged]] = {}
    for one in judged:
        found.setdefault(key_of(one.dimensions), []).append(one)
    parts: list[RenderableType] = []
    for group in found.values():
        parts += [_cell_title(group[0].dimensions), _figures_of_cell(group), ""]
    legend = Text(f"{words.MARKS_EXPLAINED}; p is corrected for their number", style="dim")
    why: list[RenderableType] = [Text(line, style="dim") for line in words.undecided(judged)]
    return Group(*parts, legend, *(["", *why] if why else []))


def _cell_title(dimensions: Dimensions) -> Text:
    return Text.assemble(
        (words.cell_name(dimensions), "bold cyan"), (f"  {words.conditions(dimensions)}", "dim")
    )


def _figures_of_cell(judged: Sequence[Judged]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, width in (("", 1), ("mode", 11), ("figure", 14)):
        table.add_column(heading, min_width=width, no_wrap=True)
    for heading, width in (("baseline", 15), ("now", 8), ("ratio", 22), ("p", 7)):
        table.add_column(heading, justify="right", min_width=width, no_wrap=True)
    for one in judged:
        metric = METRICS[one.metric]
        table.add_row(
            Text(words.MARKS[one.verdict], style=_COLOURS[one.verdict]),
            one.mode,
            metric.title,
            words.with_unit(one.theirs, metric),
            number(one.ours.value, metric) if one.ours else NONE,
            _with_range(one),
            f"{one.p:.2g}",
        )
    return table


def _with_range(one: Judged) -> str:
    if one.ratio is None:
        return NONE
    shown = f"{one.ratio.value:.3f}x"
    if one.ratio.boots > 1:
        shown += f" ({one.ratio.low:.3f}-{one.ratio.high:.3f})"
    return shown


def _legend(results: Results, found: Sequence[Cell]) -> Iterator[Text]:
    estimates = [
        measured(units, results.run.clock)
        for cell in found
        for result in cell.modes
        for name, units in result.figures.items()
        if name in COLUMNS[cell.dimensions.workload]
    ]
    many = any(estimate.boots > 1 for estimate in estimates)
    marks = f"; {words.MARKS_EXPLAINED}" if _modes(found) > 1 else ""
    yield Text(f"{words.spread_explained(estimates)}{marks}", style="dim" if many else "yellow")
    if known := words.known(results):
        yield Text(known, style="dim")


def _modes(found: Sequence[Cell]) -> int:
    return len({result.mode for cell in found for result in cell.modes})


def _table(cell: Cell, baseline: ModeName, clock: Clock, verdicts: Verdicts) -> Table:
    """Return a table with a row for each mode; it fits in 100 columns."""
    metrics = tuple(METRICS[name] for name in COLUMNS[cell.dimensions.workload])
    compared = cell.mode(baseline) is not None and len(cell.modes) > 1
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("mode\n", min_width=11, no_wrap=True)
    for metric in metrics:
        last = metric is metrics[-1]
        width = None if last else 12
        table.add_column(_heading(metric), justify="right", min_width=width, no_wrap=True)
        if compared and metric.name != COPIED:
            width = None if last else 18
            table.add_column("vs\n" if last else f"vs {baseline}\n", min_width=width, no_wrap=True)
    for result in cell.modes:
        row: list[RenderableType] = [result.mode]
        for metric in metrics:
            row.append(_figure(result, metric, clock))
            if compared and metric.name != COPIED:
                judged = verdicts.get((cell.key, result.mode, metric.name))
                row.append(_ratio(judged, with_range=metric is not metrics[-1]))
        table.add_row(*row)
    return table


def _heading(metric: Metric) -> str:
    return f"{metric.title}\n{metric.unit}"


def _figure(result: ModeResult, metric: Metric, clock: Clock) -> Text:
    if metric.name not in result.figures:
        return Text(NONE, style="dim")
    estimate = measured(result.figures[metric.name], clock)
    half = words.half_width(estimate, metric)
    return Text.assemble(number(estimate.value, metric), (f" {half:>4}" if half else "", "dim"))


def _ratio(judged: Judged | None, *, with_range: bool = True) -> Text:
    """Return a ratio with the mark and colour of its verdict."""
    if judged is None or judged.ratio is None:
        return Text()
    ratio = judged.ratio
    mark = "" if judged.verdict == "undecided" else words.MARKS[judged.verdict]
    range_shown = f" ({ratio.low:.2f}-{ratio.high:.2f})" if with_range and ratio.boots > 1 else ""
    return Text.assemble(
        (f"{ratio.value:.2f}x{mark}", _COLOURS[judged.verdict]), (range_shown, "dim")
    )


def _remarks(cell: Cell) -> Iterator[RenderableType]:
    for result in cell.modes:
        for reason in words.reasons(result):
            yield Padding(
                Text(f"{result.mode}: {reason}", style="yellow"), (0, 0, 0, 2), expand=False
            )


def _evidence(found: Sequence[Cell], *, details: bool) -> RenderableType:
    """Return what showed that each mode was in effect: a sentence each, or every counter."""
    seen = counters(found) if details else sentences(found)
    grid = _grid("evidence")
    for mode, shown in seen.items():
        grid.add_row(mode, Text(shown))
    return grid if seen else Text("no evidence of the mode in effect", style="yellow")


def _made_with(results: Results) -> Iterator[Text]:
    """Yield what the figures were made with in two lines; --evidence shows all parts."""
    versions, artifacts = results.provenance.versions, results.provenance.artifacts
    told = [f"{name.replace('_', ' ')} {version}" for name, version in versions.items()]
    told += [f"{name} {artifacts[name][:_HASH_SHOWN]}" for name in _HASHES if name in artifacts]
    yield Text(f"made with {', '.join(told)}", style="dim")
    yield Text(f"by {results.run.command}", style="dim")


def _provenance(results: Results) -> RenderableType:
    made_with = results.provenance
    grid = _grid("made with")
    for name in dict.fromkeys((*made_with.versions, *made_with.artifacts)):
        version = made_with.versions.get(name, "")
        content = made_with.artifacts.get(name, "")[:_HASH_SHOWN]
        grid.add_row(name, Text.assemble(version, " " if version else "", (content, "dim")))
    if made_with.settings:
        told = ", ".join(f"{name} {value}" for name, value in made_with.settings.items())
        grid.add_row("settings", Text(told))
    if made_with.cpu_model:
        grid.add_row("cpu", Text(made_with.cpu_model))
    grid.add_row("command", Text(results.run.command))
    return grid


def _grid(title: str) -> Table:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    grid.add_column(title, min_width=11, no_wrap=True)
    grid.add_column("", overflow="fold")
    return grid
