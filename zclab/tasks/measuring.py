"""Tasks that measure."""

from __future__ import annotations

from invoke.context import Context

from zclab.errors import ConfigError
from zclab.experiment import bench as experiment
from zclab.experiment import builds
from zclab.options import user_path
from zclab.runs.resume import KernelOptions
from zclab.tasks.cli import explained, reject_beside, task
from zclab.tasks.labs import LAB_HELP
from zclab.tasks.reports import EVIDENCE_HELP


@task(
    iterable=["mode", "workload", "direction", "message_bytes"],
    help={
        "mode": "passthrough, vhost or zerocopy; repeatable, all by default",
        "baseline": "the baseline mode, measured beside these, vhost by default; or none",
        "workload": "TCP_STREAM, TCP_RR, UDP_STREAM or UDP_RR; repeatable, else suites/first.yaml",
        "direction": "rx (peer to guest) or tx; repeatable, both by default",
        "message-bytes": "size of a message; repeatable",
        "repetitions": "guest boots for each mode, 3; in virtual time starts, 8",
        "duration": "seconds for each trial, 2; in virtual time a fixed amount of data",
        "streams": "number of each workload that run side by side, 1",
        "warm-up": "seconds that each workload runs before it is measured, 0",
        "clock": "wall, or virtual: exact, an instruction is a nanosecond; default: the lab's",
        "copy-bytes": "in virtual time: bytes that a copying instruction moves, 8 or 1",
        "profile": "in virtual time, keep the self-cost of every kernel symbol",
        "jobs": "trials side by side in virtual time, one for each core by default",
        "executor": "in virtual time, a dask.distributed scheduler's address: run on its workers",
        "fresh": "in virtual time, measure known results again; fail where one differs",
        "offloads": "on (default) or off: TSO, GSO and GRO of guest, host and peer",
        "mtu": "MTU of guest, host and peer, in bytes, 1500",
        "suite": "a file of suites/ without .yaml, or a path, instead of the options above",
        "seed": "seed for the order of a suite's trials; by default a new one, recorded",
        "dry-run": "list the trials and the time they take; run none",
        "resume": "the folder of a stopped run: resume it by its plan",
        "keep": "leave the lab up",
        "force": "in an ssh lab, take NICs in use, and do not restore their use",
        "out": "a new folder for the results, instead of runs/<id>",
        **LAB_HELP,
        "nic": "e1000e or igb, instead of what the lab file says",
        "source": "as for build-kernel",
        "series": "as for build-kernel",
        "debug": "as for build-kernel",
        "bundle": "a file of `invoke bundle`: use its artifacts and its known results",
    },
)
@explained
def run_bench(
    _context: Context,
    mode: list[str],
    workload: list[str],
    direction: list[str],
    message_bytes: list[str],
    repetitions: int = 0,
    duration: float = 0.0,
    streams: int = 1,
    warm_up: int = 0,
    baseline: str = "vhost",
    clock: str = "",
    offloads: str = "",
    mtu: int = 1500,
    jobs: int = 0,
    executor: str = "",
    fresh: bool = False,
    profile: bool = False,
    copy_bytes: int = 8,
    suite: str = "",
    seed: int = experiment.NEW_SEED,
    dry_run: bool = False,
    resume: str = "",
    keep: bool = False,
    force: bool = False,
    out: str = "",
    lab: str = "emulated",
    name: str = "",
    nic: str = "",
    source: str = "",
    series: str = "",
    debug: bool = False,
    bundle: str = "",
) -> None:
    """Compare the modes: boot, run netperf, print a table."""
    if resume:
        beside = ("jobs", "executor", "fresh", "keep", "force", "dry_run")
        reject_beside("resume", run_bench.body, locals(), allow=beside)
        experiment.resume(
            resume,
            jobs=jobs,
            executor=executor,
            fresh=fresh,
            keep=keep,
            dry_run=dry_run,
            force=force,
        )
        return
    loaded = builds.load(lab, name=name, nic=nic, clock=clock)
    options = experiment.Options(
        baseline=baseline,
        modes=mode,
        workloads=workload,
        directions=direction,
        message_bytes=message_bytes,
        repetitions=repetitions,
        duration_s=duration,
        streams=streams,
        warm_up_s=warm_up,
        mtu=mtu,
        offloads=offloads,
    )
    if seed != experiment.NEW_SEED and not suite:
        raise ConfigError("--seed: draws the order of a suite's trials; say --suite, too")
    plan = (
        experiment.planned_suite(loaded, suite, options, seed=seed)
        if suite
        else experiment.planned(loaded, options)
    )
    virtual = experiment.virtual_options(
        jobs=jobs, profile=profile, copy_bytes=copy_bytes, executor=executor, fresh=fresh
    )
    if dry_run:
        experiment.show(plan, virtual)
        return
    kernel = KernelOptions.of(source=source, series=series, debug=debug, bundle=bundle)
    experiment.bench(
        plan,
        lambda: builds.build_lab(
            loaded, source=source, series=series, debug=debug, bundle=kernel.bundle
        ),
        virtual,
        keep=keep,
        out_dir=out,
        kernel=kernel,
        force=force,
    )


