"""A host's NICs: which can be taken, why not the others, and what a lab can do with each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.mutations import check_reader
from zclab.errors import ParseError
from zclab.host import inventory, nicfacts
from zclab.host.inventory import Inventory
from zclab.runner import LocalRunner

DATA = Path(__file__).parents[2] / "data" / "inventory"
NICS = (DATA / "nics.txt").read_text()
VIRTIO, NIC, PEER = "0000:00:05.0", "0000:01:00.0", "0000:02:00.0"
FACTS = nicfacts.parse((VIRTIO, NIC, PEER), (DATA / "facts.txt").read_text())


def taken(text: str = NICS) -> Inventory:
    return inventory.parse(text, FACTS, where="host")


def test_a_nic_that_carries_nothing_is_free() -> None:
    """eth0 is the way to the host, and eth2 has a VLAN and an address."""
    found = {nic.pci: nic for nic in taken().nics}

    assert [nic.pci for nic in taken().free] == [NIC]
    assert found[NIC].product == "82574L Gigabit Network Connection"
    assert found[NIC].zero_copy == "both ways"
    assert "this SSH connection came in by eth0" in found[VIRTIO].objections
    assert found[PEER].objections == ("eth2 has address 192.0.2.9/24", "vlan v7 is on eth2")


def test_of_the_nics_each_is_shown_with_what_a_lab_can_do_with_it() -> None:
    assert inventory.render(taken()) == (
        "NICs of host, kernel 6.12.117-zclab\n"
        "  0000:00:05.0  eth0  virtio-pci  up  Virtio network device\n"
        "    not free: eth0 has address 10.0.2.15/24; eth0 has address fec0::5054:ff:fe12:3456/64; "
        "the default route goes through eth0; this SSH connection came in by eth0; this SSH "
        "connection goes back by eth0\n"
        "  0000:01:00.0  eth1  e1000e  down  82574L Gigabit Network Connection\n"
        "    free; passthrough: yes, IOMMU group 7; mode zerocopy: zero-copy both ways\n"
        "  0000:02:00.0  eth2  e1000e  down  82574L Gigabit Network Connection\n"
        "    not free: eth2 has address 192.0.2.9/24; vlan v7 is on eth2"
    )


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("iommu 7", "", "passthrough: no: the host's IOMMU is off"),
        (
            "iommu 7",
            "iommu 7\nbeside 0000:01:00.1",
            "no: it shares IOMMU group 7 with 0000:01:00.1",
        ),
        ("vfio yes", "", "passthrough: no: the host has no vfio-pci"),
        (
            "mp yes",
            "",
            "zero-copy both ways, on a kernel with the series; this one has no mp device",
        ),
        ("driver e1000e", "driver ixgbe", "mode zerocopy: zero-copy transmit only"),
        ("has scatter-gather", "", "mode zerocopy: with copies only"),
        ("address 52:54:00:7a:63:01", "carrier 1\nspeed 10000", "eth1  e1000e  10000 Mb/s"),
        ("address 52:54:00:7a:63:01", "carrier 0\nspeed -1", "eth1  e1000e  no cable"),
        (
            "driver e1000e\niommu 7\nnetdev eth1",
            "",
            "0000:01:00.0  (no interface)  no driver  down",
        ),
    ],
)
def test_what_a_nic_lacks_is_said(before: str, after: str, shown: str) -> None:
    head, mark, rest = NICS.partition(f"== {NIC}")
    whole = f"{head}{mark}{rest}"
    changed = (
        whole.replace(before, after)
        if before in head
        else head + mark + rest.replace(before, after, 1)
    )
    assert changed != NICS

    assert shown in inventory.render(taken(changed))


def test_a_free_nic_with_a_link_comes_before_one_without() -> None:
    facts = FACTS.__class__(
        nics=FACTS.nics,
        came_to="",
        goes_back=frozenset(),
        netns=(),
        links=(),
        default_routes=frozenset(),
    )
    text = NICS.replace("address 52:54:00:7a:63:02", "carrier 1").replace(
        "address 52:54:00:7a:63:01", "carrier 0"
    )

    found = inventory.parse(text, facts, where="host")

    assert [nic.pci for nic in found.free] == [PEER, VIRTIO, NIC]


def test_a_shell_that_ends_in_the_middle_is_an_error() -> None:
    with pytest.raises(ParseError, match="host: its shell did not list all NICs"):
        taken(NICS[: len(NICS) // 2])


def test_this_machine_answers_to_the_end() -> None:
    found = inventory.take(LocalRunner())

    assert found.cpus > 0
    assert found.memory_mib > 0


def test_whatever_a_host_lists_ends_in_an_inventory_or_in_an_error_of_ours() -> None:
    check_reader(lambda text: inventory.render(taken(text)), NICS)
