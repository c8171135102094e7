"""Gates: which figures are judged, and from how large a difference on one matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, get_args

from pydantic import AfterValidator, Field

from zclab.documents.strict import find, parse
from zclab.documents.yaml import Document
from zclab.model import (
    BOTH_WAYS,
    MIGRATE,
    TRANSACTIONS,
    Clock,
    Direction,
    Mistake,
    ModeName,
    Value,
    WorkloadName,
)
from zclab.runs.results import METRICS, OF_MIGRATIONS, Dimensions

GATES = Path(__file__).resolve().parents[2] / "gates"


def _known_metric(name: str) -> str:
    if name not in METRICS:
        raise ValueError(name)
    return name


MetricName = Annotated[str, AfterValidator(_known_metric), Field(description=", ".join(METRICS))]
Percent = Annotated[
    float, Field(gt=0, le=100, description="a percentage above 0 and not above 100")
]
Share = Annotated[float, Field(gt=0, lt=1, description="a number between 0 and 1")]
Place = tuple[ModeName, WorkloadName, Direction | None]
Floor = Annotated[float, Field(ge=0, description="a number in the metric's unit, 0 or more")]


_MEASURED_IN: Mapping[str, tuple[WorkloadName, ...]] = {
    "throughput_mbps": ("TCP_STREAM",),
    "retransmissions": ("TCP_STREAM", "TCP_RR", "TCP_RR_LOADED", MIGRATE),
    "beside_mbps": ("TCP_RR_LOADED",),
    "received_mbps": ("UDP_STREAM",),
    "sent_mbps": ("UDP_STREAM",),
    **dict.fromkeys(OF_MIGRATIONS, (MIGRATE,)),
}


def _of_transactions(metric: str) -> bool:
    return "transaction" in metric or metric.startswith("latency_") or metric == "beside_mbps"


def measured_in(metric: str) -> tuple[WorkloadName, ...]:
    """Return the workloads that have a metric."""
    streams: tuple[WorkloadName, ...] = ("TCP_STREAM", "UDP_STREAM")
    if metric in _MEASURED_IN:
        return _MEASURED_IN[metric]
    if "per_kb" in metric or metric == "copied_bytes_per_payload_byte":
        return streams
    if _of_transactions(metric):
        return TRANSACTIONS
    return (*streams, *TRANSACTIONS)


class Gate(Value):
    """A metric, the smallest difference that matters, and where the gate stands.

    A difference must be as large as both minimum effects: the relative one, and the absolute one
    in the metric's unit, which keeps a large share of next to nothing from counting.
    """

    metric: MetricName
    min_effect_percent: Percent
    min_effect: Floor = 0.0
    mode: ModeName | None = None
    workload: WorkloadName | None = None
    direction: Direction | None = None

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        if self.workload in BOTH_WAYS and self.direction:
            yield ("direction",), f"{self.workload} goes both ways; leave direction out"
        elif self.direction and _of_transactions(self.metric):
            text = f"only {', '.join(TRANSACTIONS)} have {self.metric}, and they go both ways"
            yield ("direction",), f"{text}; leave direction out"
        if self.workload and self.workload not in measured_in(self.metric):
            text = f"{self.workload} has no {self.metric}; allowed with it: "
            yield ("workload",), f"{text}{', '.join(measured_in(self.metric))}"

    @property
    def places(self) -> frozenset[Place]:
        """Every mode, workload and direction that this gate fits."""
        return frozenset(
            (mode, workload, direction)
            for mode in get_args(ModeName)
            for workload in measured_in(self.metric)
            for direction in ((None,) if workload in BOTH_WAYS else get_args(Direction))
            if self.mode in {None, mode}
            and self.workload in {None, workload}
            and self.direction in {None, direction}
        )

    def fits(self, dimensions: Dimensions, mode: ModeName, metric: str) -> bool:
        """Tell whether this gate judges a metric of a mode in a cell."""
        return (
            self.metric == metric
            and self.mode in {None, mode}
            and self.workload in {None, dimensions.workload}
            and self.direction in {None, dimensions.direction}
        )


class Gates(Value):
    """A file of ``gates/``; ``significance`` is of the whole comparison, not of each figure."""

    significance: Share = 0.05
    gates: Annotated[tuple[Gate, ...], Field(min_length=1, description="a list of gates")]

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        for at, gate in enumerate(self.gates):
            before = {
                f"gates[{earlier}]": first.places & gate.places
                for earlier, first in enumerate(self.gates[:at])
                if first.metric == gate.metric and first.places & gate.places
            }
            whole = [name for name, places in before.items() if places == gate.places][:1]
            # A gate without places has said in its own contradictions why.
            if gate.places and gate.places == frozenset[Place]().union(*before.values()):
                verbs = ("fits", "stands") if whole else ("together fit", "stand")
                text = f"judges nothing: {' and '.join(whole or before)} {verbs[0]} all that"
                yield ("gates", at), f"{text} this one does, and {verbs[1]} before it"

    def gate(self, dimensions: Dimensions, mode: ModeName, metric: str) -> Gate | None:
        """Return the first gate that fits, None for a figure that is not judged."""
        fitting = (gate for gate in self.gates if gate.fits(dimensions, mode, metric))
        return next(fitting, None)


def load_gates(name_or_path: str) -> Gates:
    """Return the gates of ``gates/NAME.yaml``, or of the YAML file at a path.

    Raises ConfigError that lists every mistake with its line.
    """
    path = find(name_or_path, folder=GATES, kind="gate")
    return parse(Document.read(path, example="gates/wall.yaml"), Gates)


def default_gates(clock: Clock) -> Gates:
    """Return the gates for figures of a clock."""
    return load_gates(clock)
