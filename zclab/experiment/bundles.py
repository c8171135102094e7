"""What is in a bundle: a run's artifacts, and its known results.

Artifacts have the keys that they were built with, and known results theirs. So a machine that
builds from equal inputs, or measures with an equal machine, finds them in its cache. Where its
inputs are others, it can still measure with what the bundle has: artifacts_of().
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self, get_args

from pydantic import model_validator

from zclab.build.bundle import Content, files_in, write
from zclab.build.cache import META, artifact_path
from zclab.build.code import commit
from zclab.build.parcel import Named
from zclab.build.unbundle import Bundle, adopt
from zclab.errors import ConfigError, LabError
from zclab.lab.artifacts import Artifacts
from zclab.lab.bundled import FIRMWARE, Files, Machine, artifacts_in, machine_of
from zclab.model import Value
from zclab.outside import Shown, explain
from zclab.progress import Progress
from zclab.runs.plan import Part
from zclab.runs.results import Provenance, Results, RunInfo
from zclab.runs.resume import Recorded
from zclab.virtualtime import known_results
from zclab.virtualtime.known_results import Known
from zclab.virtualtime.lab import VirtualLab, VirtualOptions
from zclab.virtualtime.saved_states import identity

Only = Literal["", "artifacts", "results"]
ONLY: tuple[Only, ...] = get_args(Only)


class About(Value):
    """What a bundle is about: a run, what it was going to do, and what decided its figures.

    ``conditions`` are those of each part of its plan; ``machine`` is None where the artifacts are
    not in the bundle.
    """

    run: RunInfo
    provenance: Provenance
    recorded: Recorded
    conditions: tuple[dict[Shown, Shown], ...]
    machine: Machine | None

    @model_validator(mode="after")
    def _conditions_of_each_part(self) -> Self:
        plan = self.recorded.plan
        if len(self.conditions) != (len(plan.parts) if plan.lab.clock == "virtual" else 0):
            raise ValueError("conditions are not those of its parts")
        return self


@dataclass(frozen=True, kw_only=True)
class Written:
    """What came of it: the bundle's key, and how many results of the run's trials are in it."""

    key: str
    artifacts: int
    results: int
    trials: int


class Taken(NamedTuple):
    """What of a bundle the cache took, had already, and has otherwise under the same key."""

    new: list[Named]
    there: list[Named]
    other: list[Named]


def only_of(text: str) -> Only:
    """Return the value of ``--only``; raises ConfigError."""
    for allowed in ONLY:
        if text == allowed:
            return allowed
    raise ConfigError(f"--only: found {text!r}, allowed: artifacts, results")


def pack(
    file: Path,
    results: Results,
    recorded: Recorded,
    artifacts: Artifacts,
    *,
    only: Only,
    progress: Progress,
) -> Written:
    """Write a bundle of a run that was made with these artifacts.

    Raises ConfigError where it was made with others, and where there is nothing to bundle.
    """
    _check_made_with(results, artifacts)
    virtual = recorded.plan.lab.clock == "virtual"
    labs = labs_of(recorded, artifacts) if virtual else []
    found = _known(labs) if only != "artifacts" else {}
    if not found and only != "artifacts":
        remedy = "--only=artifacts leaves results out"
        raise ConfigError(f"run {results.run.id}: no result of it is known here; {remedy}")
    machine, built = machine_of(artifacts)
    about = About(
        run=results.run,
        provenance=results.provenance,
        recorded=recorded,
        conditions=tuple(known_results.conditions(lab) for _, lab in labs),
        machine=machine if only != "results" else None,
    )
    files = {**(built if only != "results" else {}), **found}
    key = write(
        file,
        files.items(),
        about=about.model_dump(mode="json", by_alias=True),
        zclab=commit(),
        progress=progress,
    )
    return Written(
        key=key,
        artifacts=len(files) - len(found),
        results=len(found),
        trials=recorded.plan.trials,
    )


def about_of(bundle: Bundle) -> About:
    """Return what a bundle is about."""
    return explain(bundle.file, About, json.dumps(bundle.manifest.about))


def take(bundle: Bundle) -> Taken:
    """Put all of a bundle into the cache, each under its own key, but for what is there."""
    results = _results(bundle)
    taken = Taken([], [], [])
    for content in bundle.manifest.artifacts:
        if content.kind == FIRMWARE:
            continue  # a cache has none: what was built here loads that of this machine
        if is_known(content):
            meta = bundle.place(content) / META
            how = known_results.adopt(results[content.key], meta, content.key, bundle.file.name)
        else:
            how = adopt(bundle, content)
        getattr(taken, how).append(Named(content.kind, content.key))
    known_results.forget_oldest()
    return taken


def check_known(bundle: Bundle, taken: Taken) -> None:
    """Raise LabError where the cache knows other results of a bundle's trials."""
    if bad := [one for one in taken.other if one.kind == known_results.KIND]:
        raise LabError(
            f"virtual time was not exact: {len(bad)} results in {bundle.file} are not those that "
            f"are known here; `invoke verify --bundle={bundle.file}` measures some again"
        )


