"""Trends for people: a table of what moved, and a page with every figure's history."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from zclab.judge.trend import History, version_of
from zclab.report import charts, words
from zclab.report.figures import Chart, chart
from zclab.report.page import template
from zclab.runs.results import METRICS, Results


def render_trend(histories: Sequence[History], runs: Sequence[Results]) -> RenderableType:
    """Return a table of the moves for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "figure", "ratio", "between", "and"):
        table.add_column(heading, overflow="fold")
    version = {results.run.id: version_of(results) for results in runs}
    for one in histories:
        for move in one.moves:
            table.add_row(
                Text(words.MARKS[move.verdict], "red" if move.verdict == "worse" else "green"),
                _name(one),
                f"{move.ratio:.3f}x",
                f"{move.before.id} ({version[move.before.id]})",
                f"{move.after.id} ({version[move.after.id]})",
            )
    verdict = Text(summary(histories, len(runs)), style="bold")
    return Group(table, verdict) if any(one.moves for one in histories) else verdict


def trend_page(
    histories: Sequence[History], runs: Sequence[Results], left_out: Sequence[str]
) -> str:
    """Return one HTML file with the history of each figure, those that moved first."""
    moved = [_drawn(one) for one in histories if one.moves]
    still = [_drawn(one) for one in histories if not one.moves]
    return template("trend.html.j2").render(
        runs=runs,
        verdict=summary(histories, len(runs)),
        left_out=left_out,
        moved=moved,
        still=still,
    )


def summary(histories: Sequence[History], runs: int) -> str:
    """Return the verdict on all histories in a sentence."""
    moves = [(one, move) for one in histories for move in one.moves]
    if not moves:
        return f"None of {len(histories)} figures moved in {runs} runs."
    worse = [(one, move) for one, move in moves if move.verdict == "worse"]
    told = f"{len({id(one) for one, _ in moves})} of {len(histories)} figures moved in {runs} runs"
    if not worse:
        return f"{told}, none for the worse."
    one, move = worse[-1]
    return (
        f"{told}, {len(worse)} times for the worse: {_name(one)} became {move.ratio:.2f}x between "
        f"{move.before.id} and {move.after.id}."
    )


def _name(one: History) -> str:
    return f"{words.cell_name(one.dimensions)}, {one.mode}: {METRICS[one.metric].title}"


def _drawn(one: History) -> Chart:
    ids = [results.run.id for results, _ in one.points]
    told = "; ".join(
        f"{move.verdict}, {move.ratio:.3f}x, between {move.before.id} and {move.after.id}"
        for move in one.moves
    )
    return chart(
        f"{_name(one)}{f': {told}' if told else ''}",
        charts.history(
            [estimate for _, estimate in one.points],
            [version_of(results) for results, _ in one.points],
            METRICS[one.metric].unit,
            [ids.index(move.after.id) for move in one.moves],
        ),
    )
