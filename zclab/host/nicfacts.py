"""What a host says of its network and of a NIC, asked in one command.

On an emulated host every command costs a tenth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from zclab.errors import ParseError
from zclab.host import qdiscs
from zclab.runner import Runner

# sudo keeps no SSH_CONNECTION; the processes that it was started by have it.
_FACTS = (
    qdiscs.ASK
    + r"""
export LC_ALL=C
begin() { echo "== $1"; }
came_by() {
    [ -z "$SSH_CONNECTION" ] || { echo "$SSH_CONNECTION"; return; }
    pid=$PPID
    while [ "${pid:-0}" -gt 1 ]; do
        said=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p')
        [ -z "$said" ] || { echo "$said"; return; }
        pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
    done
}
begin ssh; said=$(came_by); echo "$said"
begin back; [ -z "$said" ] || ip -json route get "${said%% *}" 2>/dev/null
begin netns; ls /run/netns 2>/dev/null
begin links; ip -json -details address show
begin routes4; ip -json -4 route show table all default
begin routes6; ip -json -6 route show table all default 2>/dev/null
for nic; do
    pci=/sys/bus/pci/devices/$nic
    begin "$nic"
    [ -e "$pci" ] || continue
    echo there
    driver=$(readlink "$pci/driver"); echo "driver ${driver##*/}"
    for dev in "$pci"/net/* "$pci"/virtio*/net/*; do
        [ -e "$dev" ] || continue
        echo "netdev ${dev##*/}"
        [ ! -e "$dev/phy80211" ] || echo "wireless ${dev##*/}"
        ethtool --show-ntuple "${dev##*/}" 2>/dev/null |
            sed -n "s/^Total \([1-9][0-9]*\) rules$/rules \1 ${dev##*/}/p"
    done
    [ ! -e "$pci/sriov_numvfs" ] || echo "functions $(cat "$pci/sriov_numvfs")"
    [ "${driver##*/}" = vfio-pci ] || continue
    group=$(readlink "$pci/iommu_group")
    device=$(ls "$pci/vfio-dev" 2>/dev/null)
    find /proc/[0-9]*/fd \( -lname "/dev/vfio/${group##*/}" \
        -o -lname "/dev/vfio/devices/${device:-none}" \) 2>/dev/null | while read -r fd; do
        pid=${fd#/proc/}; pid=${pid%%/*}
        echo "user $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
    done
done
for nic; do
    for dev in "/sys/bus/pci/devices/$nic"/net/* "/sys/bus/pci/devices/$nic"/virtio*/net/*; do
        [ ! -e "$dev" ] || traffic "${dev##*/}"
    done
done
begin end
"""
)
_SSH_WORDS = 4
"""SSH_CONNECTION: the client's address and port, then the server's."""
_SECTIONS = ("ssh", "back", "netns", "links", "routes4", "routes6", "end")
_BEGIN = re.compile(r"^== (\S+)$", re.MULTILINE)


class _Told(BaseModel):
    """What is used of an object of iproute2's; there is more in it."""

    model_config = ConfigDict(frozen=True, strict=True)


class _Address(_Told):
    local: str = ""
    prefixlen: int = 0
    scope: str = ""


class _Data(_Told):
    """What interfaces stand on that have no ``link``: a tunnel, and the two ports of an HSR."""

    link: str | None = None
    slave1: str | None = None
    slave2: str | None = None


class _Info(_Told):
    info_kind: str = ""
    info_data: _Data = _Data()


class _Xdp(_Told):
    mode: int = 0


