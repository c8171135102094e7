"""What a run finds out: trials and their samples, and what they were made with.

Written to ``results.json`` by zclab.runs.store, read back as strictly as a lab file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from zclab.errors import ParseError
from zclab.model import (
    COMPONENTS,
    Clock,
    Direction,
    ModeName,
    Switch,
    Value,
    WorkloadName,
)
from zclab.outside import Shown

Status = Literal["ok", "refused", "invalid", "failed"]
"""How a trial ended. ``refused``: the mode cannot do it, as the reason says, and that is a result.
"""

BAD: tuple[Status, ...] = ("invalid", "failed")
"""The ends of trials that are no result."""

LARGEST = 1e30
"""Of a figure. Its square, and that of the inverse of the smallest, is a number, too."""


def _figure(value: float) -> float:
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:  # nan is not
        raise ValueError(f"a number, 0 or from {1 / LARGEST:g} to {LARGEST:g} in size")
    return value


Figure = Annotated[float, AfterValidator(_figure)]
"""What can be reckoned with and drawn: no machine does more, or less, of anything."""
Whole = Annotated[int, Field(ge=0, lt=1 << 63)]
Counter = Annotated[int, Field(gt=-(1 << 64), lt=1 << 64)]
"""A counter of a kernel, or how one changed."""


class Dimensions(Value):
    """Everything a figure depends on by design; figures compare only where these are equal.

    ``boot`` tells guest boots apart, in virtual time starts from the state of a booted guest.
    ``duration_s`` and ``warm_up_s`` are seconds, ``amount`` is bytes or transactions.
    """

    mode: ModeName
    workload: WorkloadName
    direction: Direction | None
    message_bytes: Whole
    mtu: Whole
    offloads: Switch
    nic: Shown
    streams: Whole
    duration_s: float
    amount: Whole | None = None
    warm_up_s: Whole = 0
    boot: Whole
    repetition: Whole

    @property
    def identity(self) -> tuple[object, ...]:
        """What a trial and its samples have in common, and no other trial of the run has."""
        return tuple(getattr(self, name) for name in Dimensions.model_fields)

    @property
    def stem(self) -> str:
        """A file's name, without ending, that no other trial of the run has."""
        what = (self.workload, self.direction, self.message_bytes)
        side_by_side = f"x{self.streams}" if self.streams > 1 else None
        where = (side_by_side, self.nic, self.mtu, self.offloads)
        words = (self.mode, self.boot, *what, *where, self.repetition)
        return "-".join(str(word) for word in words if word is not None)


class KnownFrom(Value):
    """The run that measured what is known, and its ISO 8601 date in UTC.

    ``bundle`` is the file by which it came here, where that was another machine.
    """

    run: Shown
    date: Shown
    bundle: Shown | None = None


class Trial(Dimensions):
    """One mode x workload x repetition, and how it ended.

    ``known_from`` is the run that measured it, where that was an earlier one.
    """

    status: Status
    reason: Shown | None = None
    known_from: KnownFrom | None = None
    evidence: dict[Shown, Shown | Counter | Figure | bool | None] = Field(default_factory=dict)


class Sample(Dimensions):
    """One measured value with its unit."""

    metric: str
    value: Figure
    unit: str


