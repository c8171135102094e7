"""Network interfaces and PCI functions of a host, through its runner.

A NIC's identity is its PCI address: its interface name goes when another driver takes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zclab.errors import CommandError, LabError, ParseError
from zclab.host import links
from zclab.host.ports import PORTS, port_among
from zclab.outside import quoted, whole_number
from zclab.runner import Runner, read_text, wait_until, write_text

OFFLOADS = ("tso", "gso", "gro")
"""What ``--offloads`` switches: segmentation and aggregation, not checksums."""


BIND_DEADLINE_S = 20
SETTLE_DEADLINE_S = 20
LINK_DEADLINE_S = 20


@dataclass
class Port:
    """A NIC's interface, by the name that it has now: with its driver it may get another."""

    pci: str
    name: str

    def look_up(self, runner: Runner) -> None:
        """Find out the name again."""
        self.name = netdev_of(runner, self.pci)


def netdev_of(runner: Runner, pci: str) -> str:
    """Return the name of a PCI function's interface; LabError says what has it instead.

    Of several, it is the port's: with switchdev, representors are of the same function.
    """
    names = _netdevs(runner, pci)
    if len(names) == 1:
        return names[0]
    if names:
        try:
            return port_among(runner.run(("sh", "-c", PORTS, pci)).stdout)
        except ParseError as exc:
            raise LabError(f"{runner.where}: PCI address {pci}: {exc}") from exc
    driver = driver_of(runner, pci)
    held = f"its driver is {driver}" if driver else "it has no driver, or does not exist"
    raise LabError(f"{runner.where}: no network interface at PCI address {pci}: {held}")


def _netdevs(runner: Runner, pci: str) -> list[str]:
    """Return a function's interfaces in this network namespace: one in another is not listed."""
    return runner.run(("ls", f"/sys/bus/pci/devices/{pci}/net"), check=False).stdout.split()


def driver_of(runner: Runner, pci: str) -> str | None:
    """Return the name of the driver that a PCI function is bound to."""
    link = runner.run(("readlink", f"/sys/bus/pci/devices/{pci}/driver"), check=False)
    return link.stdout.strip().rpartition("/")[2] or None


def address_of(runner: Runner, netdev: str) -> str:
    """Return an interface's MAC address."""
    return read_text(runner, f"/sys/class/net/{netdev}/address").strip()


def iommu_group(runner: Runner, pci: str) -> tuple[str, tuple[str, ...]]:
    """Return the number of a PCI function's IOMMU group, and all functions in it."""
    link = runner.run(("readlink", f"/sys/bus/pci/devices/{pci}/iommu_group"), check=False)
    group = link.stdout.strip().rpartition("/")[2]
    if not group:
        msg = (
            f"{runner.where}: {pci} has no IOMMU group; boot the host with its IOMMU enabled "
            "(intel_iommu=on or amd_iommu=on)"
        )
        raise LabError(msg)
    members = runner.run(("ls", f"/sys/kernel/iommu_groups/{group}/devices")).stdout.split()
    return group, tuple(members)


def bind_driver(runner: Runner, pci: str, driver: str) -> None:
    """Bind a PCI function to ``driver`` and to no other (``driver_override``).

    Raises LabError where the function does not get there, with what it has instead.
    """
    device = f"/sys/bus/pci/devices/{pci}"
    if driver_of(runner, pci) != driver:
        write_text(runner, f"{device}/driver_override", driver)
        _reprobe(runner, pci)
    if (got := driver_of(runner, pci)) != driver:
        release_driver(runner, pci)
        raise LabError(f"{runner.where}: {pci} did not bind to {driver}; its driver is {got}")


def release_driver(runner: Runner, pci: str) -> None:
    """Drop a function's override, so that its own driver gets it back; waits for the interface."""
    write_text(runner, f"/sys/bus/pci/devices/{pci}/driver_override", "\n")
    _reprobe(runner, pci)
    wait_for_netdev(runner, pci)
    _settle(runner, pci)


def _settle(runner: Runner, pci: str) -> None:
    """Wait until a new interface has the name that it keeps: udev renames it if there is one."""
    udev = f"! command -v udevadm >/dev/null || udevadm settle --timeout={SETTLE_DEADLINE_S}"
    runner.run(("sh", "-c", udev), check=False)
    seen: list[list[str]] = []

    def same_twice() -> bool:
        seen.append(_netdevs(runner, pci))
        return len(seen) > 1 and seen[-1] == seen[-2] != []

    wait_until(
        same_twice,
        what=f"{runner.where}: the interface of {pci} to keep its name",
        deadline_s=SETTLE_DEADLINE_S,
    )


def wait_for_netdev(runner: Runner, pci: str) -> None:
    """Wait until a PCI function has its interface in this namespace."""
    wait_until(
        lambda: _netdevs(runner, pci) != [],
        what=f"{runner.where}: an interface for {pci} from its own driver",
        deadline_s=BIND_DEADLINE_S,
    )


