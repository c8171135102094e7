"""What run-bench does: from options or a suite to a plan, and from the plan to results."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from zclab.bench.plan import (
    AMOUNTS,
    STARTS,
    estimate_s,
    plan,
    select_modes,
    select_workloads,
    virtual_estimate_s,
)
from zclab.bench.run import run, run_virtual
from zclab.bench.virtual_lab import COPY_BYTES, VirtualOptions
from zclab.build.progress import shown
from zclab.commands import out
from zclab.errors import ConfigError, TrialError
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, ModeName, Switch
from zclab.modes import MODES
from zclab.results import Results
from zclab.store import RunDirectory
from zclab.suite import Part, expand, listed, load_suite
from zclab.units import format_duration

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


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says of an experiment; of numbers, 0 is what the lab's clock needs."""

    modes: Sequence[str] = ()
    workloads: Sequence[str] = ()
    directions: Sequence[str] = ()
    message_bytes: Sequence[str] = ()
    repetitions: int = 0
    duration_s: float = 0.0
    mtu: int = 1500
    offloads: str = "on"
    streams: int = 1
    warm_up_s: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All parts of an experiment; ``seed`` drew the order of a ``suite``'s."""

    lab: Lab
    parts: tuple[Part, ...]
    suite: str | None = None
    seed: int | None = None

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return sum(part.trials for part in self.parts)

    @property
    def modes(self) -> tuple[ModeName, ...]:
        """The modes of all parts."""
        return tuple(dict.fromkeys(boot.mode for part in self.parts for boot in part.boots))

    def summary(self, jobs: int) -> str:
        """Say how much it is, and how long it takes, about."""
        virtual = self.lab.clock == "virtual"
        boots = [boot for part in self.parts for boot in part.boots]
        seconds = virtual_estimate_s(boots, jobs) if virtual else estimate_s(boots)
        what = "starts" if virtual else "guest boots"
        return (
            f"lab {self.lab.name}: {len(boots)} {what}, {self.trials} trials, "
            f"about {format_duration(seconds)}"
        )


def planned(lab: Lab, options: Options) -> Plan:
    """Return the plan that the options of a command line describe."""
    virtual = lab.clock == "virtual"
    offloads = _switch(options.offloads)
    boots = plan(
        lab,
        modes=select_modes(options.modes or MODES),
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
    return Plan(lab=lab, parts=(part,))


def planned_suite(lab: Lab, name: str, options: Options, *, seed: int) -> Plan:
    """Return the plan of a suite, with an order drawn from ``seed``, or from a new one for -1.

    Of the options, --repetitions and --duration win over the suite's.
    """
    fixed = replace(options, repetitions=0, duration_s=0.0)
    for field in fields(Options):
        if list(_words(getattr(fixed, field.name))) != list(_words(field.default)):
            raise ConfigError(
                f"{_OPTIONS[field.name]}: suite {name} says that; leave the option out, or make a "
                "suite of your own"
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
    seed = secrets.randbelow(1 << 31) if seed < 0 else seed
    parts = expand(suite.model_copy(update=changes), lab, seed=seed)
    return Plan(lab=lab, parts=parts, suite=name, seed=seed)


def virtual_options(*, jobs: int, profile: bool, copy_bytes: int) -> VirtualOptions:
    """Return the options that only virtual time has; 0 jobs are one for each core."""
    for known in COPY_BYTES:
        if copy_bytes == known:
            return VirtualOptions(
                jobs=jobs or os.cpu_count() or 1, profile=profile, copy_bytes=known
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
) -> None:
    """Run, print the table, and end with a TrialError where a trial has no valid figures.

    ``build`` is called once all options are known to make sense.
    """
    lab = experiment.lab
    out.print(experiment.summary(virtual.jobs))
    store = RunDirectory.create(
        lab=lab.name,
        clock=lab.clock,
        modes=experiment.modes,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        suite=experiment.suite,
        seed=experiment.seed,
        out=Path(out_dir) if out_dir else None,
    )
    artifacts = build()
    go = (
        partial(run_virtual, options=virtual) if lab.clock == "virtual" else partial(run, keep=keep)
    )
    try:
        with shown("run-bench") as progress:
            for part in experiment.parts:
                go(
                    part.lab,
                    artifacts,
                    part.boots,
                    store,
                    mtu=part.mtu,
                    offloads=part.offloads,
                    progress=progress,
                )
    finally:
        _print(store)
    _fail_where_bad(store.results, experiment.trials)


def _print(store: RunDirectory) -> None:
    if store.results.trials:
        from zclab.report import terminal  # noqa: PLC0415 - scipy takes a second to import

        out.print(terminal.render(store.results))
    out.print(f"results, raw output and console logs: {store.path}")


def _fail_where_bad(results: Results, trials: int) -> None:
    bad = sum(trial.status != "ok" for trial in results.trials)
    if bad:
        raise TrialError(f"{bad} of {trials} trials have no valid figures; see the table")


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
