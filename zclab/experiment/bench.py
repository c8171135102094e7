"""What run-bench does: from options or a suite to a plan, and from the plan to results."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from zclab.build.code import code_hash
from zclab.build.progress import shown
from zclab.documents.suites import expand, listed, load_suite
from zclab.errors import ConfigError, TrialError
from zclab.experiment.builds import build_lab
from zclab.experiment.run import lab_for, made_with, run, run_virtual
from zclab.judge.cells import key_of
from zclab.lab.artifacts import Artifacts
from zclab.model import COPY_BYTES, Lab, ModeName, Switch
from zclab.modes import MODES
from zclab.options import check_range, user_path
from zclab.progress import Progress
from zclab.report.output import out
from zclab.runs.plan import AMOUNTS, STARTS, Part, plan, select_modes, select_workloads
from zclab.runs.results import BAD, Provenance, Results
from zclab.runs.resume import (
    PLAN_FILE,
    KernelOptions,
    Plan,
    Recorded,
    in_order,
    left,
    load_recorded,
)
from zclab.runs.store import RUNS, RunDirectory, load
from zclab.virtualtime.lab import VirtualOptions

if TYPE_CHECKING:
    from zclab.report.growing import GrowingTable

_OPTIONS = {
    "modes": "--mode",
    "workloads": "--workload",
    "directions": "--direction",
    "message_bytes": "--message-bytes",
    "mtu": "--mtu",
    "offloads": "--offloads",
    "streams": "--streams",
    "warm_up_s": "--warm-up",
}
FIRST = "first"
"""The suite that run-bench runs in virtual time unless it is told what."""

NEW_SEED = -1
"""What ``--seed`` is where it is not given: a new one is drawn."""

_MOST_JOBS = 1024
_LARGEST_SEED = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says of an experiment; of numbers, 0 is what the lab's clock needs.

    ``baseline`` is a mode that is measured beside ``modes``, or ``none``.
    """

    baseline: str = "none"
    modes: Sequence[str] = ()
    workloads: Sequence[str] = ()
    directions: Sequence[str] = ()
    message_bytes: Sequence[str] = ()
    repetitions: int = 0
    duration_s: float = 0.0
    mtu: int = 1500
    offloads: str = ""
    streams: int = 1
    warm_up_s: int = 0


def planned(lab: Lab, options: Options) -> Plan:
    """Return the plan that the options of a command line describe.

    In virtual time, options that say nothing of cells mean those of the suite FIRST.
    """
    _check_numbers(options)
    baseline = _baseline(options.baseline)
    beside = (baseline,) if baseline else ()
    modes = select_modes((*beside, *options.modes) if options.modes else MODES)
    virtual = lab.clock == "virtual"
    if virtual and _only(options, "baseline", "modes", "repetitions"):
        suite = load_suite(FIRST)
        changes = {"modes": modes, "repetitions": options.repetitions or suite.repetitions}
        parts = expand(suite.model_copy(update=changes), lab, seed=0)
        return Plan(lab=lab, parts=parts, baseline=baseline or "vhost")
    offloads = _switch(options.offloads or "on")
    boots = plan(
        lab,
        modes=modes,
        workloads=select_workloads(
            names=options.workloads,
            directions=options.directions,
            message_bytes=[_number("--message-bytes", text) for text in options.message_bytes],
            duration_s=options.duration_s or (1.0 if virtual else 2.0),
            amounts=AMOUNTS if virtual and not options.duration_s else None,
            streams=(options.streams,),
            warm_up_s=options.warm_up_s,
        ),
        repetitions=options.repetitions or (STARTS if virtual else 3),
        mtu=options.mtu,
        offloads=offloads,
    )
    part = Part(lab=lab, mtu=options.mtu, offloads=offloads, boots=tuple(boots))
    return Plan(lab=lab, parts=(part,), baseline=baseline or "vhost")


def planned_suite(lab: Lab, name: str, options: Options, *, seed: int) -> Plan:
    """Return the plan of a suite, with an order drawn from ``seed``; NEW_SEED is a new one.

    Of the options, --repetitions and --duration win over the suite's.
    """
    _check_numbers(options)
    if seed != NEW_SEED:
        check_range("--seed", seed, 0, _LARGEST_SEED)
    if others := _given(options) - {"baseline", "repetitions", "duration_s"}:
        first = next(field.name for field in fields(Options) if field.name in others)
        raise ConfigError(
            f"{_OPTIONS[first]}: suite {name} sets that; leave the option out, or make your own "
            "suite"
        )
    suite = load_suite(name)
    changes = {
        key: value
        for key, value in (
            ("repetitions", options.repetitions),
            ("duration_s", options.duration_s),
        )
        if value
    }
    seed = secrets.randbelow(1 << 31) if seed == NEW_SEED else seed
    parts = expand(suite.model_copy(update=changes), lab, seed=seed)
    baseline = _baseline(options.baseline) or "vhost"
    return Plan(lab=lab, parts=parts, baseline=baseline, suite=name, seed=seed)


