"""The tasks of ``invoke --list``: load, call, print. Everything else is in zclab/."""

from __future__ import annotations

import os
import sys

from invoke.context import Context

from zclab import commands, experiment
from zclab.cli import task
from zclab.commands import explained
from zclab.errors import ConfigError
from zclab.paths import user_path
from zclab.recorded import KernelOptions


@task(
    help={
        "source": "a kernel tree of yours instead of Debian's linux-source (never modified)",
        "series": "a quilt-style series, mailbox, patch, or none; kernel-patches/6.12 by default",
        "debug": "the debug variant: KASAN, lockdep, DMA-API debugging",
        "update": "ask the mirror for the newest source first",
    }
)
@explained
def build_kernel(
    _context: Context, source: str = "", series: str = "", debug: bool = False, update: bool = False
) -> None:
    """Build the host kernel, which the guests boot too."""
    commands.kernel(source=source, series=series, debug=debug, update=update)


@task(
    help={
        "series": "a quilt-style series, mailbox, patch, or none; emulator-patches by default",
        "update": "ask the mirror for the newest source first",
    }
)
@explained
def build_emulator(_context: Context, series: str = "", update: bool = False) -> None:
    """Build QEMU for the emulated host."""
    commands.emulator(series=series, update=update)


@task(help={"update": "ask the mirror for the newest packages first"})
@explained
def build_images(_context: Context, update: bool = False) -> None:
    """Build the host image and the guest image."""
    commands.images(update=update)


LAB_HELP = {
    "lab": "a file of labs/ without its ending, or a path",
    "name": "another name for it, to have two of one kind side by side",
}


@task(
    help={
        **LAB_HELP,
        "nic": "e1000e or igb, instead of what the lab file says",
        "source": "as for build-kernel",
        "series": "as for build-kernel",
        "debug": "as for build-kernel",
    }
)
@explained
def lab_up(
    _context: Context,
    lab: str = "emulated",
    name: str = "",
    nic: str = "",
    source: str = "",
    series: str = "",
    debug: bool = False,
) -> None:
    """Bring a lab up until SSH answers and libvirt connects."""
    loaded = commands.load(lab, name=name, nic=nic)
    artifacts = commands.build_lab(loaded, source=source, series=series, debug=debug)
    commands.lab_up(loaded, artifacts)


@task(help=LAB_HELP)
@explained
def lab_down(_context: Context, lab: str = "emulated", name: str = "") -> None:
    """End a lab and clear away all it left."""
    commands.lab_down(commands.load(lab, name=name))


@task
@explained
def lab_status(_context: Context) -> None:
    """Say which labs are up."""
    commands.lab_status()


@task(help={**LAB_HELP, "guest": "the guest instead of the host", "command": "run it, then leave"})
@explained
def lab_ssh(
    _context: Context,
    lab: str = "emulated",
    name: str = "",
    guest: bool = False,
    command: str = "",
) -> None:
    """Log in to a lab's host, or its guest."""
    commands.lab_ssh(commands.load(lab, name=name), command, guest=guest)


@task(help=LAB_HELP)
@explained
def lab_console(_context: Context, lab: str = "emulated", name: str = "") -> None:
    """Show the console of a lab's host, and follow it."""
    commands.lab_console(commands.load(lab, name=name))


