"""What a run does, and in which order, before it does any of it.

Drift of the host must not pose as an effect of a mode: each repetition is a block that has every
mode once, in an order that is rotated from one to the next (A B, then B A), or drawn by lot.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from pydantic import ValidationError

from zclab.errors import ConfigError
from zclab.model import (
    DATAGRAMS,
    MIGRATE,
    TRANSACTIONS,
    Direction,
    Lab,
    ModeName,
    NicModel,
    Switch,
    Value,
    Workload,
    WorkloadName,
)
from zclab.runs.results import Dimensions
from zclab.units import MIB

DIRECTIONS: dict[WorkloadName, tuple[Direction | None, ...]] = {
    "TCP_STREAM": ("rx", "tx"),
    "TCP_RR": (None,),
    "TCP_RR_LOADED": (None,),
    "UDP_STREAM": ("rx", "tx"),
    "UDP_RR": (None,),
    MIGRATE: (None,),
}
DEFAULT_MESSAGE_BYTES: dict[WorkloadName, int] = {
    "TCP_STREAM": 16384,
    "TCP_RR": 1,
    "TCP_RR_LOADED": 1,
    "UDP_STREAM": 1472,
    "UDP_RR": 1,
    MIGRATE: 65536,
}
AMOUNTS: dict[WorkloadName, int] = {
    "TCP_STREAM": 128 * MIB,
    "TCP_RR": 4000,
    "TCP_RR_LOADED": 1000,
    "UDP_RR": 4000,
}
"""What trials in virtual time move, in bytes or transactions: there, more only takes longer.

UDP_STREAM has none, see netperf_argv().
"""
MOST_MESSAGES = 1 << 18
"""How many messages a stream in virtual time has at most: small ones would take minutes a trial,
and tell no more.
"""
UDP_HEADER_BYTES = 28
"""IPv4 and UDP: what an MTU leaves less of for a datagram."""

BOOT_S = 25.0
"""How long a guest's boot into a mode and its end take, about, on an emulated host."""
VIRTUAL_TRIAL_S = 10.0
"""What a trial takes in virtual time, from its state to its end."""
STARTS = 8
"""How many slightly different starts a figure in virtual time is the mean of."""
TRIAL_S = 6.0
"""What a trial takes beside its duration: its CPU snapshots, its copy pass, its setup."""
MIGRATION_S = 20.0
"""What a migration takes between emulated hosts, about: a trial has two, and three times its
duration."""


class Planned(Value):
    """A trial to be: what to run, and what its results will be filed under."""

    workload: Workload
    dimensions: Dimensions


class Boot(Value):
    """One boot of the guest in one mode, and the trials to run in it, in order."""

    number: int
    mode: ModeName
    repetition: int
    trials: tuple[Planned, ...]


MTUS = (576, 16110)
"""The smallest and the largest MTU that a cell may have, whatever its NIC takes."""
LARGEST_MTU: dict[NicModel, int] = {"e1000e": 9212, "igb": 9216}
"""What the drivers of emulated NICs take."""


class Part(Value):
    """Boots of one lab, all under the same conditions: what a host is prepared for once."""

    lab: Lab
    mtu: int
    offloads: Switch
    boots: tuple[Boot, ...]

    @property
    def trials(self) -> int:
        """How many trials there are."""
        return sum(len(boot.trials) for boot in self.boots)


class Order(Value):
    """What a host that runs the experiment by itself is told, before each part of it.

    ``mode`` is None until a guest is to be booted, ``trials`` is empty until it is there.
    ``phase_us`` is how long to wait before the first: it tells one start from another.
    """

    lab: Lab
    kernel_name: str
    image_name: str
    mtu: int
    offloads: Switch
    mode: ModeName | None = None
    trials: tuple[Planned, ...] = ()
    phase_us: int = 0


def select_modes(names: Iterable[str]) -> tuple[ModeName, ...]:
    """Return the modes of these names, each once; raises ConfigError for an unknown name."""
    allowed = get_args(ModeName)
    names = tuple(dict.fromkeys(names))
    _reject_unknown("--mode", names, allowed)
    if not names:
        raise ConfigError(f"--mode: name at least one of {', '.join(allowed)}")
    return tuple(mode for name in names for mode in allowed if mode == name)


def select_workloads(
    *,
    names: Iterable[str] = (),
    directions: Iterable[str] = (),
    message_bytes: Iterable[int] = (),
    duration_s: float = 5.0,
    amounts: Mapping[WorkloadName, int] | None = None,
    streams: Iterable[int] = (1,),
    warm_up_s: int = 0,
) -> tuple[Workload, ...]:
    """Return each workload of these names, directions, sizes and streams; those not given are all.

    Without names these are netperf's: MIGRATE needs a second host, and is only run if it is named.

    Those that ``amounts`` names go by what they move, streams in no more than MOST_MESSAGES, the
    others by ``duration_s``.

    Without ``message_bytes`` each workload has its own default size. A transaction goes both ways:
    where directions are given, TCP_RR and UDP_RR are run only if they are named too. Raises
    ConfigError that lists what is allowed.
    """
    names, directions = tuple(names), tuple(directions)
    _reject_unknown("--workload", names, get_args(WorkloadName))
    _reject_unknown("--direction", directions, get_args(Direction))
    sizes = tuple(dict.fromkeys(message_bytes))
    return tuple(
        _workload(
            name=name,
            direction=direction,
            message_bytes=size,
            duration_s=duration_s,
            amount=_amount(name, size, amounts or {}),
            streams=count,
            warm_up_s=warm_up_s,
        )
        for name in DIRECTIONS
        if name in names or (not names and name != MIGRATE)
        for direction in DIRECTIONS[name]
        if not directions or direction in directions or (direction is None and name in names)
        for size in sizes or (DEFAULT_MESSAGE_BYTES[name],)
        for count in dict.fromkeys(streams)
    )


