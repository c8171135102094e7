"""What the tasks do that need no lab: read runs, compare them, show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zclab.bench.plan import select_modes
from zclab.commands import out
from zclab.compare import between, tally, within
from zclab.errors import ConfigError, GateError, TrialError, ZclabError
from zclab.gates import Gates, default_gates, load_gates
from zclab.judge import Judged
from zclab.model import Clock, ModeName
from zclab.paths import user_path
from zclab.profiles import CellMovements, movements
from zclab.report.junit import write_junit
from zclab.report.markdown import markdown, markdown_comparison
from zclab.report.page import page
from zclab.report.terminal import render, render_comparison
from zclab.report.trending import render_trend, trend_page
from zclab.store import load
from zclab.trend import FEWEST_RUNS, comparable_with_last, histories, load_runs

PAGE_FILE = "report.html"
TREND_FILE = "trend.html"


def report(
    run: str, *, baseline_mode: str, gates: str, html: str, md: str, details: bool = False
) -> None:
    """Print the report of a run and write its page, by default into the run's folder.

    ``details`` adds every counter of the evidence, and all that the figures were made with.
    """
    path = user_path(run, "--run")
    results = load(path)
    folder = path if path.is_dir() else path.parent
    base, rules = _mode(baseline_mode), _gates(gates, results.run.clock)
    out.print(render(results, baseline=base, gates=rules, details=details))
    written = user_path(html, "--html") if html else folder / PAGE_FILE
    _write("--html", written, page(results, folder=folder, baseline=base, gates=rules))
    if md:
        _write(
            "--markdown", user_path(md, "--markdown"), markdown(results, baseline=base, gates=rules)
        )
    out.print(f"page: {written}")


def compare(
    run: str,
    *,
    baselines: Sequence[str],
    baseline_mode: str,
    gates: str,
    allow: Sequence[str],
    junit: str,
    html: str,
    md: str,
) -> None:
    """Judge a run against others, or its modes against one of them; fail where it is worse."""
    path = user_path(run, "--run")
    results = load(path)
    rules = _gates(gates, results.run.clock)
    if baselines:
        theirs = [load(user_path(name, "--baseline")) for name in baselines]
        judged = between(results, theirs, rules, allow=allow)
        against = " and ".join(other.run.id for other in theirs)
    else:
        against = _mode(baseline_mode)
        judged = within(results, rules, baseline=against)
    if not judged:
        raise ConfigError(
            f"{run}: nothing to compare: name runs with --baseline, or a mode that has valid "
            f"figures with --baseline-mode, not {against}"
        )
    out.print(render_comparison(judged, against))
    if junit:
        file = user_path(junit, "--junit")
        with _written("--junit", file):
            write_junit(file, judged, name=f"{results.run.id} against {against}")
    if md:
        _write("--markdown", user_path(md, "--markdown"), markdown_comparison(judged, against))
    if html:
        folder = path if path.is_dir() else path.parent
        _write(
            "--html",
            user_path(html, "--html"),
            page(results, folder=folder, gates=rules, comparison=judged, against=against),
        )
    if problem := problem_of(judged, against):
        raise problem


def profile_movements(base: str, head: str) -> tuple[CellMovements, ...]:
    """Return what moved between the profiles of two runs."""
    before, after = user_path(base, "--base"), user_path(head, "--head")
    return movements(before, load(before), after, load(after))


def trend(folder: str, *, gates: str, html: str) -> None:
    """Say which figures moved in a folder of runs and between which two, and draw them all."""
    place = user_path(folder, "--folder")
    runs, left_out = comparable_with_last(load_runs(place))
    found = histories(runs, _gates(gates, runs[-1].run.clock))
    for reason in left_out:
        out.print(reason, style="yellow")
    if len(runs) < FEWEST_RUNS:
        out.print(f"{len(runs)} runs are no trend yet; it takes {FEWEST_RUNS}", style="yellow")
    out.print(render_trend(found, runs))
    written = user_path(html, "--html") if html else place / TREND_FILE
    _write("--html", written, trend_page(found, runs, left_out))
    out.print(f"page: {written}")


def problem_of(judged: Sequence[Judged], against: str) -> ZclabError | None:
    """Return the error that a comparison ends with, None where nothing is worse or missing."""
    count = tally(judged)
    if count["worse"]:
        return GateError(f"{count['worse']} of {len(judged)} figures are worse than {against}'s")
    if count["missing"]:
        return TrialError(f"{count['missing']} of {len(judged)} figures are missing, {against} has")
    return None


def _mode(name: str) -> ModeName:
    return select_modes([name])[0]


def _gates(name: str, clock: Clock) -> Gates:
    return load_gates(name) if name else default_gates(clock)


def _write(option: str, path: Path, text: str) -> None:
    with _written(option, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


@contextmanager
def _written(option: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a ConfigError that names the option whose file cannot be written."""
    try:
        yield
    except OSError as exc:
        raise ConfigError(f"{option}: cannot write {path}: {exc.strerror}") from exc