@task(
    iterable=["mode", "workload", "direction"],
    help={
        "mode": "as for run-bench; vhost by default",
        "workload": "as for run-bench; TCP_RR by default",
        "direction": "as for run-bench",
        "nic": "as for run-bench",
        "bundle": "a file of `invoke bundle`: measure known trials of another machine again",
        "trials": "with --bundle, the number of them, 4; drawn by lot",
    },
)
@explained
def verify(
    _context: Context,
    mode: list[str],
    workload: list[str],
    direction: list[str],
    nic: str = "",
    bundle: str = "",
    trials: int = 0,
) -> None:
    """Check that figures are exact here, or equal to a bundle's."""
    from zclab.experiment import exchange  # noqa: PLC0415 - as below
    from zclab.experiment import verify as exactness  # noqa: PLC0415 - as below

    if bundle:
        reject_beside("bundle", verify.body, locals(), allow=("trials",))
        exchange.verify(bundle, trials=trials)
        return
    if trials:
        raise ConfigError("--trials: of which bundle? say --bundle, too")
    loaded = builds.load("emulated", nic=nic, clock="virtual")
    options = experiment.Options(
        modes=mode or ["vhost"],
        workloads=workload or ["TCP_RR"],
        directions=direction,
        repetitions=1,
    )
    exactness.verify(
        experiment.planned(loaded, options),
        lambda: builds.build_lab(loaded, source="", series="", debug=False),
        experiment.virtual_options(jobs=1, profile=False, copy_bytes=8),
    )


@task(
    help={
        "run": "the folder of a run of run-bench in an emulated lab",
        "file": "the new file, such as mine.zclab",
        "only": "artifacts or results; results are small",
    }
)
@explained
def bundle(_context: Context, run: str, file: str, only: str = "") -> None:
    """Write a run's artifacts and known results to a file."""
    from zclab.experiment import exchange  # noqa: PLC0415 - as below

    exchange.bundle(run, file, only=only)


@task(help={"file": "a file of `invoke bundle` from somebody you know: its programs run here"})
@explained
def unbundle(_context: Context, file: str) -> None:
    """Put a bundle's content into the cache."""
    from zclab.experiment import exchange  # noqa: PLC0415 - as below

    exchange.unbundle(file)


@task(
    iterable=["allow"],
    help={
        "folder": "the folder of all nights, one folder each; trend reads it",
        "suite": "a file of suites/ without .yaml, or a path",
        "baseline": "the file of the baseline, instead of baseline.json in the folder",
        "update-baseline": "make this night the baseline, whatever its verdict",
        "gates": "a file of gates/ without .yaml, or a path; by default the clock's",
        "allow": "a condition in which the baseline may differ, such as experiment; repeatable",
        "clock": "wall or virtual; by default virtual in an emulated lab",
        "jobs": "as for run-bench",
        "executor": "as for run-bench",
        "lab": "as for run-bench",
        "source": "as for run-bench",
        "series": "as for run-bench",
    },
)
@explained
def nightly(
    _context: Context,
    allow: list[str],
    folder: str = "runs/nightly",
    suite: str = "nightly",
    baseline: str = "",
    update_baseline: bool = False,
    gates: str = "",
    clock: str = "",
    jobs: int = 0,
    executor: str = "",
    lab: str = "emulated",
    source: str = "",
    series: str = "",
) -> None:
    """Build, run the nightly suite, and compare with the stored baseline."""
    from zclab.experiment import nightly as night  # noqa: PLC0415 - scipy takes a second to import

    loaded = night.lab_of(lab, clock=clock)
    night.nightly(
        experiment.planned_suite(loaded, suite, experiment.Options(), seed=experiment.NEW_SEED),
        KernelOptions.of(source=source, series=series, debug=False),
        lambda: builds.build_lab(loaded, source=source, series=series),
        experiment.virtual_options(jobs=jobs, profile=False, copy_bytes=8, executor=executor),
        night.Options(
            folder=user_path(folder, "--folder"),
            baseline=user_path(baseline, "--baseline") if baseline else None,
            update_baseline=update_baseline,
            gates=gates,
            allow=allow,
        ),
    )


