"""Which addresses the two ends of the cable can have."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

TAKEN = (
    (IPv4Network("198.18.0.0/15"), "zclab's own management networks"),
    (IPv4Network("127.0.0.0/8"), "which is loopback"),
    (IPv4Network("0.0.0.0/8"), "which is no network"),
    (IPv4Network("224.0.0.0/3"), "which is multicast, broadcast and reserved"),
)
"""What the cable's network must not overlap."""

TWO = 2
"""A network of two addresses (RFC 3021) has none for itself and none for broadcast."""


def unusable(interface: IPv4Interface) -> str:
    """Return why an end of the cable cannot have an address; nothing if it can."""
    network, address = interface.network, interface.ip
    for taken, what in TAKEN:
        if network.overlaps(taken):
            return f"overlaps {taken}, {what}; choose another network"
    if network.num_addresses < TWO:
        return "a network of one address has no room for two; /30 has"
    choice = f"choose from {network[1]} to {network[-2]}"
    if network.num_addresses > TWO and address == network.network_address:
        return f"the address of the network itself; {choice}"
    if network.num_addresses > TWO and address == network.broadcast_address:
        return f"the network's broadcast address; {choice}"
    return ""
