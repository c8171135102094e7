"""Suites: which cells an experiment has, as a file of ``suites/`` says it.

A suite says what is run; in which order is drawn by lot from a seed, in blocks that have each mode
once. Cells that need the lab brought up in another way are another part of the plan.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field

from zclab.documents.labs import with_overrides
from zclab.documents.strict import find, parse
from zclab.documents.yaml import Document
from zclab.model import (
    BOTH_WAYS,
    DATAGRAMS,
    Direction,
    Lab,
    Mistake,
    ModeName,
    NicModel,
    Switch,
    Value,
    Workload,
    WorkloadName,
)
from zclab.runs.plan import (
    AMOUNTS,
    DEFAULT_MESSAGE_BYTES,
    MTUS,
    UDP_HEADER_BYTES,
    Part,
    plan,
    select_workloads,
)

SUITES = Path(__file__).resolve().parents[2] / "suites"

Bytes = Annotated[int, Field(ge=1, le=1 << 20)]
Mtu = Annotated[int, Field(ge=MTUS[0], le=MTUS[1])]
Modes = Annotated[tuple[ModeName, ...], Field(min_length=1, description="a list of modes")]
Sizes = Annotated[tuple[Bytes, ...], Field(description="a list of sizes in bytes")]
Mtus = Annotated[tuple[Mtu, ...], Field(min_length=1, description="a list of MTUs in bytes")]
Switches = Annotated[tuple[Switch, ...], Field(min_length=1, description="a list of on and off")]
Nics = Annotated[tuple[NicModel, ...], Field(description="a list of e1000e and igb")]
Streams = Annotated[int, Field(ge=1, le=64)]
Counts = Annotated[
    tuple[Streams, ...], Field(min_length=1, description="a list of numbers of streams")
]
Directions = Annotated[tuple[Direction, ...], Field(description="a list of rx and tx")]


class Cells(Value):
    """A workload, and the values that each of its dimensions takes; all combinations are run.

    What is left out is what run-bench does without the option; no ``nic`` is the lab's.
    """

    workload: WorkloadName
    directions: Directions = ()
    message_bytes: Sizes = ()
    mtu: Mtus = (1500,)
    offloads: Switches = ("on",)
    nic: Nics = ()
    streams: Counts = (1,)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of messages, with the default where none is given."""
        return self.message_bytes or (DEFAULT_MESSAGE_BYTES[self.workload],)

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        yield from repeated(self)
        if self.workload in BOTH_WAYS and self.directions:
            yield ("directions",), f"{self.workload} goes both ways; leave directions out"
        largest = min(self.mtu) - UDP_HEADER_BYTES
        if self.workload in DATAGRAMS:
            for at, size in enumerate(self.sizes):
                if size > largest:
                    text = f"found {size}: a datagram in an MTU of {min(self.mtu)} has at most"
                    yield ("message_bytes", at), f"{text} {largest} bytes"


def repeated(value: Value) -> Iterator[Mistake]:
    """Yield what a value's lists have twice: it would be run once, or count twice."""
    for name in type(value).model_fields:
        items = getattr(value, name)
        for at, item in enumerate(items if isinstance(items, tuple) else ()):
            if item in items[:at]:
                yield (name, at), f"the same as {name}[{items.index(item)}]; keep one"


class Suite(Value):
    """A file of ``suites/``.

    ``repetitions`` is boots of the guest in each mode, in virtual time starts of each.
    ``warm_up_s`` is for the wall clock: what trials in virtual time start from is warm.
    """

    modes: Modes = ("passthrough", "vhost", "zerocopy")
    repetitions: Annotated[int, Field(ge=1, le=1000)]
    duration_s: Annotated[float, Field(gt=0, le=3600, description="a time up to 3600 s")]
    warm_up_s: Annotated[int, Field(ge=0, le=600)] = 0
    cells: Annotated[tuple[Cells, ...], Field(min_length=1, description="a list of cells")]

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        yield from repeated(self)


def load_suite(name_or_path: str) -> Suite:
    """Return the suite of ``suites/NAME.yaml``, or of the YAML file at a path.

    Raises ConfigError that lists every mistake with its line.
    """
    path = find(name_or_path, folder=SUITES, kind="suite")
    return parse(Document.read(path, example="suites/compare.yaml"), Suite)


def expand(suite: Suite, lab: Lab, *, seed: int) -> tuple[Part, ...]:
    """Return what a suite is on a lab, in the order to run it; the seed draws that order.

    Boots are numbered through, but in virtual time, where a number is a start.
    """
    lot = random.Random(seed)  # noqa: S311 - an order, not a secret
    parts: list[Part] = []
    for (nic, mtu, offloads), workloads in _by_conditions(suite, lab).items():
        equipped = with_overrides(lab, nic=nic)
        boots = plan(
            equipped,
            modes=suite.modes,
            workloads=workloads,
            repetitions=suite.repetitions,
            mtu=mtu,
            offloads=offloads,
            lot=lot,
            first_boot=sum(len(part.boots) for part in parts),
        )
        parts.append(Part(lab=equipped, mtu=mtu, offloads=offloads, boots=tuple(boots)))
    return tuple(parts)


def _by_conditions(
    suite: Suite, lab: Lab
) -> dict[tuple[NicModel | None, int, Switch], list[Workload]]:
    """Return the workloads by what the lab must be brought up with, each of them once.

    Those of one NIC stand together: they share a lab.
    """
    found: dict[tuple[NicModel | None, int, Switch], list[Workload]] = {}
    for cells in suite.cells:
        workloads = _workloads(cells, suite, lab)
        nics: Sequence[NicModel | None] = cells.nic or (None,)
        for conditions in product(nics, cells.mtu, cells.offloads):
            there = found.setdefault(conditions, [])
            there += [workload for workload in workloads if workload not in there]
    nics = list(dict.fromkeys(nic for nic, _, _ in found))
    return dict(sorted(found.items(), key=lambda item: nics.index(item[0][0])))


def _workloads(cells: Cells, suite: Suite, lab: Lab) -> tuple[Workload, ...]:
    virtual = lab.clock == "virtual"
    return select_workloads(
        names=(cells.workload,),
        directions=cells.directions,
        message_bytes=cells.message_bytes,
        duration_s=suite.duration_s,
        amounts=AMOUNTS if virtual else None,
        streams=cells.streams,
        warm_up_s=0 if virtual else suite.warm_up_s,
    )


def listed(parts: Sequence[Part]) -> Iterator[str]:
    """Yield a line for each trial, in the order in which they run."""
    for part in parts:
        for boot in part.boots:
            for trial in boot.trials:
                dims = trial.dimensions
                yield (
                    f"boot {boot.number:3}  {boot.mode:11}  {trial.workload.label:22}  "
                    f"{dims.nic}, MTU {part.mtu}, offloads {part.offloads}"
                )
