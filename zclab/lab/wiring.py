"""Which NICs a cable joins, found out by asking through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from zclab.errors import CommandError, LabError
from zclab.host import netdev
from zclab.host.inventory import EthernetNic, Inventory
from zclab.lab import lock
from zclab.lab.session import in_netns, remove_netns
from zclab.model import Network
from zclab.progress import Progress
from zclab.runner import Runner, wait_until

NETNS = "zclab-wiring-"
"""What the namespace of a NIC that is tried is called, with its PCI address behind."""
ANSWER_DEADLINE_S = 5
"""A neighbour that does not answer is one that has failed after three requests, a second each."""

_ASK = 'ip neighbour replace "$1" dev "$0" use'
_LOOK = 'ip neighbour show "$1" dev "$0"'


def find(
    host: Runner,
    here: Inventory,
    peer: Runner,
    there: Inventory,
    progress: Progress,
) -> tuple[EthernetNic, EthernetNic] | None:
    """Return the first two free NICs that are the ends of one cable, None where there are none.

    ``peer`` is ``host`` where both are in one machine. Each pair is tried: the interfaces are set
    up, one asks for the other's address (ARP), and all is undone.
    """
    for nic in here.free:
        for other in there.free:
            same = peer is host and nic.pci == other.pci
            if same or not all(end.netdev and end.link != "no cable" for end in (nic, other)):
                continue
            progress(0, None, f"trying the cable between {nic.pci} and {other.pci}")
            if joined(host, nic, peer, other):
                return nic, other
    return None


def sweep(host: Runner) -> None:
    """Give back the NICs of a search that was killed; one that goes on keeps its own."""
    for name in host.run(("ls", "/run/netns"), check=False).stdout.split():
        if name.startswith(NETNS):
            with suppress(LabError), lock.held(host, (name.removeprefix(NETNS),)):
                remove_netns(host, name)


def joined(host: Runner, nic: EthernetNic, peer: Runner, other: EthernetNic) -> bool:
    """Tell whether a frame that one NIC sends arrives at the other, and its answer comes back."""
    network = Network()
    with ExitStack() as undo:
        undo.enter_context(lock.held(host, (nic.pci, *((other.pci,) if peer is host else ()))))
        if peer is not host:
            undo.enter_context(lock.held(peer, (other.pci,)))
        for runner, one in ((host, nic), (peer, other)):
            undo.enter_context(_state_kept(runner, one.netdev))
        far: Runner = peer
        if peer is host:  # which would answer itself otherwise
            far = undo.enter_context(in_netns(peer, NETNS + other.pci, other.netdev))
        ends = ((far, other.netdev, network.peer), (host, nic.netdev, network.guest))
        for runner, name, address in ends:
            runner.run(("ip", "address", "add", address, "dev", name))
            remove = ("ip", "address", "delete", address, "dev", name)
            undo.callback(runner.run, remove, check=False)
            netdev.set_up(runner, name)
        try:
            for runner, name, _ in ends:
                netdev.wait_for_carrier(runner, name)
        except CommandError:
            return False
        return _answers(host, nic.netdev, network.peer_ip, other.mac)


@contextmanager
def _state_kept(runner: Runner, name: str) -> Iterator[None]:
    """Have an interface up or down at the end as it is now."""
    state = "up" if netdev.is_up(runner, name) else "down"
    try:
        yield
    finally:
        runner.run(("ip", "link", "set", name, state), check=False)


def _answers(runner: Runner, name: str, address: str, mac: str) -> bool:
    """Tell whether the neighbour that has an address has this MAC address, too."""
    runner.run(("sh", "-c", _ASK, name, address))
    said = ""

    def is_known() -> bool:
        nonlocal said
        said = runner.run(("sh", "-c", _LOOK, name, address), check=False).stdout
        return "lladdr" in said or "FAILED" in said

    try:
        wait_until(is_known, what="an answer to ARP", deadline_s=ANSWER_DEADLINE_S)
    except CommandError:
        return False
    return f"lladdr {mac} " in f"{said} "
