"""The model rejects what it does not know, and what contradicts itself."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from pydantic import ValidationError

from zclab.model import Emulator, Endpoint, Guest, Lab, Network, Peer, Tunables, Workload

DUT = "0000:01:00.0"
PEER = "0000:02:00.0"


def emulated(**changes: Any) -> Lab:
    fields = {
        "name": "x",
        "kind": "emulated",
        "emulator": {},
        "nic": DUT,
        "peer": Peer(nic=PEER),
        **changes,
    }
    return Lab.model_validate(fields)


def real(**changes: Any) -> Lab:
    fields = {"name": "x", "kind": "ssh", "host": {"address": "a"}, "nic": DUT, **changes}
    return Lab.model_validate(fields)


def test_what_is_left_out_has_a_default() -> None:
    lab = emulated()

    assert lab.emulator is not None
    assert lab.emulator.nic == "e1000e"
    assert lab.peer.netns == "peer"
    assert lab.network.guest_ip == "192.0.2.2"
    assert lab.network.peer_ip == "192.0.2.1"


def test_a_value_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        emulated().guest.vcpus = 2  # type: ignore[misc]


@pytest.mark.parametrize("wrong", [{"vcpu": 1}, {"vcpus": "1"}, {"vcpus": 0}, {"vcpus": True}])
def test_an_unknown_key_or_a_wrong_type_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Guest(**wrong)


@pytest.mark.parametrize("address", ["1:00.0", "0000:01:00.8", "0000:AB:00.0", "0000:01:00.0\n"])
def test_a_pci_address_is_written_in_full(address: str) -> None:
    with pytest.raises(ValidationError):
        Peer(nic=address)


@pytest.mark.parametrize("name", ["", "Lab", "-x", "a_b", "a" * 33])
def test_a_name_fits_into_file_and_domain_names(name: str) -> None:
    with pytest.raises(ValidationError):
        emulated(name=name)


@pytest.mark.parametrize("size", [255, 300, 2048])
def test_a_queue_size_is_a_power_of_two(size: int) -> None:
    with pytest.raises(ValidationError):
        Tunables(vhost_queue_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"emulator": None}, "a lab of kind emulated needs 'emulator:' with keys below it"),
        ({"host": Endpoint(address="a")}, "a lab of kind emulated has no use for 'host'"),
        ({"kind": "ssh"}, "a lab of kind ssh needs 'host:' with keys below it"),
        ({"peer": Peer(nic=DUT)}, f"nic and peer.nic are both {DUT}: a cable has two ends"),
    ],
)
def test_a_lab_that_contradicts_itself_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        emulated(**changes)


def test_the_same_address_in_another_host_is_another_nic() -> None:
    lab = real(peer=Peer(nic=DUT, endpoint=Endpoint(address="b")))

    assert lab.nic == lab.peer.nic


def test_the_same_address_in_the_same_host_is_the_same_nic() -> None:
    with pytest.raises(ValidationError, match="a cable has two ends"):
        real(peer=Peer(nic=DUT, endpoint=Endpoint(address="a")))


@pytest.mark.parametrize("network", ["10.0.0.0/31", "169.254.1.0/30", "198.17.255.0/24"])
def test_a_network_with_room_for_two_will_do(network: str) -> None:
    first, second = (str(one) for one in list(IPv4Network(network))[-3:][:2])
    length = network.partition("/")[2]

    assert Network(guest=f"{first}/{length}", peer=f"{second}/{length}").guest_ip == first


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-f", "1", "007", "a b", "x" * 65, "p\n"])
def test_a_namespace_has_a_name_that_ip_takes_for_nothing_else(name: str) -> None:
    """``ip link set eth0 netns 1`` means the namespace of process 1."""
    with pytest.raises(ValidationError):
        Peer(nic=PEER, netns=name)


@pytest.mark.parametrize("model", ["", "max\0", "-cpu", "max model", "max;id"])
def test_a_cpu_model_is_one_word(model: str) -> None:
    with pytest.raises(ValidationError):
        Emulator(cpu_model=model)


@pytest.mark.parametrize("usecs", [0, 1, 3, 10, 50, 10000])
def test_what_both_drivers_can_be_told_to_wait(usecs: int) -> None:
    assert emulated(tunables=Tunables(rx_usecs=usecs)).tunables.rx_usecs == usecs


@pytest.mark.parametrize(
    ("guest", "peer", "message"),
    [
        ("10.0.0.1/24", "10.0.1.2/24", "guest 10.0.0.1/24 and peer 10.0.1.2/24 are not in one"),
        ("10.0.0.1/24", "10.0.0.1/24", "guest and peer have the same address 10.0.0.1/24"),
        ("10.0.0.256/24", "10.0.0.1/24", "10.0.0.256"),
    ],
)
def test_the_cable_joins_two_addresses_of_one_network(guest: str, peer: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Network(guest=guest, peer=peer)


@pytest.mark.parametrize(
    ("name", "direction", "label"),
    [("TCP_STREAM", "rx", "TCP_STREAM rx 16384"), ("TCP_RR", None, "TCP_RR 16384")],
)
def test_a_label_leaves_out_what_a_workload_has_not(name: Any, direction: Any, label: str) -> None:
    workload = Workload(name=name, direction=direction, message_bytes=16384, duration_s=1.0)

    assert workload.label == label
