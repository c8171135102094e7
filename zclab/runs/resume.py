"""What a run was going to do, kept beside its results, so that it can be gone on with.

The file is written before anything runs and never changed. What it says wins over what options,
lab and suite files say by then: the rest of a run is run under the conditions of its beginning.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from zclab.build.code import code_hash
from zclab.build.unbundle import read_manifest
from zclab.errors import ConfigError
from zclab.model import CopyBytes, Lab, ModeName, Value
from zclab.options import user_path
from zclab.outside import explain
from zclab.runs.plan import Boot, Part, Planned, estimate_s, virtual_estimate_s
from zclab.runs.results import Dimensions, Trial
from zclab.runs.store import write_value
from zclab.units import format_duration

PLAN_FILE = "plan.json"
_PLACE = tuple(name for name in Dimensions.model_fields if name != "boot")
"""What tells trials of a run apart, whatever boot they came to be in."""


class Plan(Value):
    """All parts of an experiment; ``seed`` drew the order of a ``suite``'s.

    ``baseline`` is the mode that the others stand against in its table.
    """

    lab: Lab
    parts: tuple[Part, ...]
    baseline: ModeName = "vhost"
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


class KernelOptions(Value):
    """Of which kernel a lab is made: the options of the command line, paths absolute.

    ``bundle`` is the file that has the kernel, and all else that the lab is made of.
    """

    source: str = ""
    series: str = ""
    debug: bool = False
    bundle: str = ""

    @classmethod
    def of(cls, *, source: str, series: str, debug: bool, bundle: str = "") -> KernelOptions:
        """Return the options such that they mean the same in another folder.

        Raises ConfigError for a bundle beside others, and for a file that is no bundle.
        """
        if bundle and (source or series or debug):
            raise ConfigError(
                "--bundle: has a kernel already; leave --source, --series and --debug out"
            )
        if bundle:
            file = user_path(bundle, "--bundle").absolute()
            read_manifest(file)
            return cls(bundle=str(file))
        return cls(
            source=str(user_path(source, "--source").absolute()) if source else "",
            series=(
                series if series in {"", "none"} else str(user_path(series, "--series").absolute())
            ),
            debug=debug,
        )


class Recorded(Value):
    """The file: a plan, and what else decides the figures; ``code`` is zclab's own, as a hash."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    plan: Plan
    kernel: KernelOptions
    copy_bytes: CopyBytes
    profile: bool
    code: str

    def write(self, run: Path) -> None:
        """Keep it in a run's folder."""
        write_value(run / PLAN_FILE, self)


def load_recorded(run: Path) -> Recorded:
    """Return what a run was going to do, to go on with it.

    Raises ConfigError where its folder does not say so, and where zclab's code is not that of the
    run's beginning any more.
    """
    recorded = read_recorded(run, "--resume")
    if recorded.code != code_hash():
        raise ConfigError(
            f"--resume: {run}: zclab has changed since that run began, so the rest might be "
            "measured differently; check out the version it began with, or start a new run"
        )
    return recorded


def read_recorded(run: Path, what: str) -> Recorded:
    """Return what a run was going to do; ConfigError names ``what`` wants to know it."""
    file = run / PLAN_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(
            f"{what}: {file}: {exc.strerror}: name the folder of a run of `invoke run-bench`; "
            "a run without a plan cannot be resumed, start it again"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{what}: {file}: not text: is it a {PLAN_FILE}?") from exc
    return explain(file, Recorded, text)


def left(plan: Plan, trials: Collection[Trial]) -> Plan:
    """Return the rest of a plan: what has no trial that ended, in the plan's order.

    In the wall clock, what is left of a boot is another boot of the guest, and has a number of its
    own, for values of two boots must not pass for those of one. A boot of which nothing is there,
    and a start in virtual time, keep their number.
    """
    ended = {_place(trial) for trial in trials}
    taken = [trial.boot for trial in trials]
    taken += [boot.number for part in plan.parts for boot in part.boots]
    free = max(taken, default=-1) + 1
    parts = []
    for part in plan.parts:
        boots = []
        for boot in part.boots:
            todo = tuple(one for one in boot.trials if _place(one.dimensions) not in ended)
            number = boot.number
            if plan.lab.clock == "wall" and 0 < len(todo) < len(boot.trials):
                number, free = free, free + 1
            if todo:
                boots.append(_boot(boot, number, todo))
        if boots:
            parts.append(part.model_copy(update={"boots": tuple(boots)}))
    return plan.model_copy(update={"parts": tuple(parts)})


def in_order(plan: Plan, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Return trials in the order of their plan, whenever they came to their end."""
    places = {
        _place(one.dimensions): number
        for number, one in enumerate(
            one for part in plan.parts for boot in part.boots for one in boot.trials
        )
    }
    return tuple(sorted(trials, key=lambda trial: places.get(_place(trial), len(places))))


def _place(dimensions: Dimensions) -> tuple[object, ...]:
    return tuple(getattr(dimensions, name) for name in _PLACE)


def _boot(boot: Boot, number: int, todo: Sequence[Planned]) -> Boot:
    trials = tuple(
        one.model_copy(update={"dimensions": one.dimensions.model_copy(update={"boot": number})})
        for one in todo
    )
    return boot.model_copy(update={"number": number, "trials": trials})
