"""Tasks that read runs, compare them and show them; they need no lab."""

from __future__ import annotations

from invoke.context import Context

from zclab.tasks.cli import explained, task

EVIDENCE_HELP = "also print both runs, with all evidence and provenance"


@task(
    help={
        "base": "a run made with --clock=virtual --profile",
        "head": "another one",
        "top": "number of symbols to show for each mode and workload",
        "html": "also write a page with a flame graph by component and symbol",
    }
)
@explained
def profile_diff(_context: Context, base: str, head: str, top: int = 25, html: str = "") -> None:
    """Show which components and symbols cost more or less in a second run."""
    from zclab.experiment import stored_runs  # noqa: PLC0415 - as above

    stored_runs.profile_diff(base, head, shown=top, html=html)


@task(
    help={
        "run": "a run's folder, or its results.json",
        "baseline-mode": "the mode with which the others are compared",
        "gates": "a file of gates/ without .yaml, or a path; by default the clock's",
        "evidence": "also print all evidence and provenance",
        "html": "the file of the page, instead of one in the run's folder",
        "markdown": "also write the table as Markdown",
    }
)
@explained
def report(
    _context: Context,
    run: str,
    baseline_mode: str = "vhost",
    gates: str = "",
    evidence: bool = False,
    html: str = "",
    markdown: str = "",
) -> None:
    """Show a run again, and write its page."""
    from zclab.experiment import stored_runs  # noqa: PLC0415 - scipy and matplotlib take seconds to import

    stored_runs.report(
        run,
        baseline_mode=baseline_mode,
        gates=gates,
        details=evidence,
        html=html,
        md=markdown,
    )


@task(
    iterable=["baseline", "allow"],
    help={
        "run": "a run's folder, or its results.json",
        "baseline": "a run, or a results.json, to compare with; repeatable, of one kernel",
        "baseline-mode": "without --baseline: the mode with which the others are compared",
        "gates": "a file of gates/ without .yaml, or a path; by default the clock's",
        "allow": "a condition in which the runs may differ, such as cpu_model or mtu; repeatable",
        "junit": "also write JUnit XML",
        "html": "also write the run's page, with the comparison in it",
        "markdown": "also write the verdict as Markdown",
        "evidence": EVIDENCE_HELP,
    },
)
@explained
def compare(
    _context: Context,
    run: str,
    baseline: list[str],
    allow: list[str],
    baseline_mode: str = "vhost",
    gates: str = "",
    junit: str = "",
    html: str = "",
    markdown: str = "",
    evidence: bool = False,
) -> None:
    """Compare a run with others, or its modes with each other."""
    from zclab.experiment import stored_runs  # noqa: PLC0415 - as above

    stored_runs.compare(
        run,
        baselines=baseline,
        baseline_mode=baseline_mode,
        gates=gates,
        allow=allow,
        junit=junit,
        html=html,
        md=markdown,
        evidence=evidence,
    )


@task(
    help={
        "folder": "a folder with folders of runs",
        "gates": "a file of gates/ without .yaml, or a path; by default the clock's",
        "html": "the file of the page, instead of one in the folder",
    }
)
@explained
def trend(_context: Context, folder: str, gates: str = "", html: str = "") -> None:
    """Show which figures moved over many runs."""
    from zclab.experiment import stored_runs  # noqa: PLC0415 - as above

    stored_runs.trend(folder, gates=gates, html=html)
