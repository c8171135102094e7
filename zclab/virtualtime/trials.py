"""Runs in virtual time: trials that all start afresh, side by side.

A trial starts from the saved state of a host with a guest in a mode, does its one workload, and is
gone: what else a run has in its plan, and in which order or on which core it runs, changes no
figure.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from zclab.bench.execute import BUGS, bug_reason
from zclab.bench.notices import with_notices
from zclab.build.cache import Artifact
from zclab.errors import KernelReportError, LabError, ParseError, ZclabError
from zclab.host.cpu import Roles
from zclab.model import ModeName
from zclab.outside import Said, from_plain, quoted
from zclab.progress import Progress
from zclab.runs.plan import Planned
from zclab.runs.profiles import accounts_name, profile_name
from zclab.runs.results import METRICS, Provenance, Sample, Trial
from zclab.virtualtime.figures import counted, with_exact
from zclab.virtualtime.known_results import (
    Known,
    RawName,
    differences,
    find,
    forget_oldest,
    keep,
    measured_now,
)
from zclab.virtualtime.lab import ACCOUNTS, VirtualLab
from zclab.virtualtime.profile import Symbols
from zclab.virtualtime.qemu import STATE
from zclab.virtualtime.saved_states import (
    MESSAGE,
    error_of,
    guest_state,
    host_state,
    identity,
    order_of,
    parts,
    resumed,
    said,
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one trial."""

    trial: Trial
    samples: tuple[Sample, ...]
    raw: tuple[tuple[str, str], ...]


class _Raw(Said):
    """A raw output."""

    name: RawName
    text: str


class _Ended(Said):
    """A trial that has ended, and what the host itself measured."""

    trial: Trial
    samples: list[Sample]


_RAW, _ENDED, _ROLES = TypeAdapter(_Raw), TypeAdapter(_Ended), TypeAdapter(Roles)
_PROVENANCE = TypeAdapter(Provenance)

Execute = Callable[[VirtualLab, Mapping[ModeName, Artifact], Sequence[Planned]], Iterator[Outcome]]
"""What runs trials from the states of their modes, and yields what came of each as it ends."""


def run_trial(
    virtual: VirtualLab, state: Path, planned: Planned, trace: Path | None = None
) -> Outcome:
    """Run one trial from a guest's state.

    One that the host cannot bring to an end is a failed one; KernelReportError goes through.
    """
    order = order_of(virtual, planned)
    raw: list[tuple[str, str]] = []
    try:
        with resumed(virtual, state / STATE, order, counting=True, trace=trace) as started:
            for message in started.messages():
                match message["kind"]:
                    case "trial":
                        outcome = _outcome(virtual, state, planned, message, started.folder)
                        trial, valid = with_notices(outcome.trial, outcome.samples, started.heard())
                        return Outcome(trial=trial, samples=valid, raw=(*raw, *outcome.raw))
                    case "raw":
                        kept = from_plain(_RAW, message, MESSAGE)
                        raw.append((kept.name, kept.text))
                    case "failed":
                        raise error_of(message)
        raise LabError("the host ended without a result")
    except KernelReportError:
        raise
    except ZclabError as exc:
        reason = str(exc)
    except BUGS as exc:
        name = f"bugs/{planned.dimensions.stem}.txt"
        raw.append((name, "".join(traceback.format_exception(exc))))
        reason = bug_reason(exc, name)
    trial = Trial(**dict(planned.dimensions), status="failed", reason=reason)
    return Outcome(trial=trial, samples=(), raw=tuple(raw))


def run_trials(
    virtual: VirtualLab,
    trials: Sequence[Planned],
    progress: Progress,
    *,
    jobs: int,
    on_provenance: Callable[[Provenance], None],
    execute: Execute | None = None,
    run: str = "",
    recheck: int | None = 0,
) -> Iterator[Outcome]:
    """Yield what comes of each trial: at once what is known, then what has to be measured.

    Of the known ones ``recheck`` are measured again, drawn by lot, or with None all of them; raises
    LabError where one is not as it was. What is measured is known from then on, as from ``run``.
    """
    machine = identity(virtual)
    known = {one: there for one in trials if (there := find(virtual, machine, one))}
    again = random.SystemRandom().sample(
        list(known), len(known) if recheck is None else min(recheck, len(known))
    )
    for planned, there in known.items():
        if planned not in again:
            on_provenance(there.host)
            trial = there.trial.model_copy(update={"known_from": there.measured})
            yield Outcome(trial=trial, samples=there.samples, raw=there.raw)
    todo = {one.dimensions.identity: one for one in trials if one in again or one not in known}
    if not todo:
        return
    hosts: list[Provenance] = []

    def on_host(seen: Provenance) -> None:
        hosts.append(seen)
        on_provenance(seen)

    for outcome in measured(
        virtual, list(todo.values()), progress, jobs=jobs, on_host=on_host, execute=execute
    ):
        trial, samples = outcome.trial, outcome.samples
        planned = todo[trial.identity]
        if planned in known:
            _check_equal(known[planned], trial, samples)
        now = Known(
            measured=measured_now(run), host=hosts[0], trial=trial, samples=samples, raw=outcome.raw
        )
        keep(virtual, machine, planned, now)
        yield outcome
    forget_oldest()