class Metric(Value):
    """What can be measured: its name in results, its heading in tables, its unit."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"]


_MIGRATION = (
    Metric(name="migration_gap_ms", title="longest gap", unit="ms", better="lower"),
    Metric(name="migration_downtime_ms", title="QEMU's downtime", unit="ms", better="lower"),
    Metric(name="migration_s", title="migration", unit="s", better="lower"),
    Metric(name="migration_pages", title="pages sent", unit="pages", better="lower"),
    Metric(name="migration_pages_again", title="sent again", unit="pages", better="lower"),
    Metric(name="migration_before_mbps", title="before", unit="Mb/s", better="higher"),
    Metric(name="migration_during_mbps", title="meanwhile", unit="Mb/s", better="higher"),
    Metric(name="migration_after_mbps", title="after", unit="Mb/s", better="higher"),
    Metric(name="migration_zerocopy_ms", title="zero-copy after", unit="ms", better="lower"),
    Metric(name="migration_pinned_pages", title="left pinned", unit="pages", better="lower"),
)
OF_MIGRATIONS = tuple(metric.name for metric in _MIGRATION)
"""What only migrations have. ``gap`` is the longest time between two transactions, ``zerocopy`` the
time from the first transaction on the new host until it sends without copying, ``pinned`` what the
old host keeps of the guest's memory."""

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="throughput_mbps", title="throughput", unit="Mb/s", better="higher"),
        Metric(name="received_mbps", title="received", unit="Mb/s", better="higher"),
        Metric(name="sent_mbps", title="sent", unit="Mb/s", better="higher"),
        Metric(name="beside_mbps", title="stream beside", unit="Mb/s", better="higher"),
        Metric(name="transactions_per_s", title="transactions", unit="1/s", better="higher"),
        Metric(name="latency_mean_us", title="mean latency", unit="us", better="lower"),
        Metric(name="latency_p50_us", title="p50 latency", unit="us", better="lower"),
        Metric(name="latency_p90_us", title="p90 latency", unit="us", better="lower"),
        Metric(name="latency_p99_us", title="p99 latency", unit="us", better="lower"),
        Metric(name="retransmissions", title="retransmitted", unit="segments", better="lower"),
        Metric(name="service_demand_us_per_kb", title="host CPU", unit="us/KB", better="lower"),
        Metric(
            name="service_demand_us_per_transaction",
            title="host CPU",
            unit="us/trans",
            better="lower",
        ),
        Metric(name="copied_bytes_per_payload_byte", title="copied", unit="B/B", better="lower"),
        *_MIGRATION,
        *(
            Metric(name=f"cpu_{role}_s", title=f"{role} CPU", unit="s", better="lower")
            for role in (*COMPONENTS, "idle")
        ),
        *(
            Metric(
                name=f"insns_per_{unit}_{name}",
                title=f"{name} instructions",
                unit=f"1/{short}",
                better="lower",
            )
            for unit, short in (("kb", "KB"), ("transaction", "trans"))
            for name in (*COMPONENTS, "dut", "total")
        ),
    )
}
"""Every metric a sample may have, in the order that tables show them."""


def samples(dimensions: Dimensions, figures: Mapping[str, float]) -> tuple[Sample, ...]:
    """Return one sample for each figure, keyed by the names of METRICS.

    Raises ParseError for a figure that is no Figure: it is none of anything.
    """
    for name, value in figures.items():
        try:
            _figure(value)
        except ValueError as exc:
            raise ParseError(f"{name}: found {value}, allowed: {exc}") from exc
    shared = {name: getattr(dimensions, name) for name in Dimensions.model_fields}
    return tuple(
        Sample(**shared, metric=name, value=value, unit=METRICS[name].unit)
        for name, value in figures.items()
    )


class Resumed(Value):
    """When and by which command a run was gone on with; ``started`` is ISO 8601 in UTC.

    ``retried`` are trials that had failed and were run again: their figures are those of the
    second attempt, and that there was a first stays on record.
    """

    started: Shown
    command: Shown
    retried: tuple[Trial, ...] = ()


class RunInfo(Value):
    """Which run it was; ``started`` is ISO 8601 in UTC, ``seed`` drew the order of a ``suite``.

    ``resumed`` has an entry for each time it was gone on with after it had stopped.
    """

    id: Shown
    started: Shown
    lab: Shown
    clock: Clock
    command: Shown
    suite: Shown | None = None
    seed: int | None = None
    resumed: tuple[Resumed, ...] = ()


class Provenance(Value):
    """What the figures were made with, so that they can be made again.

    ``artifacts`` maps a built thing (kernel, emulator, image) or an input (series, config) to its
    content hash; ``versions`` a program to its version; ``settings`` what all trials have in
    common, by the lab's file or the host's word, such as ``guest_memory_mib``; ``command_lines`` a
    process to its argv.
    """

    cpu_model: Shown = ""
    versions: dict[Shown, Shown] = Field(default_factory=dict)
    artifacts: dict[Shown, Shown] = Field(default_factory=dict)
    settings: dict[Shown, Shown | int | bool] = Field(default_factory=dict)
    command_lines: dict[Shown, Shown] = Field(default_factory=dict)


class Results(Value):
    """All that one run found out: ``results.json``, schema 1."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    run: RunInfo
    provenance: Provenance = Provenance()
    trials: tuple[Trial, ...] = ()
    samples: tuple[Sample, ...] = ()
