"""What the hosts of a lab must have, found out at once and with what to do about each lack.

One script asks for everything; a pure function judges the answers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from zclab.errors import ParseError
from zclab.host.domain import ITCO, MINIMUM
from zclab.host.finding import Finding
from zclab.runner import Runner

PEER_TOOLS: Mapping[str, str] = {
    "chrt": "util-linux",
    "ethtool": "ethtool",
    "flock": "util-linux",
    "ip": "iproute2",
    "netperf": "netperf",
    "netserver": "netperf",
    "pgrep": "procps",
    "xargs": "findutils",
}
"""What zclab runs where the peer's NIC is, with the Debian package that has it."""

HOST_TOOLS: Mapping[str, str] = {
    "chrt": "util-linux",
    "ethtool": "ethtool",
    "flock": "util-linux",
    "ip": "iproute2",
    "pgrep": "procps",
    "qemu-system-x86_64": "qemu-system-x86",
    "tail": "coreutils",
    "xargs": "findutils",
}
"""The same for the host under test."""

PAIR_TOOLS: Mapping[str, str] = {"ssh": "openssh-client", "ssh-keygen": "openssh-client"}
"""What a migration needs on either of two hosts besides."""

TRAFFIC_TOOLS: Mapping[str, str] = {"python3": "python3"}
"""What the peer of a migration needs besides."""