def _reprobe(runner: Runner, pci: str) -> None:
    if driver_of(runner, pci):
        write_text(runner, f"/sys/bus/pci/devices/{pci}/driver/unbind", pci)
    write_text(runner, "/sys/bus/pci/drivers_probe", pci)


def set_up(runner: Runner, netdev: str, *, mtu: int | None = None) -> None:
    """Bring an interface up, with ``mtu`` bytes where given."""
    if mtu is not None:
        runner.run(("ip", "link", "set", netdev, "mtu", str(mtu)))
    runner.run(("ip", "link", "set", netdev, "up"))


def is_up(runner: Runner, netdev: str) -> bool:
    """Tell whether somebody has set an interface up, by its flags (IFF_UP)."""
    text = read_text(runner, f"/sys/class/net/{netdev}/flags").strip()
    if not re.fullmatch(r"0x[0-9a-f]{1,8}", text):
        raise ParseError(
            f"{runner.where}: flags of {netdev}: found {quoted(text)}, allowed: 0x1003"
        )
    return bool(int(text, 16) & 1)


def wait_for_carrier(runner: Runner, netdev: str) -> None:
    """Wait until an interface that is up has its link."""
    wait_until(
        lambda: read_text(runner, f"/sys/class/net/{netdev}/operstate").strip() == "up",
        what=f"{runner.where}: carrier on {netdev}",
        deadline_s=LINK_DEADLINE_S,
    )


def set_offloads(runner: Runner, netdev: str, switch: str) -> None:
    """Switch TSO, GSO and GRO of an interface ``on`` or ``off``."""
    words = [word for name in OFFLOADS for word in (name, switch)]
    runner.run(("ethtool", "-K", netdev, *words))


def parse_offloads(text: str) -> dict[str, str]:
    """Return which of TSO, GSO and GRO are ``on`` or ``off`` in what ``ethtool -k`` prints."""
    long_names = {
        "tcp-segmentation-offload": "tso",
        "generic-segmentation-offload": "gso",
        "generic-receive-offload": "gro",
    }
    found = {}
    for line in text.splitlines():
        name, _, state = line.strip().partition(": ")
        if name in long_names:
            word = state.partition(" ")[0]
            if word not in {"on", "off"}:
                raise ParseError(f"ethtool -k: {name}: found {quoted(state)}, allowed: on, off")
            found[long_names[name]] = word
    return found


# One command for each of these: on an emulated host, every one costs a tenth of a second.
_STATE = 'cd "/sys/class/net/$0" && cat threaded mtu && ethtool -k "$0"'
_TUNE = """
set -e
netdev=$0 threaded=$1 mtu=$2
shift 2
echo "$threaded" > "/sys/class/net/$netdev/threaded"
ethtool -K "$netdev" "$@"
ip link set "$netdev" mtu "$mtu" up
# A softirq, which this thread stands in for, does not wait for its turn either: on a busy CPU the
# ring would overflow meanwhile.
pgrep "^napi/$netdev-" | xargs -r -n 1 chrt --fifo --pid 1
"""


def tune(runner: Runner, netdev: str, *, threaded: bool, switch: str, mtu: int) -> None:
    """Bring an interface up in the state that figures are compared in, and wait for its link.

    ``threaded`` gives its NAPI a thread of its own, so that its CPU time can be told apart;
    ``switch`` is for its OFFLOADS; ``mtu`` is in bytes.
    """
    words = [word for name in OFFLOADS for word in (name, switch)]
    runner.run(("sh", "-c", _TUNE, netdev, "1" if threaded else "0", str(mtu), *words))
    wait_for_carrier(runner, netdev)


@contextmanager
def tuned(runner: Runner, port: Port, *, threaded: bool, switch: str, mtu: int) -> Iterator[None]:
    """Have an interface tuned (see tune), and as it was before at the end."""
    said = runner.run(("sh", "-c", _STATE, port.name)).stdout
    try:
        napi_before, mtu_before, features = said.split("\n", 2)
    except ValueError as exc:
        raise ParseError(f"{runner.where}: the state of {port.name}: found {quoted(said)}") from exc
    for name, value in (("threaded", napi_before), ("mtu", mtu_before)):
        whole_number(value, f"{runner.where}: /sys/class/net/{port.name}/{name}")
    words = [word for pair in parse_offloads(features).items() for word in pair]
    try:
        tune(runner, port.name, threaded=threaded, switch=switch, mtu=mtu)
        yield
    finally:
        # The interface may be gone by now, and with it what there is to restore.
        runner.run(("sh", "-c", _TUNE, port.name, napi_before, mtu_before, *words), check=False)


def coalescing_of(runner: Runner, netdev: str) -> dict[str, str]:
    """Return what parse_coalescing() does; empty where an interface's driver tells nothing."""
    done = runner.run(("ethtool", "-c", netdev), check=False)
    return parse_coalescing(done.stdout) if done.ok else {}


