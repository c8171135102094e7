"""Known results: what came of a trial in virtual time, kept under all that decides it.

Such a trial is a function of contents: the machine, the order that it is given, and what makes
figures of its accounts. Equal contents give equal figures, so a trial that was measured once need
not be measured again.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Self

from pydantic import StringConstraints, ValidationError, model_validator

from zclab.build.cache import (
    META,
    artifact_path,
    ensure,
    file_hash,
    get_or_build,
    key_of,
    prune,
    remove_tree,
)
from zclab.build.unbundle import Adopted
from zclab.model import Value
from zclab.runs.plan import Planned
from zclab.runs.results import METRICS, KnownFrom, Provenance, Sample, Trial
from zclab.virtualtime.lab import VirtualLab
from zclab.virtualtime.saved_states import RECIPE, order_of, parts, program_files

KIND = "known-trial"
ACCOUNTING = "zclab.virtualtime.figures"
"""The module that makes figures of accounts, on this side; with it count those that it imports."""

KEPT = 4000
_FILE = "known.json"


RawName = Annotated[str, StringConstraints(pattern=r"^(?:\w[\w.:-]*/)*\w[\w.:-]*$")]
"""The name of a raw output: one of a file below ``raw/``, which leads nowhere else."""


class Known(Value):
    """What came of a trial, with what the host said of itself then."""

    measured: KnownFrom
    host: Provenance
    trial: Trial
    samples: tuple[Sample, ...]
    raw: tuple[tuple[RawName, str], ...]

    @model_validator(mode="after")
    def _samples_are_of_the_trial(self) -> Self:
        for sample in self.samples:
            if sample.identity != self.trial.identity or sample.metric not in METRICS:
                raise ValueError(f"{sample.metric} is no figure of this trial")
        return self


def inputs(virtual: VirtualLab, machine: str, planned: Planned) -> Mapping[str, object]:
    """Return all that decides what comes of a trial; ``machine`` is its states.identity()."""
    return {
        "machine": machine,
        "states": RECIPE,
        "order": order_of(virtual, planned),
        "accounting": _accounting(),
        "plugin": virtual.host.plugin.key,
        "profile": virtual.profile,
    }


@cache
def _accounting() -> str:
    """Return the hash over the code that makes figures of accounts, as it was first loaded."""
    return key_of({name: file_hash(path) for name, path in program_files(ACCOUNTING).items()})


def conditions(virtual: VirtualLab) -> dict[str, str]:
    """Return what decides figures beside a trial's order, by name: the machine's parts, and more.

    It is what two machines have to have in common to measure the same.
    """
    return {**parts(virtual), "plugin": virtual.host.plugin.key, "accounting": _accounting()}


def key_for(virtual: VirtualLab, machine: str, planned: Planned) -> str:
    """Return the key that a trial's result has, or would have; see inputs()."""
    return key_of(inputs(virtual, machine, planned))


def find(virtual: VirtualLab, machine: str, planned: Planned) -> Known | None:
    """Return the known result of a trial, or None; one that cannot be read is forgotten."""
    folder = artifact_path(KIND, key_for(virtual, machine, planned))
    if not folder.is_dir():
        return None
    found = read(folder)
    if not found or found.trial.identity != planned.dimensions.identity:
        remove_tree(folder)
        return None
    return found


def read(folder: Path) -> Known | None:
    """Return the result that an artifact is; None where it cannot be read."""
    try:
        return Known.model_validate_json((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, ValidationError):
        return None


def adopt(theirs: Known, meta: Path, key: str, bundle: str) -> Adopted:
    """Keep a result from a bundle, unless one is known; "other" is one that differs from that.

    ``meta`` is the file with its inputs.
    """
    measured = theirs.measured.model_copy(update={"bundle": bundle})

    def fill(new: Path) -> None:
        shutil.copyfile(meta, new / META)
        theirs_here = theirs.model_copy(update={"measured": measured})
        (new / _FILE).write_text(theirs_here.model_dump_json(), encoding="utf-8")

    # One that a power cut leaves damaged is forgotten, and there may be thousands.
    if not ensure(KIND, key, fill, flush=False):
        return "new"
    ours = read(artifact_path(KIND, key))
    return "other" if ours and differences(ours, theirs.trial, theirs.samples) else "there"


def keep(virtual: VirtualLab, machine: str, planned: Planned, known: Known) -> None:
    """Keep a result, unless it is known already; a failed trial is no result."""
    if known.trial.status == "failed":
        return

    def fill(folder: Path) -> None:
        (folder / _FILE).write_text(known.model_dump_json(), encoding="utf-8")

    get_or_build(KIND, inputs(virtual, machine, planned), fill)


def forget_oldest() -> None:
    """Forget what was not wanted for longest, beyond KEPT."""
    prune(KIND, keep=KEPT)


def measured_now(run: str) -> KnownFrom:
    """Return where a result comes from that this run measures."""
    return KnownFrom(run=run, date=datetime.now(UTC).date().isoformat())


def differences(before: Known, trial: Trial, samples: tuple[Sample, ...]) -> list[str]:
    """Return what is not as it was, a line each: nothing, where virtual time is exact."""
    was = {sample.metric: sample.value for sample in before.samples}
    now = {sample.metric: sample.value for sample in samples}
    lines = [
        f"{name}: {now.get(name)}, and {was.get(name)} before"
        for name in dict.fromkeys((*was, *now))
        if now.get(name) != was.get(name)
    ]
    return lines + [
        f"{what}: {getattr(trial, what)}, and {getattr(before.trial, what)} before"
        for what in ("status", "reason", "evidence")
        if getattr(before.trial, what) != getattr(trial, what)
    ]
