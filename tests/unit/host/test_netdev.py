"""Parsing what ip and ethtool say, and the commands that change a host."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.mutations import mutated
from zclab.errors import LabError, ParseError
from zclab.host import netdev
from zclab.host.ports import PORTS, port_among
from zclab.runner.fake import FakeRunner

DATA = Path(__file__).parents[2] / "data" / "ethtool"
PCI = "0000:01:00.0"
NET = f"/sys/bus/pci/devices/{PCI}/net"


def coalescing(driver: str) -> str:
    return (DATA / f"coalescing-{driver}.txt").read_text()


def test_offloads_are_read_from_ethtools_long_names() -> None:
    text = (DATA / "features-e1000e.txt").read_text()

    assert netdev.parse_offloads(text) == {"tso": "on", "gso": "on", "gro": "on"}


def test_driver_statistics_are_every_line_with_a_number() -> None:
    found = netdev.parse_driver_statistics((DATA / "statistics-e1000e.txt").read_text())

    assert found["tx_packets"] == 171
    assert "NIC statistics" not in found


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        ("e1000e", {"rx-usecs": "3"}),
        ("igb", {"rx-usecs": "3"}),
        ("adaptive", {"adaptive-rx": "on", "rx-usecs": "8"}),
    ],
)
def test_coalescing_is_what_the_driver_has(driver: str, words: dict[str, str]) -> None:
    assert netdev.parse_coalescing(coalescing(driver)) == words


@pytest.mark.parametrize(("driver", "usecs"), [("igb", 3), ("adaptive", "adaptive")])
def test_a_number_of_the_moment_is_not_told(driver: str, usecs: int | str) -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "eth1"), stdout=coalescing(driver))

        assert netdev.rx_usecs_of(host, "eth1") == usecs


def test_a_driver_without_coalescing_tells_nothing() -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "lo"), exit_status=1, stderr="Operation not supported\n")

        assert netdev.rx_usecs_of(host, "lo") == "unknown"


def test_interrupts_are_moderated_and_then_as_before() -> None:
    with FakeRunner() as host:
        for _ in range(2):
            host.expect(("ethtool", "-c", "eth1"), stdout=coalescing("igb"))
        host.expect(("ethtool", "-C", "eth1", "rx-usecs", "50"))
        host.expect(("ethtool", "-C", "eth1", "rx-usecs", "3"))
        with pytest.raises(ZeroDivisionError), netdev.moderated(host, netdev.Port(PCI, "eth1"), 50):
            raise ZeroDivisionError


def test_a_nic_that_adapts_is_told_to_stop_that() -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "eth1"), stdout=coalescing("adaptive"))
        host.expect(("ethtool", "-C", "eth1", "adaptive-rx", "off", "rx-usecs", "50"))

        netdev.set_rx_usecs(host, "eth1", 50)


def test_without_a_value_the_driver_moderates_as_it_does() -> None:
    with FakeRunner() as host, netdev.moderated(host, netdev.Port(PCI, "eth1"), None):
        pass


def test_a_driver_that_does_not_moderate_so_is_an_error_with_a_remedy() -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "eth1"), stdout=coalescing("igb"))
        argv = ("ethtool", "-C", "eth1", "rx-usecs", "5")
        host.expect(argv, exit_status=1, stderr="netlink error: Invalid argument\n")
        with pytest.raises(LabError, match=r"Invalid argument; set tunables.rx_usecs to a value"):
            netdev.set_rx_usecs(host, "eth1", 5)


def test_a_nic_without_an_interface_says_who_has_it() -> None:
    with FakeRunner() as host:
        host.expect(("ls", NET), exit_status=2)
        host.expect(
            ("readlink", f"/sys/bus/pci/devices/{PCI}/driver"),
            stdout="../../../../bus/pci/drivers/vfio-pci\n",
        )
        with pytest.raises(LabError, match=f"at PCI address {PCI}: its driver is vfio-pci"):
            netdev.netdev_of(host, PCI)


def test_an_interface_in_another_namespace_is_not_there_yet() -> None:
    """The folder is there all the time, but empty: a bug that took it for the interface."""
    with FakeRunner() as host:
        host.expect(("ls", NET), stdout="")
        host.expect(("ls", NET), stdout="eth2\n")

        netdev.wait_for_netdev(host, PCI)


def test_a_link_is_deleted_also_on_failure() -> None:
    with FakeRunner() as host:
        host.expect(("ip", "link", "add", "name", "mp0", "link", "eth1", "type", "mp"))
        host.expect(("ip", "link", "delete", "mp0"))
        with (
            pytest.raises(ZeroDivisionError),
            netdev.link(host, "mp0", "link", "eth1", "type", "mp"),
        ):
            raise ZeroDivisionError


# The names of an mlx5 with two virtual functions in switchdev mode, and the port after them.
SWITCHDEV = "enp1s0f0_0|0|pf0vf0\nenp1s0f0_1|0|pf0vf1\nenp1s0f0np0|0|p0\n"


@pytest.mark.parametrize(
    ("text", "port"),
    [
        (SWITCHDEV, "enp1s0f0np0"),
        ("a0|0|c1pf0vf1\na1|0|c1pf0sf88\nz0|0|p0\n", "z0"),
        ("a0|0|pf0hpf\nz0|0|p0s1\n", "z0"),
        ("b0|1|\nz0|0|\n", "z0"),
        ("b0|0|p10\nz0|0|p2\n", "z0"),
        ("eth0|0|n0\n", "eth0"),
        ("eth0|1|pf0\n", "eth0"),
        ("eth0||port 1\n", "eth0"),
    ],
)
def test_of_a_functions_interfaces_the_port_is_taken(text: str, port: str) -> None:
    assert port_among(text) == port


@pytest.mark.parametrize("text", ["wlan0||\np2p0||\n", "a0|0|pf0vf0\na1|0|pf0vf1\n", "", "a|b"])
def test_interfaces_that_cannot_be_told_apart_are_named(text: str) -> None:
    names = [line.partition("|")[0] for line in text.splitlines() if text.count("|") > 1]

    with pytest.raises(ParseError, match=f"is the port \\({', '.join(names) or 'none'}\\)"):
        port_among(text)


@given(mutated(SWITCHDEV, "b0|1|\nz0|0|\n"))
def test_whatever_is_said_of_ports_ends_in_a_name_or_in_an_error_of_ours(text: str) -> None:
    with suppress(ParseError):
        assert port_among(text) in text


def test_a_function_with_representors_has_its_port_for_an_interface() -> None:
    with FakeRunner() as host:
        host.expect(("ls", NET), stdout="enp1s0f0_0\nenp1s0f0_1\nenp1s0f0np0\n")
        host.expect(("sh", "-c", PORTS, PCI), stdout=SWITCHDEV)

        assert netdev.netdev_of(host, PCI) == "enp1s0f0np0"


def test_interfaces_that_cannot_be_told_apart_are_an_error_with_host_and_function() -> None:
    with FakeRunner() as host:
        host.expect(("ls", NET), stdout="p2p0\nwlan0\n")
        host.expect(("sh", "-c", PORTS, PCI), stdout="p2p0||\nwlan0||\n")
        with pytest.raises(LabError, match=f"host: PCI address {PCI}: cannot tell .*p2p0, wlan0"):
            netdev.netdev_of(host, PCI)


DEVICE = f"/sys/bus/pci/devices/{PCI}"
WRITE = ("sh", "-c", 'cat > "$0"')
UDEV = ("sh", "-c", "! command -v udevadm >/dev/null || udevadm settle --timeout=20")


def test_a_name_that_udev_is_going_to_change_is_not_taken() -> None:
    """The kernel's own name is there first, for some hundred milliseconds."""
    with FakeRunner() as host:
        for path, text in (
            (f"{DEVICE}/driver_override", "\n"),
            (f"{DEVICE}/driver/unbind", PCI),
            ("/sys/bus/pci/drivers_probe", PCI),
        ):
            host.expect((*WRITE, path), stdin=text)
        host.expect(("readlink", f"{DEVICE}/driver"), stdout="../drivers/vfio-pci\n")
        host.expect(UDEV)
        for name in ("eth0", "eth0", "enp1s0", "enp1s0", "enp1s0"):
            host.expect(("ls", NET), stdout=f"{name}\n")

        netdev.release_driver(host, PCI)
        port = netdev.Port(PCI, "eth7")
        port.look_up(host)

    assert port.name == "enp1s0"