def parse_coalescing(text: str) -> dict[str, str]:
    """Return what ``ethtool -c`` prints of receive interrupts, in the words of ``ethtool -C``.

    ``adaptive-rx`` is ``on`` or ``off`` and ``rx-usecs`` is in µs; what a driver does not have
    (``n/a``) is left out.
    """
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        word = {"Adaptive RX": "adaptive-rx", "rx-usecs": "rx-usecs"}.get(name)
        value = (value.split() or [""])[0]
        if word == "adaptive-rx" and value not in {"on", "off", "n/a"}:
            raise ParseError(f"ethtool -c: {name}: found {quoted(line)}, allowed: on, off, n/a")
        if word == "rx-usecs" and value != "n/a":
            whole_number(value, f"ethtool -c: {name}")
        if word and value != "n/a":
            found[word] = value
    return found


def rx_usecs_of(runner: Runner, netdev: str) -> int | str:
    """Return how long an interface waits from one interrupt to the next, in µs.

    That is ``adaptive`` where the number would be one of the moment, ``unknown`` where its driver
    tells none. Below 10, Intel's drivers do not mean µs but a way to adapt that they have.
    """
    coalescing = coalescing_of(runner, netdev)
    if coalescing.get("adaptive-rx") == "on":
        return "adaptive"
    return int(coalescing["rx-usecs"]) if "rx-usecs" in coalescing else "unknown"


def set_rx_usecs(runner: Runner, netdev: str, rx_usecs: int) -> None:
    """Have an interface wait at least ``rx_usecs`` µs from one interrupt to the next.

    Raises LabError where its driver does not do so.
    """
    adapts = coalescing_of(runner, netdev).get("adaptive-rx") == "on"
    words = (*(("adaptive-rx", "off") if adapts else ()), "rx-usecs", str(rx_usecs))
    done = runner.run(("ethtool", "-C", netdev, *words), check=False)
    try:
        done.check()
    except CommandError as exc:
        raise LabError(
            f"{exc}; set tunables.rx_usecs to a value that the driver of {netdev} accepts, or "
            "remove it"
        ) from exc


@contextmanager
def moderated(runner: Runner, port: Port, rx_usecs: int | None) -> Iterator[None]:
    """Have an interface's interrupts moderated (see set_rx_usecs), and as before at the end.

    With None nothing is changed.
    """
    if rx_usecs is None:
        yield
        return
    before = [word for pair in coalescing_of(runner, port.name).items() for word in pair]
    try:
        set_rx_usecs(runner, port.name, rx_usecs)
        yield
    finally:
        runner.run(("ethtool", "-C", port.name, *before), check=False)


def statistics(runner: Runner, netdev: str) -> dict[str, int]:
    """Return an interface's packet and byte counters (``ip -s link``), as ``rx_packets``, …."""
    text = runner.run(("ip", "-json", "-stats", "link", "show", netdev)).stdout
    return links.parse_statistics(text, f"{runner.where}: ip -stats link show {netdev}")


def driver_statistics(runner: Runner, netdev: str) -> dict[str, int]:
    """Return what ``ethtool -S`` prints for an interface; empty where its driver counts nothing."""
    done = runner.run(("ethtool", "-S", netdev), check=False)
    return parse_driver_statistics(done.stdout) if done.ok else {}


def parse_driver_statistics(text: str) -> dict[str, int]:
    """Parse ``ethtool -S``: a heading, then lines of ``     rx_packets: 12``."""
    found = {}
    for line in text.splitlines():
        name, colon, value = line.strip().rpartition(": ")
        if colon and value.isdecimal():
            found[name] = whole_number(value, f"ethtool -S: {name}")
    return found


@contextmanager
def link(runner: Runner, name: str, *words: str) -> Iterator[str]:
    """Make a link (``ip link add NAME``, then ``words``) that is gone at the end."""
    runner.run(("ip", "link", "add", "name", name, *words))
    try:
        yield name
    finally:
        delete_link(runner, name)


def delete_link(runner: Runner, name: str) -> None:
    """Delete a link, if it is there."""
    runner.run(("ip", "link", "delete", name), check=False)


def kind_of(runner: Runner, name: str) -> str | None:
    """Return the kind of a link, such as ``macvtap``; None for hardware."""
    text = runner.run(("ip", "-json", "-details", "link", "show", name)).stdout
    found = links.parse_links(text, f"{runner.where}: ip -details link show {name}")
    return found[0].kind if found else None


def kinds_on(runner: Runner, netdev: str) -> list[str]:
    """Return the kinds of all links on top of an interface."""
    text = runner.run(("ip", "-json", "-details", "link", "show")).stdout
    found = links.parse_links(text, f"{runner.where}: ip -details link show")
    return [link.kind for link in found if link.link == netdev and link.kind]
