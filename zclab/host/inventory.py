"""What Ethernet NICs a host has, and what a lab could do with each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zclab.errors import ParseError
from zclab.host import inuse, nicfacts
from zclab.outside import printable
from zclab.runner import Runner
from zclab.units import KIB

RECEIVES = ("e1000e", "igb")
"""The drivers that can receive into a guest's buffers: those with ndo_mpt_setup() in
``kernel-patches/``."""

# Class 0x0200 is Ethernet, 0x0604 a PCI bridge: one of these in an IOMMU group is in nobody's way.
# ip adds no link without a lower device; what it says tells whether the kernel knows mp.
_ASK = r"""
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
say() { [ -z "$2" ] || echo "$1 $2"; }
echo "== host"
say kernel "$(uname -r)"
say cpus "$(nproc)"
say memory "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)"
command -v ip >/dev/null &&
    { ip link add name zclab-try type mp 2>&1 | grep -q 'Unknown device type' || say mp yes; }
[ -e /sys/bus/pci/drivers/vfio-pci ] || modprobe -n -q vfio-pci 2>/dev/null && say vfio yes
for pci in /sys/bus/pci/devices/*; do
    case $(cat "$pci/class" 2>/dev/null) in 0x0200*) ;; *) continue ;; esac
    echo "== ${pci##*/}"
    say product "$(lspci -mm -s "${pci##*/}" 2>/dev/null)"
    say id "$(cat "$pci/vendor"):$(cat "$pci/device")"
    driver=$(readlink "$pci/driver")
    say driver "${driver##*/}"
    group=$(readlink "$pci/iommu_group")
    say iommu "${group##*/}"
    [ -z "$group" ] || for other in "$pci/iommu_group/devices"/*; do
        case $(cat "$other/class") in 0x0604*) continue ;; esac
        [ "${other##*/}" = "${pci##*/}" ] || say beside "${other##*/}"
    done
    for dev in "$pci"/net/* "$pci"/virtio*/net/*; do
        [ -e "$dev" ] || continue
        say netdev "${dev##*/}"
        say address "$(cat "$dev/address")"
        say carrier "$(cat "$dev/carrier" 2>/dev/null)"
        say speed "$(cat "$dev/speed" 2>/dev/null)"
        ethtool -k "${dev##*/}" 2>/dev/null |
            sed -n 's/^\(scatter-gather\|highdma\): on\( .*\)\?$/has \1/p'
    done
done
echo "== end"
"""
_BEGIN = re.compile(r"^== (\S+)$", re.MULTILINE)
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_NUMBER = re.compile(r"[0-9]{1,15}")
_LSPCI_WORDS = 4
"""``lspci -mm`` has the address, the class, the vendor and the device; more may follow."""

Link = Literal["up", "no cable", "down"]
_LINKS: Mapping[str, Link] = {"1": "up", "0": "no cable"}
"""By what the file ``carrier`` says, which cannot be read of an interface that is down."""


@dataclass(frozen=True, kw_only=True)
class EthernetNic:
    """An Ethernet function of a host.

    ``link`` is ``down`` where nobody has set the interface up, which says nothing of its cable.
    ``speed_mbps`` is None without a link. ``beside`` are the other functions of its IOMMU group,
    bridges apart; ``iommu_group`` is empty where the host's IOMMU is off. ``objections`` say what
    speaks against taking it, see zclab.host.inuse.
    """

    pci: str
    product: str
    driver: str
    netdev: str
    mac: str
    link: Link
    speed_mbps: int | None
    iommu_group: str
    beside: tuple[str, ...]
    gathers: bool
    objections: tuple[str, ...] = ()

    @property
    def is_free(self) -> bool:
        """Whether a lab can take it."""
        return not self.objections

    @property
    def zero_copy(self) -> Literal["both ways", "transmit only", "none"]:
        """What the mp device can do on it without a copy, on a kernel with the series.

        The mp device needs scatter-gather and DMA to all memory to send from a guest's pages.
        """
        if not self.gathers:
            return "none"
        return "both ways" if self.driver in RECEIVES else "transmit only"


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A host's Ethernet NICs in the order of their PCI addresses, and what it is itself."""

    where: str
    kernel: str
    cpus: int
    memory_mib: int
    has_mp: bool
    has_vfio: bool
    nics: tuple[EthernetNic, ...]

    @property
    def free(self) -> tuple[EthernetNic, ...]:
        """The NICs that a lab can take, the ones with a link and with zero-copy first."""
        links, ways = ("up", "down", "no cable"), ("both ways", "transmit only", "none")
        return tuple(
            sorted(
                (nic for nic in self.nics if nic.is_free),
                key=lambda nic: (links.index(nic.link), ways.index(nic.zero_copy)),
            )
        )


