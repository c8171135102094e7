"""Runs in virtual time: trials that all start afresh, side by side.

A trial starts from the saved state of a host with a guest in a mode, does its one workload, and is
gone: what else a run has in its plan, and in which order or on which core it runs, changes no
figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zclab.bench.accounts import counted, with_exact
from zclab.bench.plan import Planned
from zclab.bench.states import (
    error_of,
    guest_state,
    host_state,
    identity,
    program_files,
    resumed,
    said,
)
from zclab.bench.virtual_lab import ACCOUNTS, VirtualLab
from zclab.build.cache import Artifact, file_hash, key_of
from zclab.errors import KernelReportError, LabError, ZclabError
from zclab.host.cpu import Roles
from zclab.lab.virtual import STATE
from zclab.model import ModeName
from zclab.profile import Symbols
from zclab.profiles import accounts_name, profile_name
from zclab.progress import Progress
from zclab.results import Provenance, Sample, Trial

PHASE_US = 137
"""How much later each start begins than the one before it: no multiple of a timer's period."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one trial."""

    trial: Trial
    samples: tuple[Sample, ...]
    raw: tuple[tuple[str, str], ...]


Execute = Callable[[VirtualLab, Mapping[ModeName, Artifact], Sequence[Planned]], Iterator[Outcome]]
"""What runs trials from the states of their modes, and yields what came of each as it ends."""


def run_trial(
    virtual: VirtualLab, state: Path, planned: Planned, trace: Path | None = None
) -> Outcome:
    """Run one trial from a guest's state; its boot tells it from others of the same kind.

    One that the host cannot bring to an end is a failed one; KernelReportError goes through.
    """
    start = planned.dimensions.boot
    order = virtual.order(planned.dimensions.mode, (planned,), start * PHASE_US)
    raw: list[tuple[str, str]] = []
    try:
        with resumed(virtual, state / STATE, order, counting=True, trace=trace) as started:
            for message in started.messages():
                match message["kind"]:
                    case "trial":
                        text = (started.folder / ACCOUNTS).read_text()
                        outcome = _outcome(virtual, state, planned, message, text)
                        return replace(outcome, raw=(*raw, *outcome.raw))
                    case "raw":
                        raw.append((message["name"], message["text"]))
                    case "failed":
                        raise error_of(message)
        raise LabError("the host came to its end without a result")
    except KernelReportError:
        raise
    except ZclabError as exc:
        trial = Trial(**dict(planned.dimensions), status="failed", reason=str(exc))
        return Outcome(trial=trial, samples=(), raw=tuple(raw))


def run_trials(
    virtual: VirtualLab,
    trials: Sequence[Planned],
    progress: Progress,
    *,
    jobs: int,
    on_provenance: Callable[[Provenance], None],
    execute: Execute | None = None,
) -> Iterator[Outcome]:
    """Make the states that trials start from, run the trials, and yield what came of each.

    They run here, ``jobs`` of them side by side, unless ``execute`` runs them elsewhere.
    """
    host = host_state(virtual, progress)
    on_provenance(_provenance(virtual, host))
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
    accounts: str,
) -> Outcome:
    """Put together what the host says of a trial and what the plugin counted."""
    trial = Trial.model_validate(message["trial"])
    measured = tuple(map(Sample.model_validate, message["samples"]))
    if trial.status != "ok":
        return Outcome(trial=trial, samples=(), raw=())
    roles = Roles(**said(state, "roles"))
    exact = counted(accounts, planned.workload, trial, roles)
    files = [(accounts_name(trial), exact.window.model_dump_json())]
    if virtual.profile:
        symbols = Symbols(virtual.artifacts.kernel.system_map.read_text())
        files.append((profile_name(trial), exact.profile_table(symbols)))
    trial, measured = with_exact(trial, measured, exact)
    return Outcome(trial=trial, samples=measured, raw=tuple(files))


def _provenance(virtual: VirtualLab, host: Artifact) -> Provenance:
    """Return what a host said of itself, with what only the emulator knows."""
    seen = Provenance.model_validate(said(host.path, "provenance"))
    code = key_of({name: file_hash(path) for name, path in program_files().items()})
    return seen.model_copy(
        update={
            "cpu_model": virtual.cpu_model,
            "artifacts": {"machine": identity(virtual), "experiment": code},
        }
    )