class Link(_Told):
    """A network interface: ``link`` is the one below it, ``master`` the one it is a port of."""

    ifname: str = ""
    link: str | None = None
    master: str | None = None
    linkinfo: _Info = _Info()
    xdp: _Xdp = _Xdp()
    addr_info: tuple[_Address, ...] = ()

    @property
    def kind(self) -> str:
        """What it is, such as ``vlan``."""
        return self.linkinfo.info_kind or "interface"

    @property
    def below(self) -> tuple[str, ...]:
        """The interfaces that it stands on."""
        data = self.linkinfo.info_data
        return tuple(name for name in (self.link, data.link, data.slave1, data.slave2) if name)

    @property
    def has_xdp(self) -> bool:
        """Whether an XDP program gets what comes in by it."""
        return self.xdp.mode != 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses as ``192.0.2.7/24``, but for those of IPv6 that every interface has."""
        return tuple(
            f"{one.local}/{one.prefixlen}"
            for one in self.addr_info
            if one.local and not one.local.lower().startswith("fe80:")
        )


class _Route(_Told):
    dev: str = ""
    nexthops: tuple[_Route, ...] = ()

    @property
    def devices(self) -> set[str]:
        return {self.dev, *(hop.dev for hop in self.nexthops)} - {""}


_T = TypeVar("_T")
_LINKS = TypeAdapter(tuple[Link, ...])
_ROUTES = TypeAdapter(tuple[_Route, ...])


@dataclass(frozen=True, kw_only=True)
class Nic:
    """What a host says of a PCI function.

    ``netdevs`` are its interfaces, ``traffic`` what tc says of each, ``rules`` those that it sorts
    received frames by, ``functions`` the number of its virtual functions, ``users`` the processes
    that have it by VFIO, each with its command.
    """

    pci: str
    exists: bool
    driver: str = ""
    netdevs: tuple[str, ...] = ()
    traffic: tuple[tuple[str, qdiscs.Traffic], ...] = ()
    rules: tuple[str, ...] = ()
    wireless: tuple[str, ...] = ()
    functions: int = 0
    users: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a host says of its network and of some PCI functions.

    ``came_to`` is the address that this SSH connection came to, empty where it is none, and
    ``goes_back`` has the interfaces that its answers take.
    """

    nics: Mapping[str, Nic]
    came_to: str
    goes_back: frozenset[str]
    netns: tuple[str, ...]
    links: tuple[Link, ...]
    default_routes: frozenset[str]


def gather(runner: Runner, nics: Sequence[str]) -> Facts:
    """Ask a host for the facts about its network and PCI functions; nothing is changed."""
    text = runner.run(("sh", "-c", _FACTS, "facts", *nics), check=False).stdout
    try:
        return parse(nics, text)
    except ParseError as exc:
        raise ParseError(f"{runner.where}: {exc}") from exc


def parse(nics: Sequence[str], text: str) -> Facts:
    """Return the facts in the output of gather()'s script: sections below ``== NAME`` each."""
    parts = _BEGIN.split(text)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if missing := [name for name in (*_SECTIONS, *nics) if name not in found]:
        last = text.strip()[-200:]
        raise ParseError(f"the network: nothing about {', '.join(missing)}; the end is {last!r}")
    functions = {pci: _nic(pci, found) for pci in nics}
    links = tuple(link for link in _parsed(_LINKS, "links", found["links"]) if link.ifname)
    _require_all(links, functions.values())
    words = found["ssh"].split()
    back, *defaults = (
        _parsed(_ROUTES, name, found[name]) for name in ("back", "routes4", "routes6")
    )
    return Facts(
        nics=functions,
        came_to=words[2] if len(words) == _SSH_WORDS else "",
        goes_back=_devices(back),
        netns=tuple(found["netns"].split()),
        links=links,
        default_routes=_devices(route for routes in defaults for route in routes),
    )


def _require_all(links: Iterable[Link], nics: Iterable[Nic]) -> None:
    """Reject what ip says if it leaves out what must be there: a NIC in use would look free."""
    told = {link.ifname for link in links}
    expected = ("lo", *(netdev for nic in nics for netdev in nic.netdevs))
    if missing := [name for name in expected if name not in told]:
        raise ParseError(
            f"links: nothing about {', '.join(missing)}; see what `ip -json -details address show` "
            "says there, and try again"
        )


def _nic(pci: str, sections: Mapping[str, str]) -> Nic:
    lines = [line.partition(" ") for line in sections[pci].splitlines()]

    def said(name: str) -> tuple[str, ...]:
        return tuple(value for word, _, value in lines if word == name and value)

    functions = "".join(said("functions"))
    return Nic(
        pci=pci,
        exists=("there", "", "") in lines,
        driver="".join(said("driver")),
        netdevs=said("netdev"),
        traffic=tuple((name, qdiscs.found_in(sections, name)) for name in said("netdev")),
        rules=said("rules"),
        wireless=said("wireless"),
        functions=int(functions) if re.fullmatch(r"[0-9]{1,6}", functions) else 0,
        users=said("user"),
    )


def _devices(routes: Iterable[_Route]) -> frozenset[str]:
    return frozenset(device for route in routes for device in route.devices)


def _parsed(kind: TypeAdapter[tuple[_T, ...]], name: str, text: str) -> tuple[_T, ...]:
    """Return the objects of a section, which has none where ip had nothing to say."""
    try:
        return kind.validate_json(text) if text.strip() else ()
    except ValidationError as exc:
        raise ParseError(f"{name}: not what ip -json prints: {text.strip()[:200]!r}") from exc
