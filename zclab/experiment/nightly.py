"""The nightly run: build, run the suite, compare with a stored baseline, tell people and CI.

The folder of the nights has a folder for each run, which is what `invoke trend` reads, the baseline
(the results of one of these runs), and the last night's summary, page and JUnit XML under names
that never change, for CI to collect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_options
from pathlib import Path

from zclab.documents.gates import Gates, default_gates, load_gates
from zclab.errors import LabError, TrialError, ZclabError
from zclab.experiment.bench import begin, run_all
from zclab.experiment.builds import load as load_lab
from zclab.experiment.stored_runs import problem_of
from zclab.judge.compare import between
from zclab.judge.verdicts import Judged
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab
from zclab.options import is_there
from zclab.outside import printable
from zclab.report.junit import junit
from zclab.report.markdown import summary
from zclab.report.output import out
from zclab.report.page import page
from zclab.report.terminal import render_figures, render_verdict
from zclab.runs.results import BAD, Results
from zclab.runs.resume import KernelOptions, Plan
from zclab.runs.store import RUNS, load, replace, write_value
from zclab.virtualtime.lab import VirtualOptions

FOLDER = RUNS / "nightly"
BASELINE = "baseline.json"
SUMMARY, PAGE, JUNIT = "summary.md", "report.html", "junit.xml"
RECHECKED = 4
"""How many known results of each part a night measures again, to see that they still hold."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a night is compared with, and by which rules; ``allow`` may differ all the same."""

    folder: Path = FOLDER
    baseline: Path | None = None
    update_baseline: bool = False
    gates: str = ""
    allow: Sequence[str] = ()

    @property
    def baseline_file(self) -> Path:
        """Where the baseline is kept."""
        return self.baseline or self.folder / BASELINE


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of comparing a night: what was judged, or why nothing was, and how it ends."""

    judged: tuple[Judged, ...] = ()
    against: str = ""
    note: str = ""
    problem: ZclabError | None = None


def lab_of(name: str, *, clock: str) -> Lab:
    """Return the lab for a night: in virtual time where it can be, unless a clock is named."""
    lab = load_lab(name, clock=clock)
    return lab if clock or lab.emulator is None else load_lab(name, clock="virtual")


def nightly(
    plan: Plan,
    kernel: KernelOptions,
    build: Callable[[], Artifacts],
    virtual: VirtualOptions,
    options: Options,
) -> None:
    """Run a night and write its reports; the error it ends with comes after all are written.

    GateError where a figure is worse, TrialError where a trial has no valid figures or a figure
    is missing, ConfigError where the baseline was made with something else.
    """
    rules = load_gates(options.gates) if options.gates else default_gates(plan.lab.clock)
    store = begin(plan, virtual, kernel=kernel, runs=options.folder)
    problem: ZclabError | None = None
    try:
        run_all(plan, plan, build, store, replace_options(virtual, recheck=RECHECKED))
    except ZclabError as exc:
        problem = exc
    results = store.results
    incomplete = problem or _incomplete(plan, results)
    verdict = _verdict(results, options, rules)
    note, worse = verdict.note, verdict.problem
    if isinstance(worse, LabError):  # virtual time that is not exact is no baseline either
        incomplete = incomplete or worse
    if options.update_baseline or not is_there(options.baseline_file):
        note = " ".join(filter(None, (note, _adopt(results, options.baseline_file, incomplete))))
        worse = None
    verdict = Verdict(
        judged=verdict.judged,
        against=verdict.against,
        note=note,
        problem=problem or worse or incomplete,
    )
    _write(results, store.path, verdict, options, rules)
    if verdict.problem:
        raise verdict.problem


def _incomplete(plan: Plan, results: Results) -> ZclabError | None:
    bad = sum(trial.status in BAD for trial in results.trials)
    bad += plan.trials - len(results.trials)
    if not bad:
        return None
    return TrialError(f"{bad} of {plan.trials} trials have no valid figures; see the report")


def _verdict(results: Results, options: Options, rules: Gates) -> Verdict:
    """Compare a night with the baseline, where there is one that it can be compared with."""
    file = options.baseline_file
    if not is_there(file):
        return Verdict(note=f"There was no baseline ({file}) to compare with.")
    try:
        baseline = load(file)
        judged = between(results, [baseline], rules, allow=options.allow)
    except ZclabError as exc:
        remedy = "`invoke nightly --update-baseline` makes the next night the baseline"
        problem = type(exc)(f"not compared with {file}: {exc}\nor {remedy}")
        return Verdict(note=f"Not compared with the baseline. {exc}", problem=problem)
    against = baseline.run.id
    return Verdict(judged=judged, against=against, problem=problem_of(judged, against))


def _adopt(results: Results, file: Path, problem: ZclabError | None) -> str:
    """Make a night the baseline if all of it is valid; say what was done."""
    if problem:
        return "It does not become the baseline: all trials of a baseline must be valid."
    file.parent.mkdir(parents=True, exist_ok=True)
    write_value(file, results)
    return f"It is the baseline from now on ({file})."


def _write(results: Results, run: Path, verdict: Verdict, options: Options, rules: Gates) -> None:
    folder, problem = options.folder, str(verdict.problem or "")
    judged, against = verdict.judged, verdict.against
    text = summary(results, judged, against, note=verdict.note, problem=problem, gates=rules)
    html = page(results, folder=run, gates=rules, comparison=judged, against=against)
    replace(folder / SUMMARY, text)
    for place in (folder, run):
        replace(place / PAGE, html)
    name = f"{results.run.id} against {against or 'no baseline'}"
    replace(folder / JUNIT, junit(judged, name=name, trials=results.trials, problem=problem))
    if judged:
        out.print(render_verdict(judged, against), "", render_figures(judged), sep="\n")
    if verdict.note:
        out.print(printable(verdict.note), markup=False)
    written = ", ".join(str(folder / name) for name in (SUMMARY, PAGE, JUNIT))
    out.print(f"of the last night: {written}", markup=False)
