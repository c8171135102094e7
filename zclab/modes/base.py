"""What a mode is: a way to give a guest the NIC under test, and the proof that it was in effect.

The requested mode is not the effective mode until counters say so, and where they contradict it
the trial is invalid.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from zclab.host.guest import GuestNic
from zclab.lab.session import Session
from zclab.model import ModeName, Workload

Facts = dict[str, str | int | float | bool | None]
Counters = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A NIC made ready for a guest.

    ``device`` is the guest's device in libvirt's XML; ``nic`` is the host's interface that the
    guest's traffic passes, None where the guest has the hardware itself.
    """

    device: ET.Element
    nic: str | None


@dataclass(frozen=True, kw_only=True)
class NicWrites:
    """What the NIC wrote while a guest received, by the NIC's own word.

    ``to_guest_bytes`` are those that it wrote to the guest's memory itself, ``before`` and
    ``after`` the mode's counters at the edges of that time.
    """

    to_guest_bytes: int
    before: Counters
    after: Counters


def grown(before: Counters, after: Counters, name: str) -> int:
    """Return by how much a counter grew."""
    return after.get(name, 0) - before.get(name, 0)


@dataclass(frozen=True, kw_only=True)
class Window:
    """What was observed around and during one trial.

    ``before`` and ``after`` are the mode's own counters at its edges, ``copies`` what the copy
    probe saw in a transfer right after it, and ``nic_writes`` what the NIC did in that transfer.
    ``transactions`` is None for a stream.
    """

    workload: Workload
    before: Counters
    after: Counters
    peer_bytes: int
    payload_bytes: int
    transactions: int | None
    copies: Counters
    nic_writes: NicWrites | None = None

    def grown(self, name: str) -> int:
        """Return by how much a counter grew over the trial."""
        return grown(self.before, self.after, name)


@dataclass(kw_only=True)
class Evidence:
    """Facts that show which mode was in effect, and what contradicts the requested one."""

    facts: Facts = field(default_factory=dict)
    contradictions: list[str] = field(default_factory=list)

    def expect(self, name: str, found: str | int | bool | None, wanted: object) -> None:
        """Record a fact, and a contradiction where it is not what the mode implies."""
        self.facts[name] = found
        if found != wanted:
            self.contradictions.append(f"{name} is {found}, not {wanted}")

    def expect_growth(self, name: str, growth: int) -> None:
        """Record by how much a counter grew, and a contradiction where it did not."""
        self.facts[name] = growth
        if growth <= 0:
            self.contradictions.append(f"{name} did not grow")


class Mode(Protocol):
    """One way to back the guest's NIC.

    ``migrates`` says whether a guest can be taken to another host; where not, that libvirt refuses
    to is what a trial of it finds.
    """

    name: ModeName
    migrates: bool

    def attach(self, session: Session) -> AbstractContextManager[Attachment]:
        """Make the NIC ready for a guest; everything is undone at the end, also on failure."""
        ...

    def counters(self, session: Session) -> Counters:
        """Read the counters that tell this mode from the others."""
        ...

    def evidence(self, session: Session, nic: GuestNic, window: Window) -> Evidence:
        """Say what shows that the mode was in effect during a trial."""
        ...


def peer_saw_it(evidence: Evidence, window: Window) -> None:
    """Check that the payload crossed the peer's NIC, and did not take some short cut."""
    evidence.facts["peer_nic_bytes"] = window.peer_bytes
    if window.peer_bytes < window.payload_bytes:
        evidence.contradictions.append(
            f"the peer's NIC moved {window.peer_bytes} bytes, less than the payload of "
            f"{window.payload_bytes}"
        )
