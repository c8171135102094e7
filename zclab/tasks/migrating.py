"""Tasks that move guests between two hosts."""

from __future__ import annotations

from invoke.context import Context

from zclab.experiment import bench as experiment
from zclab.experiment import builds
from zclab.model import MIGRATE
from zclab.runs.resume import KernelOptions
from zclab.tasks.cli import explained, task
from zclab.tasks.labs import LAB_HELP

REPETITIONS = 1
"""Round trips in each mode, where nobody says how many: each takes a minute or two."""
DURATION_S = 3.0


@task(
    iterable=["mode"],
    help={
        "mode": "as for run-bench",
        "baseline": "as for run-bench",
        "repetitions": "guest boots for each mode, each with a way there and back, 1",
        "duration": "seconds of traffic before, between and after the migrations, 3",
        "offloads": "as for run-bench",
        "mtu": "as for run-bench",
        "dry-run": "list the trials and the time they take; run none",
        "keep": "leave the lab up",
        "force": "as for run-bench",
        "out": "as for run-bench",
        **LAB_HELP,
        "nic": "as for run-bench",
        "source": "as for build-kernel",
        "series": "as for build-kernel",
        "debug": "as for build-kernel",
    },
)
@explained
def migrate(
    _context: Context,
    mode: list[str],
    baseline: str = "vhost",
    repetitions: int = REPETITIONS,
    duration: float = DURATION_S,
    offloads: str = "",
    mtu: int = 1500,
    dry_run: bool = False,
    keep: bool = False,
    force: bool = False,
    out: str = "",
    lab: str = "pair",
    name: str = "",
    nic: str = "",
    source: str = "",
    series: str = "",
    debug: bool = False,
) -> None:
    """Migrate guests to a second host and back, under traffic."""
    loaded = builds.load(lab, name=name, nic=nic)
    options = experiment.Options(
        baseline=baseline,
        modes=mode,
        workloads=(MIGRATE,),
        repetitions=repetitions,
        duration_s=duration,
        mtu=mtu,
        offloads=offloads,
    )
    plan = experiment.planned(loaded, options)
    virtual = experiment.virtual_options(jobs=0, profile=False, copy_bytes=8)
    if dry_run:
        experiment.show(plan, virtual)
        return
    experiment.bench(
        plan,
        lambda: builds.build_lab(loaded, source=source, series=series, debug=debug),
        virtual,
        keep=keep,
        out_dir=out,
        kernel=KernelOptions.of(source=source, series=series, debug=debug, bundle=""),
        force=force,
    )
