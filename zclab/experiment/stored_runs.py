"""What the tasks do that need no lab: read runs, compare them, show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zclab.documents.gates import Gates, default_gates, load_gates
from zclab.errors import ConfigError, GateError, TrialError, ZclabError
from zclab.judge import costs
from zclab.judge.compare import between, tally, within
from zclab.judge.trend import FEWEST_RUNS, comparable_with_last, histories, load_runs
from zclab.judge.verdicts import Judged
from zclab.model import Clock, ModeName
from zclab.options import check_range, is_file, is_folder, is_there, user_path
from zclab.report.flame import flame_page
from zclab.report.junit import junit as junit_of
from zclab.report.markdown import markdown, markdown_comparison
from zclab.report.moved import cost_sentence, render_moved
from zclab.report.output import out
from zclab.report.page import page
from zclab.report.terminal import render, render_figures, render_verdict
from zclab.report.trending import render_trend, trend_page
from zclab.runs.plan import select_modes
from zclab.runs.profiles import CellMovements, movements, profiles
from zclab.runs.results import Results
from zclab.runs.resume import PLAN_FILE
from zclab.runs.store import RAW, RESULTS_FILE, load, replace, run_folder

PAGE_FILE = "report.html"
TREND_FILE = "trend.html"
SHOWN = 12
"""How many symbols of each cell are shown; all are in the profiles of the runs."""


def report(
    run: str, *, baseline_mode: str, gates: str, html: str, md: str, details: bool = False
) -> None:
    """Print the report of a run and write its page, by default into the run's folder.

    Of results that lie anywhere, a page is written only where ``html`` says. ``details`` adds every
    counter of the evidence, and all that the figures were made with.
    """
    path = user_path(run, "--run")
    results, folder = load(path), run_folder(path)
    base, rules = _mode(baseline_mode), _gates(gates, results.run.clock)
    places = _places([path], html=html or (str(folder / PAGE_FILE) if folder else ""), markdown=md)
    out.print(render(results, baseline=base, gates=rules, details=details))
    if file := places.get("markdown"):
        _write("--markdown", file, markdown(results, baseline=base, gates=rules))
    if file := places.get("html"):
        _write("--html", file, page(results, folder=folder, baseline=base, gates=rules))
        out.print(f"page: {file}")
    else:
        out.print(f"{path} is in no run's folder: --html=FILE writes the page")


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
    shown: int = SHOWN,
    evidence: bool = False,
) -> None:
    """Judge a run against others, or its modes against one of them; fail where it is worse.

    The verdict comes first, then what costs more or less, by component and by symbol, then the
    figures; with ``evidence`` all that shows which mode was in effect.
    """
    path = user_path(run, "--run")
    results = load(path)
    rules = _gates(gates, results.run.clock)
    bases = [user_path(name, "--baseline") for name in baselines]
    places = _places([path, *bases], junit=junit, html=html, markdown=md)
    theirs = [(base, load(base)) for base in bases]
    if theirs:
        judged = between(results, [other for _, other in theirs], rules, allow=allow)
        against = " and ".join(other.run.id for _, other in theirs)
    else:
        mode = _mode(baseline_mode)
        judged, against = within(results, rules, baseline=mode), mode
    if not judged:
        raise ConfigError(
            f"{run}: nothing to compare: name runs with --baseline, or a mode that has valid "
            f"figures with --baseline-mode, not {against}"
        )
    out.print(render_verdict(judged, against), "", sep="\n")
    ours = side([(path, results)])
    print_moved(
        costs.between(ours, side(theirs), allow=allow)
        if theirs
        else costs.within(ours, baseline=_mode(baseline_mode)),
        shown=shown,
    )
    out.print(render_figures(judged))
    if evidence:
        print_evidence([*(other for _, other in theirs), results])
    if file := places.get("junit"):
        name = f"{results.run.id} against {against}"
        _write("--junit", file, junit_of(judged, name=name))
    if file := places.get("markdown"):
        _write("--markdown", file, markdown_comparison(judged, against))
    if file := places.get("html"):
        folder = run_folder(path)
        text = page(results, folder=folder, gates=rules, comparison=judged, against=against)
        _write("--html", file, text)
    if problem := problem_of(judged, against):
        raise problem


def profile_diff(base: str, head: str, *, shown: int = SHOWN, html: str = "") -> None:
    """Print what costs more or less in another run with profiles; ``html`` draws all of it."""
    check_range("--top", shown, 1, 1_000_000)
    before, after = user_path(base, "--base"), user_path(head, "--head")
    theirs, ours = load(before), load(after)
    found = movements(before, theirs, after, ours)
    for cell in found:
        out.print(cost_sentence(cell), style="bold")
    out.print()
    print_moved(found, shown=shown)
    if html:
        written = user_path(html, "--html")
        text = flame_page(found, base=theirs.run.id, head=ours.run.id, shown=shown)
        _write("--html", written, text)
        out.print(f"page: {written}")


def side(runs: Sequence[tuple[Path, Results]]) -> costs.Side:
    """Return one side of a comparison: its runs, and their profiles where they have any."""
    return costs.Side(runs=[results for _, results in runs], profiles=profiles(runs))


def print_moved(cells: Sequence[CellMovements], *, shown: int) -> None:
    """Print what costs more or less, by component and, where there are profiles, by symbol."""
    for cell in cells:
        out.print(render_moved(cell, shown=shown))


def print_evidence(runs: Sequence[Results]) -> None:
    """Print runs with all counters that show which mode was in effect."""
    for results in runs:
        out.print("", render(results, details=True), sep="\n")


def trend(folder: str, *, gates: str, html: str) -> None:
    """Say which figures moved in a folder of runs and between which two, and draw them all."""
    place = user_path(folder, "--folder")
    places = _places([], html=html or str(place / TREND_FILE))
    whole, unread = load_runs(place)
    runs, unlike = comparable_with_last(whole)
    left_out = (*unread, *unlike)
    found = histories(runs, _gates(gates, runs[-1].run.clock))
    for reason in left_out:
        out.print(reason, style="yellow")
    if len(runs) < FEWEST_RUNS:
        out.print(f"a trend needs {FEWEST_RUNS} runs; found {len(runs)}", style="yellow")
    out.print(render_trend(found, runs))
    _write("--html", places["html"], trend_page(found, runs, left_out))
    out.print(f"page: {places['html']}")


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


def _places(inputs: Sequence[Path], **options: str) -> dict[str, Path]:
    """Return where the files of options go, by option; those with no text were not given.

    Raises ConfigError for a place that has one of the ``inputs``, or anything else that a run is
    made of, and for one that two options name.
    """
    taken = {path.resolve(): "what is read" for path in inputs}
    found = {}
    for option, text in options.items():
        if not text:
            continue
        path = user_path(text, f"--{option}")
        if is_folder(path):
            raise ConfigError(f"--{option}: cannot write {path}: Is a directory; name a file in it")
        if is_there(path) and not is_file(path):  # a pipe or a device, which takes any number
            found[option] = path
            continue
        file = path.resolve()
        if what := "part of a run" if _is_of_a_run(file) else taken.get(file):
            raise ConfigError(f"--{option}: {path} is {what}, and stays; name another file")
        taken[file] = f"what --{option} writes"
        found[option] = path
    return found


def _is_of_a_run(file: Path) -> bool:
    """Tell whether a file is, or would be, one that results are made of or kept in."""
    own = {RESULTS_FILE, PLAN_FILE, RAW}
    return any(
        file.relative_to(folder).parts[0] in own and is_file(folder / RESULTS_FILE)
        for folder in file.parents
    )


def _write(option: str, path: Path, text: str) -> None:
    """Write a file as a whole or not at all; ConfigError names the option where it cannot be.

    A link stays one. Nothing takes the place of a pipe or a device, such as /dev/stdout.
    """
    try:
        if is_there(path) and not is_file(path):
            path.write_text(text, encoding="utf-8")
            return
        file = path.resolve()
        file.parent.mkdir(parents=True, exist_ok=True)
        replace(file, text)
    except OSError as exc:
        raise ConfigError(f"{option}: cannot write {path}: {exc.strerror}") from exc
