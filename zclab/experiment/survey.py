"""What hosts have of what a lab needs, and a lab file for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from zclab.build.progress import shown
from zclab.documents import draft
from zclab.documents.yaml import shown_path
from zclab.errors import ConfigError, LabError, ZclabError
from zclab.host import inventory
from zclab.host.finding import Finding, failed, render
from zclab.host.inventory import EthernetNic, Inventory
from zclab.lab import lifecycle, ssh, wiring
from zclab.model import Endpoint, Lab
from zclab.report.output import say
from zclab.runner import Runner


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """The machines to look at: the host under test, and the one that has the peer's NIC.

    ``peer`` is None where that is the host, too. ``nic`` and ``peer_nic`` are what a lab file says.
    """

    host: Endpoint
    peer: Endpoint | None = None
    nic: str = ""
    peer_nic: str = ""

    @classmethod
    def of(cls, lab: Lab | None, host: str, peer: str) -> Self | None:
        """Return the machines of the options; None where they name none that exist already."""
        if lab and (host or peer):
            raise ConfigError("--host and --peer: not allowed with --lab; its file names the hosts")
        if peer and not host:
            raise ConfigError("--peer: needs --host: the peer is the other end of its cable")
        if lab:
            if lab.host is None:
                return None
            here, there = lab.host, lab.peer.endpoint
            return cls(host=here, peer=there, nic=lab.nic, peer_nic=lab.peer.nic)
        if not host:
            return None
        return cls(host=_endpoint("--host", host), peer=_endpoint("--peer", peer) if peer else None)


def _endpoint(option: str, text: str) -> Endpoint:
    """Return where a host is by what one says to ssh: an address or alias, with a user or not."""
    user, _, address = text.rpartition("@")
    try:
        return Endpoint(address=address, user=user or None)
    except ValidationError as exc:
        allowed = "a host as in `ssh HOST`: an alias, a name or an address, USER@ before it or not"
        raise ConfigError(f"{option}: found '{text}', allowed: {allowed}") from exc


def report(machine: Sequence[Finding], hosts: Hosts, *, name: str) -> None:
    """Print what this machine and the hosts have, and their NICs; with ``name`` write a lab file.

    Raises LabError where something is lacking, or no two free NICs are joined by a cable.
    """
    path = draft.place(name) if name else None
    with ExitStack() as stack:
        try:
            host = stack.enter_context(ssh.reached(hosts.host, "host"))
            peer = stack.enter_context(ssh.reached(hosts.peer, "peer")) if hosts.peer else host
            if path:
                wiring.sweep(host)
            here = inventory.take(host)
            there = inventory.take(peer) if hosts.peer else here
            ends = (hosts.nic or _first(here.free), hosts.peer_nic or _first(there.free))
            asked = lifecycle.requirements_at(host, ends[0], peer, ends[1])
            # Where no NIC is free the list below says why.
            asked = tuple(one for one in asked if all(ends) or not one.name.endswith(": nic"))
            findings = (*machine, *asked)
        except ZclabError as exc:
            lost = Finding(status="fail", name="hosts", detail=str(exc))
            say(render((*machine, lost)))
            raise LabError("a host cannot be asked; see FAIL above") from exc
        say(render(findings))
        for one in (here, there) if hosts.peer else (here,):
            say(f"\n{inventory.render(one)}")
        if path:
            _write(path, hosts, (host, here), (peer, there))
    if failed(findings):
        raise LabError("this machine or a host lacks something; each FAIL says what to do")


def _write(
    path: Path, hosts: Hosts, host: tuple[Runner, Inventory], peer: tuple[Runner, Inventory]
) -> None:
    """Find two NICs that a cable joins, and write a lab file for them."""
    with shown("doctor") as progress:
        ends = wiring.find(*host, *peer, progress)
    if not ends:
        raise LabError(_unwired(host[1], peer[1]))
    lab = draft.write(path, host=hosts.host, peer=hosts.peer, ends=ends, here=host[1])
    say(f"\nwrote {shown_path(path)}: a cable joins {ends[0].pci} and {ends[1].pci}")
    say(f"next: invoke run-bench --lab {lab.name}")


def _first(nics: Sequence[EthernetNic]) -> str:
    return nics[0].pci if nics else ""


def _unwired(here: Inventory, there: Inventory) -> str:
    free = {one.where: ", ".join(nic.pci for nic in one.free) or "none" for one in (here, there)}
    listed = "; ".join(f"free NICs of {where}: {pcis}" for where, pcis in free.items())
    return (
        f"no two free NICs are joined by a cable; {listed}. Free NICs in both machines, plug in a "
        "cable, or name the machine at its other end with --peer"
    )
