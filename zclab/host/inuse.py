"""What speaks against taking a NIC: a real host has uses of its own for one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_interface, ip_network

from zclab.host.nicfacts import Facts, Nic


@dataclass(frozen=True, kw_only=True)
class Ours:
    """What may be found, because zclab left it.

    The NIC may be in ``netns``, carry ``links`` and have ``addresses``, and ``guests`` may have it.
    ``networks`` are those that nothing else on the host may be in.
    """

    netns: str | None = None
    links: Collection[str] = ()
    addresses: Collection[str] = ()
    guests: Collection[str] = ()
    networks: Collection[str] = ()


@dataclass(frozen=True, kw_only=True)
class Objection:
    """What speaks against taking a NIC; ``final`` where no wish of the user's outweighs it."""

    text: str
    final: bool = False


def objections(nic: Nic, facts: Facts, ours: Ours) -> tuple[Objection, ...]:
    """Say what speaks against taking a NIC; empty where it carries nothing but what is ours."""
    if not nic.exists:
        return (Objection(text="there is no such PCI function; see `lspci -D`", final=True),)
    above = _above(nic, facts, ours)
    texts = [
        *(text for name in above for text in _of_link(name, nic, facts, ours)),
        *(
            f"the default route goes through {name}"
            for name in above
            if name in facts.default_routes
        ),
        *_of_function(nic, facts, ours),
        *_overlaps(facts, ours, above),
    ]
    return (*(Objection(text=text) for text in texts), *_connection(facts, above))


def _above(nic: Nic, facts: Facts, ours: Ours) -> tuple[str, ...]:
    """Return a function's interfaces and all that stand on them, in the order of layers."""
    found = list(nic.netdevs)
    for name in found:  # which grows meanwhile
        masters = {link.master for link in facts.links if link.ifname == name}
        for link in facts.links:
            on_it = name in link.below or link.ifname in masters
            if on_it and link.ifname not in (*found, *ours.links):
                found.append(link.ifname)
    return tuple(found)


def _of_link(name: str, nic: Nic, facts: Facts, ours: Ours) -> Iterator[str]:
    """Yield what is wrong about one of the interfaces that are the NIC's or stand on it."""
    for link in facts.links:
        if link.ifname != name:
            continue
        for below in link.below if name not in nic.netdevs else ():
            yield f"{link.kind} {name} is on {below}"
        if link.master:
            kinds = [one.kind for one in facts.links if one.ifname == link.master]
            yield f"{name} is a port of {' '.join((*kinds[:1], link.master))}"
        if link.has_xdp:
            yield f"{name} has an XDP program"
        for address in link.addresses:
            if address not in ours.addresses:
                yield f"{name} has address {address}"


def _of_function(nic: Nic, facts: Facts, ours: Ours) -> Iterator[str]:
    """Yield what is wrong about the function itself."""
    if not nic.netdevs and nic.driver not in {"", "vfio-pci"} and ours.netns not in facts.netns:
        yield (
            f"it has no interface here: its driver {nic.driver} made none, or another network "
            "namespace has it"
        )
    for name, traffic in nic.traffic:
        if traffic.qdiscs:
            kinds = ", ".join(traffic.qdiscs)
            yield (
                f"{name} has a qdisc of its own ({kinds}), which holds or drops frames; see "
                f"`tc qdisc show dev {name}`"
            )
        if traffic.filters:
            kinds = ", ".join(traffic.filters)
            yield (
                f"{name} has tc filters ({kinds}), which take or change frames; see "
                f"`tc filter show dev {name} ingress`, and egress"
            )
    for rule in nic.rules:
        number, _, name = rule.partition(" ")
        yield f"{name} sorts received frames by {number} rules; see `ethtool --show-ntuple {name}`"
    for name in nic.wireless:
        yield f"{name} is wireless: it has one MAC address, and a guest cannot have its own"
    if nic.functions:
        yield f"it has {nic.functions} virtual functions; they disappear when its driver is unbound"
    for user in nic.users:
        if not any(f"guest={guest}," in user for guest in ours.guests):
            pid, _, command = user.partition(" ")
            yield f"process {pid} has it by VFIO: {command[:80]}"


def _overlaps(facts: Facts, ours: Ours, above: Collection[str]) -> Iterator[str]:
    """Yield which other interfaces are in the networks that zclab is going to use."""
    for link in facts.links:
        if link.ifname in above or link.ifname in ours.links:
            continue
        for address in link.addresses:
            for network in ours.networks:
                if _overlap(address, network):
                    yield f"{link.ifname} has address {address} of the lab's network {network}"


def _overlap(address: str, network: str) -> bool:
    try:
        other, ours = ip_interface(address).network, ip_network(network, strict=False)
    except ValueError:
        return False
    return isinstance(other, IPv4Network) and isinstance(ours, IPv4Network) and other.overlaps(ours)


def _connection(facts: Facts, above: Collection[str]) -> Iterator[Objection]:
    """Yield how this connection hangs on the NIC."""
    came_to = _address(facts.came_to)
    for link in facts.links:
        theirs = {_address(one.local) for one in link.addr_info}
        if link.ifname in above and came_to and came_to in theirs:
            yield Objection(text=f"this SSH connection came in by {link.ifname}", final=True)
    for name in above:
        if name in facts.goes_back:
            yield Objection(text=f"this SSH connection goes back by {name}", final=True)
    # An Open vSwitch does not tell ip which of its ports are connected.
    for link in facts.links:
        if facts.came_to and link.ifname in above and link.kind == "openvswitch":
            text = f"this SSH connection may come in by the switch of {link.ifname}"
            yield Objection(text=text, final=True)


def _address(text: str) -> str:
    """Return an address as it is always written: ``::ffff:192.0.2.7`` is ``192.0.2.7``."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address)
