"""Whether a lab's NICs are free to take, asked before the first change to a host."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Interface

from zclab.errors import LabError
from zclab.host import inuse, nicfacts
from zclab.lab.names import Names
from zclab.model import Lab
from zclab.runner import Runner


def check(
    lab: Lab,
    names: Names,
    host: Runner,
    peer: Runner,
    *,
    guest_links: Collection[str],
    force: bool,
) -> None:
    """Raise LabError with everything that a lab's two NICs carry and that is not zclab's.

    ``peer`` is the machine that has the peer's NIC. ``guest_links`` are those of the lab's own
    guests, which an interrupted run has left. ``force`` takes a NIC all the same, but for one that
    these very connections came by.
    """
    if peer is host:
        facts = nicfacts.gather(host, (lab.nic, lab.peer.nic))
        ends = ((host, facts, lab.nic), (host, facts, lab.peer.nic))
    else:
        ends = (
            (host, nicfacts.gather(host, (lab.nic,)), lab.nic),
            (peer, nicfacts.gather(peer, (lab.peer.nic,)), lab.peer.nic),
        )
    ours = (_ours_on_host(names, guest_links), _ours_at_peer(lab, names))
    _refuse(tuple((*end, of_end) for end, of_end in zip(ends, ours, strict=True)), force=force)


def check_second(
    nic: str, names: Names, host: Runner, *, guest_links: Collection[str], force: bool
) -> None:
    """Do for the NIC of a second host what check() does for those of a lab with one."""
    facts = nicfacts.gather(host, (nic,))
    _refuse(((host, facts, nic, _ours_on_host(names, guest_links)),), force=force)


def _refuse(
    ends: Collection[tuple[Runner, nicfacts.Facts, str, inuse.Ours]], *, force: bool
) -> None:
    """Raise LabError with what NICs carry that is not ours, if that is anything."""
    found = [
        (f"{runner.where}: NIC {pci}: {one.text}", one.final)
        for runner, facts, pci, ours in ends
        for one in inuse.objections(facts.nics[pci], facts, ours)
    ]
    lines = [text for text, final in found if final or not force]
    if not lines:
        return
    remedy = (
        "give the lab unused NICs, or remove these uses, also from the network manager "
        "(NetworkManager, systemd-networkd)"
    )
    if not any(final for _, final in found):
        remedy += "; --force takes them nevertheless and does not restore their uses"
    refused = "the lab's NICs are not free; nothing was changed:"
    raise LabError("\n".join(("\n  ".join((refused, *lines)), remedy)))


def _ours_on_host(names: Names, guest_links: Collection[str]) -> inuse.Ours:
    return inuse.Ours(
        links=(names.bridge, names.link, *guest_links),
        guests=names.guests,
        networks=(str(names.host.network),),
    )


def _ours_at_peer(lab: Lab, names: Names) -> inuse.Ours:
    """Return what the peer's NIC may have; in a namespace of its own nothing else is in its way."""
    beside = lab.peer.endpoint is not None or names.netns is None
    return inuse.Ours(
        netns=None if lab.peer.endpoint else names.netns,
        addresses=(lab.network.peer,),
        networks=(str(IPv4Interface(lab.network.peer).network),) if beside else (),
    )