def _check_equal(before: Known, trial: Trial, samples: tuple[Sample, ...]) -> None:
    """Raise LabError where a trial that was measured again is not what it was."""
    if trial.status != "failed" and (lines := differences(before, trial, samples)):
        what = f"{trial.mode}, {trial.workload}, start {trial.boot}"
        raise LabError(
            f"virtual time was not exact: {what} differs from run {before.measured.run} of "
            f"{before.measured.date}, in which the machine was the same:\n  "
            + "\n  ".join(lines)
            + "\n`invoke verify` shows the first difference between two runs"
        )


def measured(
    virtual: VirtualLab,
    trials: Sequence[Planned],
    progress: Progress,
    *,
    jobs: int,
    on_host: Callable[[Provenance], None] = lambda _: None,
    execute: Execute | None = None,
) -> Iterator[Outcome]:
    """Make the states that trials start from, run the trials, and yield what came of each.

    They run here, ``jobs`` of them side by side, unless ``execute`` runs them elsewhere.
    """
    host = host_state(virtual, progress)
    on_host(_provenance(virtual, host))
    modes = tuple(dict.fromkeys(planned.dimensions.mode for planned in trials))
    with _pool(virtual, jobs) as pool:
        made = pool.map(lambda mode: guest_state(virtual, host, mode, progress), modes)
        states = dict(zip(modes, made, strict=True))
    progress(0, len(trials), "on the executor's workers" if execute else f"{jobs} side by side")
    ended = (execute or partial(_side_by_side, jobs=jobs))(virtual, states, trials)
    for done, outcome in enumerate(ended, start=1):
        trial = outcome.trial
        words = (f"{trial.mode}:", trial.workload, trial.direction, f"start {trial.boot}")
        progress(done, len(trials), " ".join(word for word in words if word))
        yield outcome


def _side_by_side(
    virtual: VirtualLab,
    states: Mapping[ModeName, Artifact],
    trials: Sequence[Planned],
    *,
    jobs: int,
) -> Iterator[Outcome]:
    """Run trials here, and yield what came of them in their order."""
    with _pool(virtual, jobs) as pool:
        yield from pool.map(
            lambda planned: run_trial(virtual, states[planned.dimensions.mode].path, planned),
            trials,
        )


@contextmanager
def _pool(virtual: VirtualLab, jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Have threads to wait for machines; what goes wrong in one, or an interrupt, ends all."""
    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield pool
        except BaseException:
            virtual.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _outcome(
    virtual: VirtualLab,
    state: Path,
    planned: Planned,
    message: dict[str, Any],
    folder: Path,
) -> Outcome:
    """Put together what the host says of a trial and what the plugin counted in its folder."""
    ended = from_plain(_ENDED, message, MESSAGE)
    trial, figures = ended.trial, tuple(ended.samples)
    if trial.identity != planned.dimensions.identity:
        raise ParseError(f"{MESSAGE}: it is of {trial.stem}, not of {planned.dimensions.stem}")
    if unknown := {sample.metric for sample in figures} - METRICS.keys():
        raise ParseError(f"{MESSAGE}: found metrics {quoted(', '.join(sorted(unknown)))}")
    if trial.status != "ok":
        return Outcome(trial=trial, samples=(), raw=())
    roles = from_plain(_ROLES, said(state, "roles"), f"{state}: roles")
    try:
        accounts = (folder / ACCOUNTS).read_text(errors="replace")
    except OSError as exc:
        raise ParseError(f"accounting: the plugin's output: {exc.strerror}") from exc
    exact = counted(accounts, planned.workload, trial, roles)
    files = [(accounts_name(trial), exact.window.model_dump_json())]
    if virtual.profile:
        symbols = Symbols(virtual.artifacts.kernel.system_map.read_text())
        files.append((profile_name(trial), exact.profile_table(symbols)))
    trial, figures = with_exact(trial, figures, exact)
    return Outcome(trial=trial, samples=figures, raw=tuple(files))


def _not_built(virtual: VirtualLab) -> dict[str, str]:
    """Return the parts of a machine that are no artifacts."""
    found = parts(virtual)
    return {name: found[name] for name in ("experiment", "command_line")}


def _provenance(virtual: VirtualLab, host: Artifact) -> Provenance:
    """Return what a host said of itself, with what only the emulator knows."""
    seen = from_plain(_PROVENANCE, said(host.path, "provenance"), f"{host.path}: provenance")
    return seen.model_copy(
        update={
            "cpu_model": virtual.cpu_model,
            "artifacts": {"machine": identity(virtual), **_not_built(virtual)},
        }
    )