def _given(options: Options) -> set[str]:
    """Return the names of the options that are not as they are when nobody gives them."""
    return {
        field.name
        for field in fields(Options)
        if list(_words(getattr(options, field.name))) != list(_words(field.default))
    }


def _only(options: Options, *names: str) -> bool:
    return _given(options) <= set(names)


def _baseline(text: str) -> ModeName | None:
    """Return the mode that ``--baseline`` names; None for ``none``."""
    if text == "none":
        return None
    for mode in MODES:
        if text == mode:
            return mode
    raise ConfigError(f"--baseline: found {text!r}, allowed: {', '.join(MODES)}, none")


def virtual_options(
    *, jobs: int, profile: bool, copy_bytes: int, executor: str = "", fresh: bool = False
) -> VirtualOptions:
    """Return the options that only virtual time has; 0 jobs are one for each core.

    With ``fresh`` known results are measured again.
    """
    check_range("--jobs", jobs, 1, _MOST_JOBS, default="one for each core")
    for known in COPY_BYTES:
        if copy_bytes == known:
            return VirtualOptions(
                jobs=jobs or os.cpu_count() or 1,
                recheck=None if fresh else 0,
                profile=profile,
                copy_bytes=known,
                executor=executor,
            )
    choices = ", ".join(map(str, COPY_BYTES))
    raise ConfigError(f"--copy-bytes: found {copy_bytes}, allowed: {choices}")


def show(experiment: Plan, virtual: VirtualOptions) -> None:
    """Print every trial in its order, and how long it all takes."""
    for line in listed(experiment.parts):
        out.print(line, highlight=False)
    drawn = f", seed {experiment.seed}" if experiment.seed is not None else ""
    out.print(f"{experiment.summary(virtual.jobs)}{drawn}")


def bench(
    experiment: Plan,
    build: Callable[[], Artifacts],
    virtual: VirtualOptions,
    *,
    keep: bool,
    out_dir: str,
    kernel: KernelOptions | None = None,
    force: bool = False,
    table: bool = True,
) -> Path:
    """Run, print the table, and end with a TrialError where a trial has no valid figures.

    ``build`` is called once all options are known to make sense. ``kernel`` is what resume() has
    to build, and None for a run that cannot be gone on with. ``force`` takes NICs that carry
    something. Without ``table`` it is printed only where a trial failed. Return the run's folder,
    which is gone again where ``build`` raises a ConfigError.
    """
    store = begin(experiment, virtual, kernel=kernel, out_dir=out_dir)

    def built() -> Artifacts:
        try:
            return build()
        except ConfigError:
            store.discard()
            raise

    run_all(experiment, experiment, built, store, virtual, keep=keep, force=force, table=table)
    _fail_where_bad(store.results, experiment.trials)
    return store.path


def begin(
    experiment: Plan,
    virtual: VirtualOptions,
    *,
    kernel: KernelOptions | None,
    out_dir: str = "",
    runs: Path = RUNS,
) -> RunDirectory:
    """Make the folder of a run, ``out_dir`` or a new one in ``runs``, with its plan in it."""
    _check_executor(experiment, virtual)
    if kernel and kernel.bundle and not experiment.lab.emulator:
        raise ConfigError(f"--bundle: lab {experiment.lab.name} is not emulated; it has a host")
    out.print(experiment.summary(virtual.jobs))
    store = RunDirectory.create(
        lab=experiment.lab.name,
        clock=experiment.lab.clock,
        modes=experiment.modes,
        command=_command(),
        suite=experiment.suite,
        seed=experiment.seed,
        out=user_path(out_dir, "--out") if out_dir else None,
        runs=runs,
    )
    if kernel:
        Recorded(
            plan=experiment,
            kernel=kernel,
            copy_bytes=virtual.copy_bytes,
            profile=virtual.profile,
            code=code_hash(),
        ).write(store.path)
    return store


def resume(
    run: str,
    *,
    jobs: int,
    executor: str,
    keep: bool,
    dry_run: bool,
    fresh: bool = False,
    force: bool = False,
) -> None:
    """Go on with a run that has stopped, with what it recorded, in the order that it recorded."""
    path = user_path(run, "--resume")
    recorded = load_recorded(path)
    virtual = virtual_options(
        jobs=jobs,
        profile=recorded.profile,
        copy_bytes=recorded.copy_bytes,
        executor=executor,
        fresh=fresh,
    )
    whole, results = recorded.plan, load(path)
    _check_executor(whole, virtual)
    rest = left(whole, [trial for trial in results.trials if trial.status != "failed"])
    out.print(f"{path}: {rest.trials} of {whole.trials} trials are left")
    if dry_run:
        show(rest, virtual)
        return
    if not rest.parts:
        _print(results, path, _growing_table(whole))
        _fail_where_bad(results, whole.trials)
        return
    store = RunDirectory.reopen(path, command=_command())
    out.print(rest.summary(virtual.jobs))
    kernel = recorded.kernel
    build = partial(
        build_lab,
        whole.lab,
        source=kernel.source,
        series=kernel.series,
        debug=kernel.debug,
        bundle=kernel.bundle,
    )
    run_all(rest, whole, build, store, virtual, keep=keep, force=force)
    _fail_where_bad(store.results, whole.trials)