def test_an_interface_is_restored_by_the_name_that_it_has_now() -> None:
    port = netdev.Port(PCI, "eth1")
    state = "1\n1500\n" + (DATA / "features-e1000e.txt").read_text()
    tune = ("sh", "-c", netdev._TUNE)
    with FakeRunner() as host:
        host.expect(("sh", "-c", netdev._STATE, "eth1"), stdout=state)
        for name, words in (
            ("eth1", ("0", "9000", "tso", "off", "gso", "off", "gro", "off")),
            ("enp1s0", ("1", "1500", "tso", "on", "gso", "on", "gro", "on")),
        ):
            host.expect((*tune, name, *words))
        host.expect(("cat", "/sys/class/net/eth1/operstate"), stdout="up\n")
        with netdev.tuned(host, port, threaded=False, switch="off", mtu=9000):
            port.name = "enp1s0"


def test_a_state_that_is_none_is_an_error_that_quotes_it() -> None:
    with FakeRunner() as host:
        host.expect(("sh", "-c", netdev._STATE, "eth1"), stdout="0\n")
        with (
            pytest.raises(ParseError, match=r"the state of eth1: found '0\\n'"),
            netdev.tuned(host, netdev.Port(PCI, "eth1"), threaded=False, switch="on", mtu=1500),
        ):
            pass