KERNEL_HELP = (
    "ours, none, a series' folder, a kernel tree, or patches on top of ours (A.patch,B.patch)"
)


@task(
    iterable=["mode", "workload", "direction", "message_bytes"],
    help={
        "base": KERNEL_HELP,
        "head": KERNEL_HELP,
        "mode": "as for run-bench",
        "workload": "as for run-bench",
        "direction": "as for run-bench",
        "message-bytes": "as for run-bench",
        "repetitions": "starts for each mode, 8",
        "offloads": "as for run-bench",
        "mtu": "as for run-bench",
        "jobs": "as for run-bench",
        "gates": "a file of gates/ without .yaml, or a path",
        "out": "a new folder for both runs, instead of one in runs/",
        "nic": "as for run-bench",
        "evidence": EVIDENCE_HELP,
    },
)
@explained
def ab(
    _context: Context,
    base: str,
    head: str,
    mode: list[str],
    workload: list[str],
    direction: list[str],
    message_bytes: list[str],
    repetitions: int = 0,
    offloads: str = "on",
    mtu: int = 1500,
    jobs: int = 0,
    gates: str = "",
    out: str = "",
    nic: str = "",
    evidence: bool = False,
) -> None:
    """Compare two kernels in virtual time."""
    from zclab.experiment import ab as two_kernels  # noqa: PLC0415 - scipy takes a second to import

    loaded = builds.load("emulated", nic=nic, clock="virtual")
    options = experiment.Options(
        modes=mode,
        workloads=workload,
        directions=direction,
        message_bytes=message_bytes,
        repetitions=repetitions,
        mtu=mtu,
        offloads=offloads,
    )
    two_kernels.ab(
        experiment.planned(loaded, options),
        experiment.virtual_options(jobs=jobs, profile=True, copy_bytes=8),
        base=base,
        head=head,
        out_dir=out,
        gates=gates,
        evidence=evidence,
    )


@task(
    iterable=["mode", "workload", "direction", "message_bytes"],
    help={
        "good": "number of patches of the series without the change, or a commit of --source",
        "bad": "number of patches with it, or a commit",
        "metric": "the figure that moved, by its name in results.json, such as insns_per_kb_dut",
        "series": "a series' folder, kernel-patches/6.12 by default",
        "source": "a kernel's git tree, to bisect its commits",
        "mode": "one mode, vhost by default",
        "workload": "one workload, TCP_RR by default",
        "direction": "rx or tx, of a stream",
        "message-bytes": "as for run-bench",
        "repetitions": "starts for each step, 8",
        "offloads": "as for run-bench",
        "jobs": "as for run-bench",
        "out": "a new folder for the runs, instead of one in runs/",
        "evidence": EVIDENCE_HELP,
    },
)
@explained
def bisect(
    _context: Context,
    good: str,
    bad: str,
    metric: str,
    mode: list[str],
    workload: list[str],
    direction: list[str],
    message_bytes: list[str],
    series: str = "",
    source: str = "",
    repetitions: int = 0,
    offloads: str = "on",
    jobs: int = 0,
    out: str = "",
    evidence: bool = False,
) -> None:
    """Find the patch that moved a figure, in virtual time."""
    from zclab.experiment import bisection  # noqa: PLC0415 - scipy takes a second to import

    options = experiment.Options(
        modes=mode or ["vhost"],
        workloads=workload or ["TCP_RR"],
        directions=direction,
        message_bytes=message_bytes,
        repetitions=repetitions,
        offloads=offloads,
    )
    bisection.bisect(
        experiment.planned(builds.load("emulated", clock="virtual"), options),
        experiment.virtual_options(jobs=jobs, profile=True, copy_bytes=8),
        bisection.steps_of(series=series, source=source, good=good, bad=bad),
        metric=metric,
        out_dir=out,
        evidence=evidence,
    )