def is_known(content: Content) -> bool:
    """Tell whether an artifact is a known result."""
    return content.kind == known_results.KIND


def artifacts_of(bundle: Bundle) -> Artifacts:
    """Return the artifacts of a bundle, as they are in it; ConfigError where it has none."""
    machine = about_of(bundle).machine
    if not machine:
        raise ConfigError(
            f"{bundle.file}: has results only; a bundle with artifacts is made without "
            "--only=results"
        )
    return artifacts_in(bundle, machine)


def known_in(bundle: Bundle, about: About) -> dict[tuple[object, ...], Known]:
    """Return the results in a bundle of trials that its run had planned, by their identity."""
    found = {one.trial.identity: one for one in _results(bundle).values()}
    boots = (boot for part in about.recorded.plan.parts for boot in part.boots)
    planned = [one.dimensions.identity for boot in boots for one in boot.trials]
    return {identity: found[identity] for identity in planned if identity in found}


def _results(bundle: Bundle) -> dict[str, Known]:
    """Return the results in a bundle by their keys; ConfigError where one is none."""
    found = {}
    for content in filter(is_known, bundle.manifest.artifacts):
        if not (one := known_results.read(bundle.place(content))):
            raise ConfigError(
                f"{bundle.file}: the known result {content.key} in it is none of this zclab; "
                f"check out its commit, {bundle.manifest.zclab or 'which it does not say'}"
            )
        found[content.key] = one
    return found


def labs_of(recorded: Recorded, artifacts: Artifacts) -> list[tuple[Part, VirtualLab]]:
    """Return the parts of a run's plan, each with the lab that it runs in."""
    options = VirtualOptions(profile=recorded.profile, copy_bytes=recorded.copy_bytes)
    return [
        (part, VirtualLab.of(part.lab, artifacts, options, mtu=part.mtu, offloads=part.offloads))
        for part in recorded.plan.parts
    ]


def _check_made_with(results: Results, artifacts: Artifacts) -> None:
    before, now = results.provenance.artifacts, artifacts.contents
    if changed := [name for name in now if before.get(name, now[name]) != now[name]]:
        raise ConfigError(
            f"run {results.run.id}: made with another {', '.join(changed)}: the sources have "
            "changed since; run it again"
        )


def _known(labs: list[tuple[Part, VirtualLab]]) -> Files:
    """Return the files of all known results of a run's trials."""
    found: Files = {}
    for part, lab in labs:
        machine = identity(lab)
        for planned in (one for boot in part.boots for one in boot.trials):
            if known_results.find(lab, machine, planned):
                named = Named(known_results.KIND, known_results.key_for(lab, machine, planned))
                found[named] = files_in(artifact_path(*named))
    return found