@task(
    iterable=["mode", "workload", "direction", "message_bytes"],
    help={
        "mode": "passthrough, vhost or zerocopy; repeatable, all by default",
        "baseline": "the mode that is measured beside these, for all to stand against; or none",
        "workload": "TCP_STREAM, TCP_RR, UDP_STREAM or UDP_RR; repeatable, else suites/first.yaml",
        "direction": "rx (peer to guest) or tx; repeatable, both by default",
        "message-bytes": "size of a message; repeatable",
        "repetitions": "guest boots for each mode, 3; in virtual time starts, 8",
        "duration": "seconds for each trial, 2; in virtual time a fixed amount of data",
        "streams": "how many of each workload run side by side, 1",
        "warm-up": "seconds that each workload runs before it is measured, 0",
        "clock": "wall, or virtual: exact, an instruction is a nanosecond; default: the lab's",
        "copy-bytes": "in virtual time, 8 or 1: what an instruction that copies moves",
        "profile": "in virtual time, keep the self-cost of every kernel symbol",
        "jobs": "trials side by side in virtual time, one for each core by default",
        "executor": "in virtual time, a dask.distributed scheduler's address: run on its workers",
        "fresh": "in virtual time, measure known results again; fail where one differs",
        "offloads": "on (default) or off: TSO, GSO and GRO of guest, host and peer",
        "mtu": "of guest, host and peer, in bytes",
        "suite": "a file of suites/ without its ending, or a path, instead of the options above",
        "seed": "what draws the order of a suite's trials; by default a new one, which is recorded",
        "dry-run": "list the trials and how long they take, and run none",
        "resume": "the folder of a run that has stopped: go on with it as it was begun",
        "keep": "leave the lab up",
        "force": "in an ssh lab, take NICs that carry something, and give none of that back",
        "out": "a new folder for the results, instead of runs/<id>",
        **LAB_HELP,
        "nic": "e1000e or igb, instead of what the lab file says",
        "source": "as for build-kernel",
        "series": "as for build-kernel",
        "debug": "as for build-kernel",
        "bundle": "a file of `invoke bundle`: with its artifacts, and all that it knows",
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
    """Compare the modes: boot, drive netperf, print a table."""
    if resume:
        beside = ("jobs", "executor", "fresh", "keep", "force", "dry_run")
        commands.reject_beside("resume", run_bench.body, locals(), allow=beside)
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
    loaded = commands.load(lab, name=name, nic=nic, clock=clock)
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
        lambda: commands.build_lab(
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
        "trials": "with --bundle, how many of them, 4; drawn by lot",
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
    """Say whether figures here are exact, or as in a bundle."""
    from zclab import exchange  # noqa: PLC0415 - as below
    from zclab import verify as exactness  # noqa: PLC0415 - as below

    if bundle:
        commands.reject_beside("bundle", verify.body, locals(), allow=("trials",))
        exchange.verify(bundle, trials=trials)
        return
    if trials:
        raise ConfigError("--trials: of which bundle? say --bundle, too")
    loaded = commands.load("emulated", nic=nic, clock="virtual")
    options = experiment.Options(
        modes=mode or ["vhost"],
        workloads=workload or ["TCP_RR"],
        directions=direction,
        repetitions=1,
    )
    exactness.verify(
        experiment.planned(loaded, options),
        lambda: commands.build_lab(loaded, source="", series="", debug=False),
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
    """Put a run's artifacts and known results into a file."""
    from zclab import exchange  # noqa: PLC0415 - as below

    exchange.bundle(run, file, only=only)


@task(help={"file": "a file of `invoke bundle`; its programs run here, so know who made it"})
@explained
def unbundle(_context: Context, file: str) -> None:
    """Take what a bundle has into the cache."""
    from zclab import exchange  # noqa: PLC0415 - as below

    exchange.unbundle(file)


@task(
    iterable=["allow"],
    help={
        "folder": "where all nights are, each in a folder of its own: what trend reads",
        "suite": "a file of suites/ without its ending, or a path",
        "baseline": "the file of the baseline, instead of baseline.json in the folder",
        "update-baseline": "make this night the baseline, whatever came of comparing it",
        "gates": "a file of gates/ without its ending, or a path; by default the clock's",
        "allow": "something in which the baseline may differ, such as experiment; repeatable",
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
    from zclab import nightly as night  # noqa: PLC0415 - scipy takes a second to import

    loaded = night.lab_of(lab, clock=clock)
    night.nightly(
        experiment.planned_suite(loaded, suite, experiment.Options(), seed=experiment.NEW_SEED),
        KernelOptions.of(source=source, series=series, debug=False),
        lambda: commands.build_lab(loaded, source=source, series=series),
        experiment.virtual_options(jobs=jobs, profile=False, copy_bytes=8, executor=executor),
        night.Options(
            folder=user_path(folder, "--folder"),
            baseline=user_path(baseline, "--baseline") if baseline else None,
            update_baseline=update_baseline,
            gates=gates,
            allow=allow,
        ),
    )


EVIDENCE_HELP = "also print both runs, with every counter that shows which mode was in effect"
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
        "gates": "a file of gates/ without its ending, or a path",
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
    from zclab import ab as two_kernels  # noqa: PLC0415 - scipy takes a second to import

    loaded = commands.load("emulated", nic=nic, clock="virtual")
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
        "metric": "what moved, as results.json calls it, such as insns_per_kb_dut",
        "series": "a series' folder, kernel-patches/6.12 by default",
        "source": "a kernel's git tree, to bisect its commits",
        "mode": "one mode, vhost by default",
        "workload": "one workload, TCP_RR by default",
        "direction": "of a stream",
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
    from zclab import bisection  # noqa: PLC0415 - scipy takes a second to import

    options = experiment.Options(
        modes=mode or ["vhost"],
        workloads=workload or ["TCP_RR"],
        directions=direction,
        message_bytes=message_bytes,
        repetitions=repetitions,
        offloads=offloads,
    )
    bisection.bisect(
        experiment.planned(commands.load("emulated", clock="virtual"), options),
        experiment.virtual_options(jobs=jobs, profile=True, copy_bytes=8),
        bisection.steps_of(series=series, source=source, good=good, bad=bad),
        metric=metric,
        out_dir=out,
        evidence=evidence,
    )


@task(
    help={
        "base": "a run made with --clock=virtual --profile",
        "head": "another one",
        "top": "how many symbols to show for each mode and workload",
        "html": "also draw all of it: one page with a flame graph by component and symbol",
    }
)
@explained
def profile_diff(_context: Context, base: str, head: str, top: int = 25, html: str = "") -> None:
    """Show which components and symbols cost more or less in another run."""
    from zclab import offline  # noqa: PLC0415 - as above

    offline.profile_diff(base, head, shown=top, html=html)


@task(
    help={
        "run": "a run's folder, or its results.json",
        "baseline-mode": "the mode that the others are compared with",
        "gates": "a file of gates/ without its ending, or a path; by default the clock's",
        "evidence": "every counter that shows which mode was in effect, and all it was made with",
        "html": "where the page goes, instead of the run's folder",
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
    from zclab import offline  # noqa: PLC0415 - scipy and matplotlib take seconds to import

    offline.report(
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
        "baseline-mode": "without --baseline: the mode that the others are compared with",
        "gates": "a file of gates/ without its ending, or a path; by default the clock's",
        "allow": "something in which the runs may differ, such as cpu_model or mtu; repeatable",
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
    """Judge a run against others, or its modes."""
    from zclab import offline  # noqa: PLC0415 - as above

    offline.compare(
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
        "gates": "a file of gates/ without its ending, or a path; by default the clock's",
        "html": "where the page goes, instead of the folder",
    }
)
@explained
def trend(_context: Context, folder: str, gates: str = "", html: str = "") -> None:
    """Say which figures moved in a row of runs."""
    from zclab import offline  # noqa: PLC0415 - as above

    offline.trend(folder, gates=gates, html=html)


@task(help={"unit": "only the tests that take seconds", "nightly": "also those that take long"})
def test(_context: Context, unit: bool = False, nightly: bool = False) -> None:
    """Run the tests; those of the lab boot it."""
    argv = [sys.executable, "-m", "pytest", *(["tests/unit"] if unit else [])]
    argv += [] if nightly else ["-m", "not nightly"]
    # Labs side by side take each other's CPU, and guests are late then: only unit tests share it.
    argv += ["--numprocesses=auto", "--dist=loadfile"] if unit else []
    os.execv(argv[0], argv)  # noqa: S606 - pytest's own signals, output and exit status


@task
@explained
def check(_context: Context) -> None:
    """Check style, types, layers and the patches."""
    commands.check()


@task(help={"lab": "an ssh lab, whose hosts are to be looked at too"})
@explained
def doctor(_context: Context, lab: str = "") -> None:
    """Say whether this machine can do the job."""
    commands.doctor(commands.load(lab) if lab else None)


@task(
    help={
        "kind": "a name of the list, work for all work trees, or all; without it, show the list",
        "older-than": "days: only what nobody wanted for that long",
    }
)
@explained
def clean(_context: Context, kind: str = "", older_than: int = 0) -> None:
    """Show what the cache holds, and remove it."""
    commands.clean(kind, older_than=older_than)
