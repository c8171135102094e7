"""Markdown for a pull request or a mail."""

from __future__ import annotations

from collections.abc import Sequence

from zclab.documents.gates import Gates, default_gates
from zclab.judge.cells import ModeResult, cells
from zclab.judge.compare import within
from zclab.judge.verdicts import Judged, measured
from zclab.model import Clock, ModeName
from zclab.outside import printable
from zclab.report import words
from zclab.report.words import COLUMNS, COPIED, MARKS, number
from zclab.runs.results import METRICS, Results

_VERDICTS_SHOWN = 40


def markdown(results: Results, *, baseline: ModeName = "vhost", gates: Gates | None = None) -> str:
    """Return the verdict and one table, a row for each cell and mode."""
    clock = results.run.clock
    judged = within(results, gates or default_gates(clock), baseline=baseline)
    verdicts = words.verdicts_of(judged)
    vs = f"vs {baseline}"
    heading = ("workload", "mode", "result", vs, "host CPU", vs, "copied B/B", "p99 us")
    lines = [words.sentence(judged, baseline), "", f"| {' | '.join(heading)} |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for cell in cells([results], baseline=baseline):
        rate, demand, _ = COLUMNS[cell.dimensions.workload]
        for result in cell.modes:
            row = (
                words.cell_name(cell.dimensions),
                result.mode,
                _with_unit(result, rate, clock) if result.figures else _reasons(result),
                _ratio(verdicts.get((cell.key, result.mode, rate))),
                _with_unit(result, demand, clock),
                _ratio(verdicts.get((cell.key, result.mode, demand))),
                _value(result, COPIED, clock),
                _value(result, "latency_p99_us", clock),
            )
            lines.append(_row(row))
    notes = [note for note in (words.MARKS_EXPLAINED, words.caveat(results)) if note]
    return "\n".join((*lines, "", "; ".join(notes), ""))


def markdown_comparison(judged: Sequence[Judged], against: str) -> str:
    """Return the verdict on a run against others, with what differs and what is undecided."""
    lines = [words.sentence(judged, against), ""]
    told = [one for one in judged if one.verdict != "same"]
    if told:
        lines += [
            "| | workload | mode | figure | baseline | ratio | |",
            "|---|---|---|---|---:|---:|---|",
        ]
    for one in told[:_VERDICTS_SHOWN]:
        metric = METRICS[one.metric]
        row = (
            f"{MARKS[one.verdict]} {one.verdict}",
            words.cell_name(one.dimensions),
            one.mode,
            metric.title,
            words.with_unit(one.theirs, metric),
            f"{one.ratio.value:.3f}x" if one.ratio else words.NONE,
            one.reason,
        )
        lines.append(_row(row))
    if len(told) > _VERDICTS_SHOWN:
        lines.append(f"\n{len(told) - _VERDICTS_SHOWN} more are in the report.")
    return "\n".join((*lines, ""))


def summary(
    results: Results,
    judged: Sequence[Judged],
    against: str,
    *,
    note: str,
    problem: str,
    gates: Gates,
) -> str:
    """Return what a night came to: the verdict, what differs, and all figures folded below."""
    made_with = results.provenance
    kernel = made_with.versions.get("host_kernel", "no kernel")
    series = made_with.artifacts.get("series", "")[:12]
    lines = [f"## Run {results.run.id}", ""]
    if problem:
        lines += ["**Failed:** " + "  \n".join(map(_plain, problem.split("\n"))), ""]
    if note:
        lines += [_plain(note), ""]
    if judged:
        lines += [markdown_comparison(judged, against)]
    built = f", series {series}" if series else ""
    lines += [
        f"Lab {results.run.lab}, {results.run.clock} clock, {kernel}{built}.",
        "",
        "<details><summary>The modes of this run</summary>",
        "",
        markdown(results, gates=gates),
        "</details>",
    ]
    return "\n".join((*lines, ""))


def _row(cells: Sequence[str]) -> str:
    """Return a line of a table, whatever is in its cells."""
    shown = (_plain(cell).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(shown)} |"


def _plain(text: str) -> str:
    """Return text on one line that starts no HTML and escapes no character behind it."""
    line = " ".join(printable(text).split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("\\", "&#92;")


def _reasons(result: ModeResult) -> str:
    return "; ".join(words.reasons(result))


def _ratio(judged: Judged | None) -> str:
    if judged is None or judged.ratio is None:
        return ""
    return f"{judged.ratio.value:.2f}x {MARKS[judged.verdict]}"


def _value(result: ModeResult, name: str, clock: Clock) -> str:
    if name not in result.figures:
        return ""
    return number(measured(result.figures[name], clock).value, METRICS[name])


def _with_unit(result: ModeResult, name: str, clock: Clock) -> str:
    shown = _value(result, name, clock)
    return f"{shown} {METRICS[name].unit}" if shown else ""
