"""What a lab calls its own on its host, so that two NICs of one host are two labs.

All of it follows from the PCI address of the NIC under test, of which a host has each once. The
list is also what a lab may delete there: nothing that is not in it is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Literal, get_args

from zclab.host.domain import Management
from zclab.lab.seed import ON_HOST
from zclab.model import Lab, ModeName

RESERVED = IPv4Network("198.18.0.0/15")
"""Management networks between hosts and guests are in it (RFC 2544 keeps it for testing)."""

GUEST_ALIAS = "zclab-guest"
"""What ssh calls the guest of every lab, so no host can be called so."""
GUEST_ADDRESS = "198.18.0.2"
"""A guest's on the management network of an emulated lab."""


Place = Literal["first", "second"]
"""Which of a lab's two hosts a machine is."""
MIGRATION_MACS: dict[Place, str] = {"first": "52:54:00:7a:63:e1", "second": "52:54:00:7a:63:e2"}
"""The addresses of the two NICs between the emulated hosts of a pair."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """The names of one lab on its host.

    ``link`` is for the link that a mode makes, ``netns`` for the peer's network namespace where it
    has one, ``probes`` for the group of its kprobe events. ``host`` is the host's address on the
    management network, ``management`` the guest's interface there.
    """

    link: str
    netns: str | None
    probes: str
    guest_prefix: str
    folder: str
    host: IPv4Interface
    management: Management

    @property
    def bridge(self) -> str:
        """The bridge that the management network is."""
        return self.management.bridge

    @property
    def guest_address(self) -> str:
        """The guest's address on the management network."""
        return self.management.address.partition("/")[0]

    def guest(self, mode: ModeName) -> str:
        """Return the name of the domain in a mode."""
        return f"{self.guest_prefix}{mode}"

    @property
    def guests(self) -> tuple[str, ...]:
        """The names of all domains that the lab ever has."""
        return tuple(self.guest(mode) for mode in get_args(ModeName))


def names_of(lab: Lab) -> Names:
    """Return a lab's names.

    An emulated host is its lab's alone, and in virtual time a name is part of the experiment: it
    has the same ones wherever its NIC is.
    """
    if lab.emulator:
        return _names(
            "0",
            network=IPv4Network("198.18.0.0/24"),
            mac="52:54:00:7a:63:f0",
            netns=lab.peer.netns,
            guest_prefix=f"zclab-{lab.name}-",
            folder=ON_HOST,
        )
    number = number_of(lab.nic)
    suffix, low = f"{number:x}", number & 0xFFFF
    # An address of 16 bits, a network of two addresses for each: no two functions of a PCI segment
    # meet. Those of two segments may; then the NIC is refused (see zclab.host.inuse).
    network = IPv4Network((int(RESERVED.network_address) + 2 * low, 31))
    return _names(
        suffix,
        network=network,
        mac=f"52:54:00:7a:{low >> 8:02x}:{low & 0xFF:02x}",
        netns=f"zclab-{suffix}-{lab.peer.netns}" if lab.peer.netns else None,
        guest_prefix=f"zclab-{suffix}-",
        folder=f"{ON_HOST}/{suffix}",
    )


def number_of(pci: str) -> int:
    """Return a PCI address as the number that the bus knows it by, the segment above 16 bits."""
    segment, bus, rest = pci.split(":")
    slot, function = rest.split(".")
    numbers = (int(segment, 16) << 16, int(bus, 16) << 8, int(slot, 16) << 3, int(function))
    return sum(numbers)


def _names(
    suffix: str,
    *,
    network: IPv4Network,
    mac: str,
    netns: str | None,
    guest_prefix: str,
    folder: str,
) -> Names:
    host, guest = list(network.hosts())[:2]
    management = Management(
        bridge=f"zclab{suffix}", mac=mac, address=f"{guest}/{network.prefixlen}"
    )
    return Names(
        link=f"mp{suffix}",
        netns=netns,
        probes="zclab" if suffix == "0" else f"zclab_{suffix}",
        guest_prefix=guest_prefix,
        folder=folder,
        host=IPv4Interface((host, network.prefixlen)),
        management=management,
    )
