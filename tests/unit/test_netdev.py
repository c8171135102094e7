"""Parsing what ip and ethtool say, and the commands that change a host."""

from pathlib import Path

import pytest

from zclab.errors import LabError
from zclab.host import netdev
from zclab.testing import FakeRunner

DATA = Path(__file__).parents[1] / "data" / "ethtool"
PCI = "0000:01:00.0"
NET = f"/sys/bus/pci/devices/{PCI}/net"


def test_offloads_are_read_from_ethtools_long_names() -> None:
    text = (DATA / "features-e1000e.txt").read_text()

    assert netdev.parse_offloads(text) == {"tso": "on", "gso": "on", "gro": "on"}


def test_driver_statistics_are_every_line_with_a_number() -> None:
    found = netdev.parse_driver_statistics((DATA / "statistics-e1000e.txt").read_text())

    assert found["tx_packets"] == 171
    assert "NIC statistics" not in found


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