def plan(
    lab: Lab,
    *,
    modes: Sequence[ModeName],
    workloads: Sequence[Workload],
    repetitions: int = 3,
    mtu: int = 1500,
    offloads: Switch = "on",
    lot: random.Random | None = None,
    first_boot: int = 0,
) -> list[Boot]:
    """Return the boots of a run in their order: in each repetition one for each mode.

    ``lot`` draws the order of modes and workloads of each repetition, and all its modes have the
    workloads in the same order. Boots are numbered from ``first_boot``.

    Raises ConfigError for an MTU that the NIC does not take, and for a datagram that would be
    fragmented, for then a cell measures something else than its name says.
    """
    if repetitions < 1:
        raise ConfigError(f"--repetitions: {repetitions}: should be 1 or more")
    largest = LARGEST_MTU[lab.emulator.nic] if lab.emulator else MTUS[1]
    if not MTUS[0] <= mtu <= largest:
        whose = f", which {lab.emulator.nic} takes" if lab.emulator else ""
        raise ConfigError(f"--mtu: found {mtu}, allowed: {MTUS[0]} to {largest}{whose}")
    for workload in workloads:
        if workload.name == MIGRATE:
            _check_migrates(lab, workload)
        if workload.name in DATAGRAMS and workload.message_bytes + UDP_HEADER_BYTES > mtu:
            raise ConfigError(
                f"--message-bytes: {workload.message_bytes}: a datagram that fits in an MTU of "
                f"{mtu} has at most {mtu - UDP_HEADER_BYTES}"
            )
    boots: list[Boot] = []
    for repetition in range(repetitions):
        turn = repetition % len(modes)
        order = lot.sample(modes, len(modes)) if lot else (*modes[turn:], *modes[:turn])
        drawn = lot.sample(workloads, len(workloads)) if lot else workloads
        # After a migration the guest is another process, which the figures' threads are not of.
        todo = sorted(drawn, key=lambda workload: workload.name == MIGRATE)
        for mode in order:
            # In virtual time a mode's starts are all from one boot, and numbered alike.
            number = repetition if lab.clock == "virtual" else first_boot + len(boots)
            trials = tuple(
                Planned(
                    workload=workload,
                    dimensions=Dimensions(
                        mode=mode,
                        workload=workload.name,
                        direction=workload.direction,
                        message_bytes=workload.message_bytes,
                        mtu=mtu,
                        offloads=offloads,
                        nic=lab.emulator.nic if lab.emulator else lab.nic,
                        streams=workload.streams,
                        duration_s=workload.duration_s,
                        amount=workload.amount,
                        warm_up_s=workload.warm_up_s,
                        boot=number,
                        repetition=repetition,
                    ),
                )
                for workload in todo
            )
            boots.append(Boot(number=number, mode=mode, repetition=repetition, trials=trials))
    return boots


def _check_migrates(lab: Lab, workload: Workload) -> None:
    """Raise ConfigError where a lab has nowhere to migrate to, or the workload is not itself."""
    if lab.second is None:
        raise ConfigError(
            f"--workload {MIGRATE}: lab '{lab.name}' has one host; `--lab=pair` has two"
        )
    for option, value, allowed in (
        ("--streams", workload.streams, 1),
        ("--warm-up", workload.warm_up_s, 0),
        ("--message-bytes", workload.message_bytes, DEFAULT_MESSAGE_BYTES[MIGRATE]),
    ):
        if value != allowed:
            raise ConfigError(f"{option}: found {value}, allowed with {MIGRATE}: {allowed}")


def estimate_s(boots: Sequence[Boot], *, boot_s: float = BOOT_S) -> float:
    """Return about how long the boots take, in seconds, once the lab is up."""
    trials = [trial for boot in boots for trial in boot.trials]
    measured = (trial.workload.duration_s + trial.workload.warm_up_s for trial in trials)
    moved = [trial for trial in trials if trial.workload.name == MIGRATE]
    moving = sum(2 * (MIGRATION_S + trial.workload.duration_s) for trial in moved)
    return len(boots) * boot_s + sum(measured) + moving + len(trials) * TRIAL_S


def virtual_estimate_s(boots: Sequence[Boot], jobs: int) -> float:
    """Return about how long the trials take in virtual time, once the states are there."""
    return sum(len(boot.trials) for boot in boots) * VIRTUAL_TRIAL_S / jobs


def _amount(
    name: WorkloadName, message_bytes: int, amounts: Mapping[WorkloadName, int]
) -> int | None:
    if name not in amounts or name in TRANSACTIONS:
        return amounts.get(name)
    return min(amounts[name], message_bytes * MOST_MESSAGES)


def _workload(**values: object) -> Workload:
    try:
        return Workload.model_validate(values)
    except ValidationError as exc:
        lines = (
            f"--{str(mistake['loc'][0]).replace('_', '-')}: {mistake['input']}: {mistake['msg']}"
            for mistake in exc.errors()
        )
        raise ConfigError("\n".join(lines)) from exc


def _reject_unknown(option: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ConfigError(f"{option}: unknown: {', '.join(unknown)}; allowed: {', '.join(allowed)}")
