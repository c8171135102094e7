"""What a guest's migration is to libvirt, in values: its device there, and QEMU's figures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from zclab.errors import ParseError

PAGE_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class MigrationStatistics:
    """What QEMU says of a migration: times in ms, memory in pages of PAGE_BYTES.

    ``pages`` were sent, with those of zeros, which cost a few bytes each. What exceeds the guest's
    memory was sent again. ``passes`` is how often all that was dirty was sent.
    """

    downtime_ms: int
    total_ms: int
    pages: int
    pages_again: int
    passes: int


def migration_statistics(found: Mapping[str, object]) -> MigrationStatistics | None:
    """Read what libvirt's job statistics say; None where they are of no migration.

    They look like ``{'time_elapsed': 5302, 'downtime': 71, 'memory_constant': 41000}``. libvirt's
    ``downtime`` is by the clocks of two hosts, which differ; ``downtime_net`` is QEMU's own.
    """
    if "memory_total" not in found or "downtime" not in found:
        return None

    def number(name: str) -> int:
        value = found.get(name, 0)
        if not isinstance(value, int) or value < 0:
            raise ParseError(f"libvirt's statistics of a migration: {name}: found {value!r}")
        return value

    pages = number("memory_constant") + number("memory_normal")
    return MigrationStatistics(
        downtime_ms=number("downtime_net" if "downtime_net" in found else "downtime"),
        total_ms=number("time_elapsed"),
        pages=pages,
        pages_again=max(0, pages - number("memory_total") // PAGE_BYTES),
        passes=number("memory_iteration"),
    )


def with_device(xml: str, device: ET.Element) -> str:
    """Return a domain's XML with ``device`` in place of its interface of the same address."""
    domain = ET.fromstring(xml)  # noqa: S314 - libvirt's
    devices = domain.find("devices")
    mac = device.find("mac")
    wanted = mac.get("address") if mac is not None else None
    for at, old in enumerate(devices if devices is not None else ()):
        address = old.find("mac")
        if devices is None or old.tag != "interface" or address is None:
            continue
        if address.get("address") == wanted:
            new = deepcopy(device)
            if (slot := old.find("address")) is not None:
                new.append(slot)
            devices[at] = new
            return ET.tostring(domain, encoding="unicode")
    return xml