# `ip link add` of a kind without what it needs adds nothing; what it says tells whether the kernel
# knows the kind.
_ASK = r"""
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
pci=/sys/bus/pci/devices/$0
say() { [ -z "$2" ] || echo "zclab:$1 $2"; }
have() { [ ! -e "$2" ] || say have "$1"; }
say user "$(id -u)"
say kernel "$(uname -r)"
say machine "$(uname -m)"
for tool; do command -v "$tool" >/dev/null && say have "$tool"; done
for tunnel in virt-ssh-helper nc; do command -v "$tunnel" >/dev/null && say have tunnel; done
ip -json -details address show lo 2>/dev/null | grep -q '"ifname"' && say have ip-json
for kind in macvtap mp; do
    ip link add name zclab-try type "$kind" 2>&1 | grep -q 'Unknown device type' || say have "$kind"
done
for daemon in virtqemud libvirtd; do
    command -v "$daemon" >/dev/null && say libvirt "$("$daemon" --version 2>/dev/null)"
done
have socket /run/libvirt/virtqemud-sock
have socket /run/libvirt/libvirt-sock
say qemu "$(qemu-system-x86_64 --version 2>/dev/null | head -n 1)"
have kvm /dev/kvm
have vhost /dev/vhost-net
have vfio /sys/bus/pci/drivers/vfio-pci
modprobe -n -q vfio-pci 2>/dev/null && say have vfio
have threaded /sys/class/net/lo/threaded
{ zcat /proc/config.gz || cat "/boot/config-$(uname -r)"; } 2>/dev/null |
    sed -n 's/^CONFIG_\(KPROBE_EVENTS\|KPROBE_EVENTS_ON_NOTRACE\|HIST_TRIGGERS\)=y/zclab:have \1/p
            1s/.*/zclab:have config/p'
have nic "$pci"
have iommu "$pci/iommu_group"
say have end
"""
_LINE = re.compile(r"^zclab:(\w+) (.*)$", re.MULTILINE)
_VERSION = re.compile(r"\b([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a host has, by the words of the script, and what it says of itself."""

    where: str
    nic: str
    have: Collection[str]
    said: Mapping[str, str]


def ask(runner: Runner, nic: str, tools: Collection[str]) -> Answers:
    """Ask a host for all that check_host() and check_peer() judge; nothing is changed."""
    text = runner.run(("sh", "-c", _ASK, nic, *sorted(tools)), check=False).stdout
    return parse(text, where=runner.where, nic=nic)


def parse(text: str, *, where: str, nic: str) -> Answers:
    """Return the answers in what the script prints, lines of ``zclab:WORD VALUE``."""
    lines = _LINE.findall(text)
    have = frozenset(value.strip() for word, value in lines if word == "have")
    if "end" not in have:
        raise ParseError(
            f"{where}: its shell did not answer all questions; its last output: "
            f"{text.strip()[-200:]!r}"
        )
    said = {word: value.strip() for word, value in lines if word != "have"}
    return Answers(where=where, nic=nic, have=have, said=said)


def peer_tools(*, migrates: bool = False) -> Mapping[str, str]:
    """Return what is needed where the peer's NIC is, in a lab that ``migrates`` or not."""
    return {**PEER_TOOLS, **(TRAFFIC_TOOLS if migrates else {})}


def host_tools(*, with_peer: bool, migrates: bool = False) -> Mapping[str, str]:
    """Return what is needed on a host under test; see check_host()."""
    tools = {**HOST_TOOLS, **(PAIR_TOOLS if migrates else {})}
    return {**tools, **peer_tools(migrates=migrates)} if with_peer else tools


def check_peer(answers: Answers, *, migrates: bool = False) -> tuple[Finding, ...]:
    """Judge a host that has the peer's NIC."""
    return (_root(answers), *_network(answers, peer_tools(migrates=migrates)))


def check_host(answers: Answers, *, with_peer: bool, migrates: bool = False) -> tuple[Finding, ...]:
    """Judge the host under test, ``with_peer`` one that has the peer's NIC, too.

    One that ``migrates`` is one of two that guests go to and fro between.
    """
    return (
        _root(answers),
        *_network(answers, host_tools(with_peer=with_peer, migrates=migrates)),
        _libvirt(answers),
        _one(
            answers,
            "tunnel",
            "virt-ssh-helper or nc; libvirt's connection needs one of them",
            "as root there: apt-get install libvirt-clients libvirt-daemon-system",
        ),
        _one(answers, "kvm", "/dev/kvm", "switch virtualization on in its firmware; modprobe kvm"),
        _one(
            answers,
            "vhost",
            "/dev/vhost-net",
            "as root there: modprobe vhost_net (CONFIG_VHOST_NET)",
        ),
        _probes(answers),
        *_modes(answers),
    )


def _root(answers: Answers) -> Finding:
    user = answers.said.get("user", "unknown")
    return _finding(
        answers,
        "root",
        lacks="" if user == "0" else f"commands run as user {user}; only root can configure NICs",
        ok="commands run as root",
        remedy="give the lab's endpoint a `user` that is root",
    )


def _network(answers: Answers, tools: Mapping[str, str]) -> tuple[Finding, ...]:
    missing = [tool for tool in sorted(tools) if tool not in answers.have]
    packages = " ".join(sorted({tools[tool] for tool in missing}))
    return (
        _finding(
            answers,
            "tools",
            lacks=f"missing: {', '.join(missing)}" if missing else "",
            ok=f"all {len(tools)} are there",
            remedy=f"as root there: apt-get install {packages}",
        ),
        _one(
            answers,
            "ip-json",
            "an ip that prints JSON",
            "have iproute2 4.18 or later there (Debian 10)",
        ),
        _one(
            answers,
            "threaded",
            f"threaded NAPI, in kernel {answers.said.get('kernel', 'unknown')}",
            "boot Linux 5.12 or later there",
        ),
        _one(
            answers,
            "nic",
            f"a PCI function {answers.nic}",
            "`lspci -D | grep Ethernet` there prints what there is",
        ),
    )


def _libvirt(answers: Answers) -> Finding:
    said = answers.said.get("libvirt", "")
    found = _VERSION.search(said)
    version = tuple(int(part or 0) for part in found.groups()) if found else ()
    oldest = ".".join(map(str, MINIMUM))
    if not version:
        lacks = "no libvirtd or virtqemud"
    elif version < MINIMUM:
        lacks = f"{said}; zclab needs {oldest} or later"
    elif "socket" not in answers.have:
        lacks = f"{said} does not run"
    else:
        lacks = ""
    note = "" if version >= ITCO else "; guests keep QEMU's setting of the machine's watchdog"
    return _finding(
        answers,
        "libvirt",
        lacks=lacks,
        ok=f"{said}{note}; {answers.said.get('qemu', 'no QEMU')}",
        remedy="as root there: apt-get install libvirt-daemon-system (Debian 11 or later), and "
        "systemctl start libvirtd",
    )


def _probes(answers: Answers) -> Finding:
    if "config" not in answers.have:
        return _finding(
            answers,
            "probes",
            lacks="unknown: no /proc/config.gz and no /boot/config-… to read",
            status="warn",
            remedy="the kernel needs CONFIG_KPROBE_EVENTS and CONFIG_HIST_TRIGGERS",
        )
    missing = [name for name in ("KPROBE_EVENTS", "HIST_TRIGGERS") if name not in answers.have]
    if missing:
        wanted = " and ".join(f"CONFIG_{name}" for name in missing)
        remedy = f"boot a kernel with {wanted}=y, such as one of `invoke build-kernel`"
        return _finding(
            answers, "probes", lacks=f"copies cannot be counted: {wanted}", remedy=remedy
        )
    return _finding(
        answers,
        "probes",
        lacks=""
        if "KPROBE_EVENTS_ON_NOTRACE" in answers.have
        else "copying functions cannot be probed: CONFIG_KPROBE_EVENTS_ON_NOTRACE",
        status="warn",
        ok="copies can be counted",
        remedy="boot a kernel of `invoke build-kernel` to have copied bytes in the figures",
    )


def _modes(answers: Answers) -> tuple[Finding, ...]:
    """Judge what only one mode needs: the other ones run without."""
    iommu = "its IOMMU is off (intel_iommu=on or amd_iommu=on, on the kernel's command line)"
    vfio = "it has no driver vfio-pci (CONFIG_VFIO_PCI)"
    lacks = [text for name, text in (("iommu", iommu), ("vfio", vfio)) if name not in answers.have]
    return (
        _finding(
            answers,
            "passthrough",
            lacks="; ".join(lacks),
            status="warn",
            ok="an IOMMU and vfio-pci",
            remedy="without, leave that mode out with --mode",
        ),
        _finding(
            answers,
            "vhost mode",
            lacks="" if "macvtap" in answers.have else "the kernel has no macvtap",
            status="warn",
            ok="macvtap",
            remedy="boot a kernel with CONFIG_MACVTAP, or leave that mode out with --mode",
        ),
        _finding(
            answers,
            "zerocopy",
            lacks="" if "mp" in answers.have else "the kernel has no mp device",
            status="warn",
            ok="the mp device",
            remedy="boot a kernel of `invoke build-kernel`, or leave that mode out with --mode",
        ),
    )


def _one(answers: Answers, name: str, what: str, remedy: str) -> Finding:
    """Judge one thing that is there or is not."""
    lacks = "" if name in answers.have else f"no {what.removeprefix('a ').removeprefix('an ')}"
    return _finding(answers, name, lacks=lacks, ok=what, remedy=remedy)


def _finding(
    answers: Answers,
    name: str,
    *,
    lacks: str,
    ok: str = "",
    status: Literal["warn", "fail"] = "fail",
    remedy: str,
) -> Finding:
    name = f"{answers.where}: {name}"
    if not lacks:
        return Finding(status="ok", name=name, detail=ok)
    return Finding(status=status, name=name, detail=lacks, remedy=remedy)
