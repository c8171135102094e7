"""What machines exchange: bundles, and the question whether both give the same figures."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator

from zclab.build.cache import artifact_path
from zclab.build.code import code_hash
from zclab.build.emulator import firmware
from zclab.build.progress import shown
from zclab.build.unbundle import Bundle, differing, unpacked
from zclab.errors import BuildError, ConfigError, GateError
from zclab.experiment import bundles
from zclab.experiment.builds import build_lab
from zclab.experiment.bundles import About
from zclab.lab.artifacts import Artifacts
from zclab.lab.bundled import FIRMWARE, Machine, firmware_key
from zclab.options import check_range, user_path
from zclab.outside import printable
from zclab.progress import Progress
from zclab.report.output import out
from zclab.runs.plan import Part
from zclab.runs.resume import Recorded, read_recorded
from zclab.runs.store import load
from zclab.units import format_bytes
from zclab.virtualtime.known_results import Known, conditions, differences
from zclab.virtualtime.lab import VirtualLab
from zclab.virtualtime.trials import measured

NOT_EQUAL = "NOT EQUAL"
TRIALS = 4
"""How many known trials verify() measures again, unless it is told."""


def bundle(run: str, file: str, *, only: str) -> None:
    """Put a run's artifacts and known results into a file."""
    kinds = bundles.only_of(only)
    folder, target = user_path(run, "--run"), user_path(file, "--file")
    recorded, results = read_recorded(folder, "--run"), load(folder)
    if recorded.code != code_hash():
        raise ConfigError(
            f"--run: {folder}: zclab has changed since that run began and does not know its "
            "results; check out the version that it began with"
        )
    artifacts = _built(recorded)
    with shown("bundle") as progress:
        written = bundles.pack(target, results, recorded, artifacts, only=kinds, progress=progress)
    size = format_bytes(target.stat().st_size)
    _say(
        f"bundle {written.key} ({size}): {written.artifacts} artifacts, known results of "
        f"{written.results} of {written.trials} trials: {target}"
    )


def unbundle(file: str) -> None:
    """Take what a bundle has into the cache, and say what that is."""
    bundle, about = _opened(file)
    taken = bundles.take(bundle)
    _say(f"bundle {bundle.key} of run {about.run.id}, {about.run.started}")
    for kind in dict.fromkeys(content.kind for content in bundle.manifest.artifacts):
        counts = [sum(one.kind == kind for one in them) for them in taken]
        words = ("taken", "there already", "another here, which stays")
        said = [f"{count} {word}" for count, word in zip(counts, words, strict=True) if count]
        _say(f"{kind}: {', '.join(said) or 'for --bundle alone'}")
    bundles.check_known(bundle, taken)


def verify(file: str, *, trials: int) -> None:
    """Say whether this machine gives the figures of a bundle; GateError where it does not.

    It measures with the bundle's artifacts, or with its own where the bundle has results only.
    """
    check_range("--trials", trials, 1, 100_000, default=f"{TRIALS}")
    bundle, about = _opened(file)
    known = bundles.known_in(bundle, about)
    if not known:
        raise ConfigError(f"{bundle.file}: has no results; there is nothing to compare with")
    artifacts = bundles.artifacts_of(bundle) if about.machine else _built(about.recorded)
    labs = bundles.labs_of(about.recorded, artifacts)
    others = _print_parts(bundle, about, labs)
    drawn = random.SystemRandom().sample(list(known), min(trials or TRIALS, len(known)))
    bad = 0
    with shown("verify") as progress:
        for name, lines in _again(labs, {one: known[one] for one in drawn}, progress):
            _say("\n  ".join((f"{name}: {NOT_EQUAL if lines else 'equal'}", *lines)))
            bad += bool(lines)
    of = f"{len(drawn)} of {len(known)} known trials of run {about.run.id}"
    if bad:
        suspects = f"the first suspects: {', '.join(others)}"
        if not others:
            suspects = (
                "its parts are equal; `invoke verify` says whether virtual time is exact here"
            )
        raise GateError(f"this machine gives other figures: {bad} of {of} differ; {suspects}")
    _say(f"this machine gives the same figures: {of} are equal to the last digit")


def _opened(file: str) -> tuple[Bundle, About]:
    with shown("bundle") as progress:
        bundle = unpacked(user_path(file, "--bundle"), progress)
    return bundle, bundles.about_of(bundle)


def _built(recorded: Recorded) -> Artifacts:
    options = recorded.kernel
    return build_lab(
        recorded.plan.lab,
        source=options.source,
        series=options.series,
        debug=options.debug,
        bundle=options.bundle,
    )


def _again(
    labs: list[tuple[Part, VirtualLab]], known: dict[tuple[object, ...], Known], progress: Progress
) -> Iterator[tuple[str, list[str]]]:
    """Measure trials again; yield the name of each, and what is not as it is known to be."""
    for part, lab in labs:
        planned = [one for boot in part.boots for one in boot.trials]
        todo = [one for one in planned if one.dimensions.identity in known]
        if not todo:
            continue
        for outcome in measured(lab, todo, progress, jobs=os.cpu_count() or 1):
            before = known[outcome.trial.identity]
            yield outcome.trial.stem, differences(before, outcome.trial, outcome.samples)


def _print_parts(bundle: Bundle, about: About, labs: list[tuple[Part, VirtualLab]]) -> list[str]:
    """Print how each part of the machine compares; return the names of those that are not equal."""
    compared: dict[tuple[str, str, str], None] = {}  # parts of a plan have most in common
    for before, (_, lab) in zip(about.conditions, labs, strict=True):
        now = conditions(lab)
        for name in dict.fromkeys((*before, *now)):
            compared[name, _short(before.get(name)), _short(now.get(name))] = None
    for name, was, here in compared:
        _say(f"{name} {was}: {'equal' if was == here else f'{NOT_EQUAL}, {here} here'}")
    if about.machine:
        for line in _built_here(bundle, about.machine):
            _say(line)
    return list(dict.fromkeys(name for name, was, here in compared if was != here))


def _short(value: str | None) -> str:
    """Return a hash cut to what a line shows, and other values as they are."""
    if value is None:
        return "none"
    return value[:12] if re.fullmatch(r"[0-9a-f]{32}", value) else value


def _built_here(bundle: Bundle, machine: Machine) -> Iterator[str]:
    """Yield how the bundle's artifacts, which are used, compare with those of this machine."""
    for content in bundle.manifest.artifacts:
        if content.kind == FIRMWARE:
            try:
                same = firmware_key(firmware()) == machine.emulator.firmware
            except BuildError:
                yield "firmware: the bundle's; this machine has none"
            else:
                yield f"firmware: the bundle's; this machine has {'it, too' if same else 'another'}"
        elif not bundles.is_known(content):
            other = differing(content)
            if not artifact_path(content.kind, content.key).is_dir():
                how = "this cache has none of equal inputs"
            elif other:
                how = f"this cache has another of equal inputs: {', '.join(other)} differ"
            else:
                how = "this cache has it, too"
            yield f"{content.kind} {_short(content.key)}: the bundle's; {how}"


def _say(text: str) -> None:
    out.print(printable(text), highlight=False, markup=False, soft_wrap=True)