def run_all(
    todo: Plan,
    whole: Plan,
    build: Callable[[], Artifacts],
    store: RunDirectory,
    virtual: VirtualOptions,
    *,
    keep: bool = False,
    force: bool = False,
    table: bool = True,
) -> None:
    """Run what is to be done of a plan, and print all that there is of the whole as it comes.

    Without ``table`` that is printed at the end, and only where a trial has no figures.
    """
    growing = _growing_table(whole)
    if table:
        store.on_trial = growing.trial_ended
    try:
        if todo.parts:
            artifacts = build()
            store.set_provenance(made_with(Provenance(), artifacts, todo.lab))
            with shown("run-bench", out if out.is_terminal else None) as progress:
                if todo.lab.clock == "virtual":
                    for part in todo.parts:
                        run_virtual(part, artifacts, store, options=virtual, progress=progress)
                else:
                    _run_in_labs(todo, artifacts, store, keep=keep, force=force, progress=progress)
    finally:
        if store.path.exists():
            _finish(store, whole, growing if table or _bad(store.results) else None)


def _finish(store: RunDirectory, whole: Plan, table: GrowingTable | None) -> None:
    """Put what there is in order, print it, and say how to go on where something is missing."""
    store.arrange(in_order(whole, store.results.trials))
    _print(store.results, store.path, table)
    missing = whole.trials - len(store.results.trials)
    if missing and (store.path / PLAN_FILE).exists():
        out.print(
            f"{missing} of {whole.trials} trials have not run; "
            f"`invoke run-bench --resume={store.path}` runs them"
        )


def _run_in_labs(
    todo: Plan,
    artifacts: Artifacts,
    store: RunDirectory,
    *,
    keep: bool,
    force: bool,
    progress: Progress,
) -> None:
    """Run parts one after the other; those that stand together and have one lab share it."""
    for lab, parts in groupby(todo.parts, key=lambda part: part.lab):
        with lab_for(lab, artifacts, store, keep=keep, progress=progress):
            for part in parts:
                run(part, artifacts, store, force=force, progress=progress)


def _command() -> str:
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _check_executor(experiment: Plan, virtual: VirtualOptions) -> None:
    if virtual.executor and experiment.lab.clock != "virtual":
        raise ConfigError(
            "--executor: only trials in virtual time can run elsewhere; say --clock=virtual"
        )


def _growing_table(whole: Plan) -> GrowingTable:
    from zclab.report.growing import GrowingTable  # noqa: PLC0415 - scipy takes a second to import

    dimensions = [
        planned.dimensions for part in whole.parts for boot in part.boots for planned in boot.trials
    ]
    return GrowingTable(Counter(map(key_of, dimensions)), out.print, baseline=whole.baseline)


def _print(results: Results, folder: Path, table: GrowingTable | None) -> None:
    if results.trials and table:
        table.finish(results)
    out.print(f"results, raw output and console logs: {folder}")
    if results.trials and table:
        out.print(f"every counter and hash: `invoke report {folder} --evidence`", markup=False)


def _fail_where_bad(results: Results, trials: int) -> None:
    if bad := _bad(results):
        raise TrialError(f"{bad} of {trials} trials have no valid figures; see the table")


def _bad(results: Results) -> int:
    return sum(trial.status in BAD for trial in results.trials)


def _check_numbers(options: Options) -> None:
    """Raise ConfigError for a number that makes no sense; the limits are those of suite files."""
    usual = "what the lab's clock needs"
    check_range("--repetitions", options.repetitions, 1, 1000, default=usual)
    if options.duration_s:
        check_range("--duration", options.duration_s, 0.001, 3600)
    check_range("--streams", options.streams, 1, 64)
    check_range("--warm-up", options.warm_up_s, 0, 600)
    check_range("--mtu", options.mtu, 576, 16110)
    for text in options.message_bytes:
        check_range("--message-bytes", _number("--message-bytes", text), 1, 1 << 20)


def _words(value: object) -> Iterator[str]:
    """Yield what an option was given, each time it was given."""
    yield from (str(one) for one in (value if isinstance(value, list | tuple) else (value,)))


def _switch(text: str) -> Switch:
    if text == "on":
        return "on"
    if text == "off":
        return "off"
    raise ConfigError(f"--offloads: found {text!r}, allowed: on, off")


def _number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as exc:
        raise ConfigError(f"{option}: found {text!r}, allowed: a whole number of bytes") from exc