def take(runner: Runner) -> Inventory:
    """Ask a host for its NICs; nothing is changed. Raises ParseError for what is no answer."""
    text = runner.run(("sh", "-c", _ASK), check=False).stdout
    pcis = [name for name in _BEGIN.findall(text) if _PCI.fullmatch(name)]
    return parse(text, nicfacts.gather(runner, pcis), where=runner.where)


def parse(text: str, facts: nicfacts.Facts, *, where: str) -> Inventory:
    """Return the inventory in what the script prints: sections below ``== NAME`` each."""
    parts = _BEGIN.split(text)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "host" not in found or "end" not in found:
        raise ParseError(
            f"{where}: its shell did not list all NICs; its last output: {text.strip()[-200:]!r}"
        )
    host = _words(found["host"])
    return Inventory(
        where=where,
        kernel=printable(_one(host, "kernel")) or "unknown",
        cpus=_number(_one(host, "cpus")) or 1,
        memory_mib=(_number(_one(host, "memory")) or 0) // KIB,
        has_mp="mp" in host,
        has_vfio="vfio" in host,
        nics=tuple(
            _nic(pci, _words(found[pci]), facts)
            for pci in sorted(found)
            if _PCI.fullmatch(pci) and pci in facts.nics
        ),
    )


def _nic(pci: str, words: dict[str, list[str]], facts: nicfacts.Facts) -> EthernetNic:
    features = words.get("has", [])
    link = _LINKS.get(_one(words, "carrier"), "down")
    return EthernetNic(
        pci=pci,
        product=printable(_product(_one(words, "product")) or _one(words, "id")),
        driver=printable(_one(words, "driver")),
        netdev=printable(_one(words, "netdev")),
        mac=printable(_one(words, "address")),
        link=link,
        speed_mbps=_number(_one(words, "speed")) if link == "up" else None,
        iommu_group=printable(_one(words, "iommu")),
        beside=tuple(map(printable, words.get("beside", ()))),
        gathers="scatter-gather" in features and "highdma" in features,
        objections=tuple(
            one.text for one in inuse.objections(facts.nics[pci], facts, inuse.Ours())
        ),
    )


def _words(section: str) -> dict[str, list[str]]:
    """Return the values of each word of a section, whose lines are a word and its value."""
    words: dict[str, list[str]] = {}
    for line in section.splitlines():
        word, _, value = line.partition(" ")
        words.setdefault(word, []).append(value.strip())
    return words


def _one(words: dict[str, list[str]], name: str) -> str:
    """Return a word's first value, or nothing."""
    return words.get(name, [""])[0]


def _number(text: str) -> int | None:
    """Return a whole number; the kernel says -1 for a speed that it does not know."""
    return int(text) if _NUMBER.fullmatch(text) else None


def _product(line: str) -> str:
    """Return the name of a device in a line of ``lspci -mm``."""
    try:
        words = shlex.split(line)
    except ValueError:
        return ""
    return words[_LSPCI_WORDS - 1] if len(words) >= _LSPCI_WORDS else ""


def render(inventory: Inventory) -> str:
    """Return the NICs as lines: what each is, what carries it, and what a lab can do with it."""
    lines = [f"NICs of {inventory.where}, kernel {inventory.kernel}"]
    for nic in inventory.nics:
        link = nic.link if nic.speed_mbps is None else f"{nic.speed_mbps} Mb/s"
        what = f"{nic.pci}  {nic.netdev or '(no interface)'}  {nic.driver or 'no driver'}  {link}"
        lines += [f"  {what}  {nic.product}", *(f"    {text}" for text in _said(nic, inventory))]
    if not inventory.nics:
        lines.append("  no Ethernet function on its PCI bus")
    return "\n".join(lines)


def _said(nic: EthernetNic, inventory: Inventory) -> Sequence[str]:
    if nic.objections:
        return [f"not free: {'; '.join(nic.objections)}"]
    if not inventory.has_vfio:
        passthrough = "no: the host has no vfio-pci"
    elif not nic.iommu_group:
        passthrough = "no: the host's IOMMU is off"
    elif nic.beside:
        shared = ", ".join(nic.beside)
        passthrough = f"no: it shares IOMMU group {nic.iommu_group} with {shared}"
    else:
        passthrough = f"yes, IOMMU group {nic.iommu_group}"
    zerocopy = f"zero-copy {nic.zero_copy}" if nic.zero_copy != "none" else "with copies only"
    if not inventory.has_mp:
        zerocopy += ", on a kernel with the series; this one has no mp device"
    return [f"free; passthrough: {passthrough}; mode zerocopy: {zerocopy}"]
