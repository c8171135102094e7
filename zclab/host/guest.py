"""A running guest from within: its interface under test, and what it says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zclab.errors import CommandError, DomainError, ParseError
from zclab.host import netdev
from zclab.model import Network, Switch
from zclab.outside import quoted
from zclab.runner import Runner, read_text

_ADDRESS = re.compile(r"^(\S+) ([0-9a-f]{2}(?::[0-9a-f]{2}){5})$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class GuestNic:
    """The guest's interface under test, as the guest sees it.

    ``virtio_features`` are those that were negotiated, as a hexadecimal number; None where the
    interface is no virtio device. ``receive_queues`` is how many it uses.
    """

    name: str
    driver: str
    virtio_features: str | None
    receive_queues: int


def find_nic(guest: Runner, mac: str) -> GuestNic:
    """Return the guest's interface that has the address ``mac``."""
    script = 'for n in /sys/class/net/*; do echo "${n##*/} $(cat $n/address)"; done'
    addresses = parse_addresses(guest.run(("sh", "-c", script)).stdout)
    if mac not in addresses:
        raise DomainError(f"the guest has no interface with address {mac}, only {addresses}")
    name = addresses[mac]
    driver = guest.run(("readlink", f"/sys/class/net/{name}/device/driver")).stdout.strip()
    features = None
    if driver.endswith("/virtio_net"):
        bits = read_text(guest, f"/sys/class/net/{name}/device/features").strip()
        features = features_from_bits(bits)
    queues = guest.run(("ls", f"/sys/class/net/{name}/queues")).stdout.split()
    return GuestNic(
        name=name,
        driver=driver.rpartition("/")[2],
        virtio_features=features,
        receive_queues=sum(queue.startswith("rx-") for queue in queues),
    )


def parse_addresses(text: str) -> dict[str, str]:
    """Return names by addresses in lines such as ``eth0 52:54:00:7a:63:01``.

    Not all that is in /sys/class/net is an interface with such an address: ``bonding_masters`` is a
    file, a tunnel's address is none of Ethernet.
    """
    return {address: name for name, address in _ADDRESS.findall(text)}


def features_from_bits(bits: str) -> str:
    """Turn sysfs's string of bits, bit 0 first, into a hexadecimal number: ``0110`` is ``0x6``."""
    if not re.fullmatch(r"[01]{1,128}", bits):
        raise ParseError(f"the guest's virtio features: found {quoted(bits)}, allowed: bits")
    return hex(int(bits[::-1], 2))


def configure(
    guest: Runner,
    nic: GuestNic,
    network: Network,
    *,
    mtu: int,
    offloads: Switch,
    rx_usecs: int | None,
) -> None:
    """Give the guest's interface its address, MTU and offloads, and wait until the peer answers.

    Where that is hardware, its interrupts are moderated like those of the host's NICs
    (``rx_usecs``, see netdev.set_rx_usecs).
    """
    guest.run(("ip", "address", "add", network.guest, "dev", nic.name))
    netdev.set_up(guest, nic.name, mtu=mtu)
    netdev.set_offloads(guest, nic.name, offloads)
    if rx_usecs is not None and nic.virtio_features is None:
        netdev.set_rx_usecs(guest, nic.name, rx_usecs)
    try:
        guest.run(("ping", "-c", "1", "-w", "20", network.peer_ip))
    except CommandError as exc:
        raise DomainError(f"the guest does not reach the peer at {network.peer_ip}: {exc}") from exc
