"""One HTML file that needs nothing else: no network, no script, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from zclab.documents.gates import Gates, default_gates
from zclab.host.console import ConsoleWatch
from zclab.judge.cells import Cell, ModeResult, cells
from zclab.judge.compare import tally, within
from zclab.judge.sweep import Sweep, sweeps
from zclab.judge.verdicts import Judged, Verdict, measured
from zclab.logs import last_lines
from zclab.model import ModeName
from zclab.outside import printable
from zclab.report import words
from zclab.report.evidence import counters, sentences
from zclab.report.figures import Chart, Shown, figures
from zclab.report.overview import overview
from zclab.report.words import COLUMNS, MARKS, number
from zclab.runs.results import BAD, METRICS, Dimensions, Metric, Results

CONSOLE_LINES = 25
CONSOLE_CHARACTERS = 8 << 20
"""How far a console is read for reports: a driver that never stops to complain fills any disk."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A mode's row of a table: the figures, each with its ratio and its verdict."""

    mode: str
    columns: tuple[tuple[str, str, str], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A cell's figures; ``headings`` say whether a ratio stands beside the figure."""

    size: str
    headings: tuple[tuple[str, bool], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A workload and direction under one set of conditions."""

    title: str
    conditions: str
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]


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
    shown = Shown(clock=results.run.clock, baseline=baseline, verdicts=words.verdicts_of(judged))
    estimates = [
        measured(units, shown.clock)
        for cell in found
        for result in cell.modes
        for units in result.figures.values()
    ]
    lead, baseline_name = (comparison, against) if comparison else (judged, baseline)
    failed = any(trial.status in BAD for trial in results.trials)
    return template("page.html.j2").render(
        run=results.run,
        provenance=results.provenance,
        verdict=words.sentence(lead, baseline_name),
        counts=[(verdict, MARKS[verdict], tally(lead)[verdict]) for verdict in get_args(Verdict)],
        judged=bool(lead),
        overview=overview(lead, baseline_name),
        marks=words.MARKS_EXPLAINED,
        caveat=words.caveat(results),
        resumed=words.resumed(results.run),
        known=words.known(results),
        spread=words.spread_explained(estimates),
        sections=[_section(sweep, shown) for sweep in sweeps(found)],
        undecided=tuple(words.undecided(judged)),
        comparison=[
            _compared(one, [other.dimensions for other in comparison]) for one in comparison
        ],
        modes_verdict=words.sentence(judged, baseline) if comparison and judged else "",
        consoles=_consoles(folder) if folder and failed else {},
        evidence=sentences(found),
        counters=counters(found),
        significance=gates.significance,
        baseline=baseline,
        against=against,
        explained=any(one.reason for one in comparison),
    )


def template(name: str) -> Template:
    """Return one of the templates beside this module."""
    environment = Environment(
        loader=PackageLoader("zclab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    return environment.get_template(name)


def _finalized(value: object) -> object:
    """Return what a template shows of a value: no control characters, which HTML has not."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return printable(value)
    return value


def _section(sweep: Sweep, shown: Shown) -> Section:
    dimensions = sweep.dimensions
    return Section(
        title=" ".join(word for word in (dimensions.workload, dimensions.direction) if word),
        conditions=words.conditions(dimensions),
        charts=figures(sweep, shown),
        tables=tuple(_table(cell, shown) for cell in sweep.cells),
    )


def _table(cell: Cell, shown: Shown) -> Table:
    """Return a cell's table, without columns that have nothing in them."""
    columns = tuple(
        METRICS[name]
        for name in COLUMNS[cell.dimensions.workload]
        if any(name in result.figures for result in cell.modes)
    )
    rows = tuple(_row(cell, result, columns, shown) for result in cell.modes)
    return Table(
        size=f"{cell.dimensions.message_bytes:,} B",
        headings=tuple(
            (f"{metric.title}, {metric.unit}", any(row.columns[number][1] for row in rows))
            for number, metric in enumerate(columns)
        ),
        rows=rows,
    )


def _row(cell: Cell, result: ModeResult, columns: Sequence[Metric], shown: Shown) -> Row:
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


def _compared(one: Judged, cells: Sequence[Dimensions]) -> tuple[str, ...]:
    where = (words.cell_name(one.dimensions), *words.differing(one.dimensions, cells), one.mode)
    metric = METRICS[one.metric]
    ratio = words.NONE
    if one.ratio:
        ratio = f"{one.ratio.value:.3f}x ({one.ratio.low:.3f}-{one.ratio.high:.3f})"
    return (
        one.verdict,
        f"{MARKS[one.verdict]} {one.verdict}",
        f"{', '.join(where)}: {metric.title}",
        words.with_unit(one.theirs, metric),
        words.with_unit(one.ours, metric) if one.ours else words.NONE,
        ratio,
        one.reason,
    )


def _consoles(folder: Path) -> dict[str, str]:
    """Return of each console the first kernel report, or its last lines where there is none.

    Above those stands what its kernel said that does not end a run.
    """
    found = {}
    for log in sorted((folder / "raw").glob("*console*.log")):
        watch = ConsoleWatch()
        try:
            with log.open(encoding="utf-8", errors="replace") as console:
                report = watch.feed(f"{console.read(CONSOLE_CHARACTERS)}\n")
            last = last_lines(log, CONSOLE_LINES)
        except OSError as exc:
            report, last = None, [f"cannot be read: {exc.strerror}"]
        notices = [str(notice) for notice in watch.taken()]
        found[log.name] = "\n".join(report.lines if report else (*notices, *last))
    return found
