"""Parsing what ip and ethtool say, and the commands that change a host."""

from pathlib import Path

import pytest

from zclab.errors import LabError
from zclab.host import netdev
from zclab.testing import FakeRunner

DATA = Path(__file__).parents[1] / "data" / "ethtool"
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
        with pytest.raises(ZeroDivisionError), netdev.moderated(host, "eth1", 50):
            raise ZeroDivisionError


def test_a_nic_that_adapts_is_told_to_stop_that() -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "eth1"), stdout=coalescing("adaptive"))
        host.expect(("ethtool", "-C", "eth1", "adaptive-rx", "off", "rx-usecs", "50"))

        netdev.set_rx_usecs(host, "eth1", 50)


def test_without_a_value_the_driver_moderates_as_it_does() -> None:
    with FakeRunner() as host, netdev.moderated(host, "eth1", None):
        pass


def test_a_driver_that_does_not_moderate_so_is_an_error_with_a_remedy() -> None:
    with FakeRunner() as host:
        host.expect(("ethtool", "-c", "eth1"), stdout=coalescing("igb"))
        argv = ("ethtool", "-C", "eth1", "rx-usecs", "5")
        host.expect(argv, exit_status=1, stderr="netlink error: Invalid argument\n")
        with pytest.raises(LabError, match=r"Invalid argument; give tunables.rx_usecs a value"):
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
