"""Two NICs of one host are two labs that share nothing, and a lab deletes only what is its own."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zclab.documents.labs import load_lab
from zclab.lab.names import GUEST_ADDRESS, RESERVED, Names, names_of, number_of
from zclab.lab.seed import ON_HOST
from zclab.model import Endpoint, Lab, Peer

LONGEST_LINK_NAME = 15

functions = st.builds(
    "{:04x}:{:02x}:{:02x}.{}".format,
    st.sampled_from((0, 1, 0xFFFF)),
    st.integers(0, 0xFF),
    st.integers(0, 0x1F),
    st.integers(0, 7),
)


def names(nic: str, name: str = "rack", netns: str | None = "peer") -> Names:
    peer = Peer(nic="0000:ff:1f.6", netns=netns)
    return names_of(Lab(name=name, kind="ssh", host=Endpoint(address="h"), nic=nic, peer=peer))


def all_of(one: Names) -> set[str]:
    """Return everything that must not be another lab's."""
    own = (one.bridge, one.link, one.netns, one.probes, one.folder, one.management.mac)
    return {*(str(name) for name in own), *one.guests}


def test_an_emulated_host_has_the_names_that_its_figures_were_made_with() -> None:
    found = names_of(load_lab("emulated", name="virtual"))

    assert (found.bridge, found.link, found.netns) == ("zclab0", "mp0", "peer")
    assert (str(found.host), found.management.address) == ("198.18.0.1/24", "198.18.0.2/24")
    assert (found.guest_address, found.management.mac) == (GUEST_ADDRESS, "52:54:00:7a:63:f0")
    assert (found.probes, found.folder) == ("zclab", ON_HOST)
    assert found.guests == tuple(f"zclab-virtual-{m}" for m in ("passthrough", "vhost", "zerocopy"))


def test_a_nics_names_follow_from_its_address() -> None:
    found = names("0000:3b:00.1")

    assert (found.bridge, found.link, found.netns) == ("zclab3b01", "mp3b01", "zclab-3b01-peer")
    assert (str(found.host), found.management.address) == ("198.18.118.2/31", "198.18.118.3/31")
    assert found.guest("vhost") == "zclab-3b01-vhost"
    assert (found.probes, found.folder) == ("zclab_3b01", f"{ON_HOST}/3b01")


def test_a_lab_of_another_name_or_checkout_has_the_same_names_for_the_same_nic() -> None:
    assert names("0000:3b:00.1", "one") == names("0000:3b:00.1", "two")


@given(functions, functions)
def test_two_nics_of_one_host_share_no_name(one: str, other: str) -> None:
    same = one == other

    found, others = names(one), names(other)

    assert same or not all_of(found) & all_of(others) - {found.management.mac}
    assert same or number_of(one) != number_of(other)


@given(functions, functions)
def test_two_nics_of_one_segment_share_no_address(one: str, other: str) -> None:
    found, others = names(f"0000{one[4:]}"), names(f"0000{other[4:]}")

    assert one[4:] == other[4:] or not found.host.network.overlaps(others.host.network)
    assert one[4:] == other[4:] or found.management.mac != others.management.mac


@given(functions)
def test_names_fit_and_addresses_are_of_what_is_reserved_for_them(nic: str) -> None:
    found = names(nic)
    guest = IPv4Interface(found.management.address)

    assert max(len(found.bridge), len(found.link)) <= LONGEST_LINK_NAME
    assert guest.network == found.host.network
    assert guest.ip != found.host.ip
    assert guest.network.subnet_of(RESERVED)


def test_without_a_namespace_there_is_none_to_name() -> None:
    assert names("0000:3b:00.1", netns=None).netns is None


@pytest.mark.parametrize("nic", ["0000:00:00.0", "0000:ff:1f.7"])
def test_the_first_and_the_last_function_have_addresses(nic: str) -> None:
    assert names(nic).host.network in (
        IPv4Network("198.18.0.0/31"),
        IPv4Network("198.19.255.254/31"),
    )


def test_functions_are_numbered_without_gaps_or_doubles() -> None:
    buses, slots, numbers = ("00", "01"), range(0x20), range(8)
    found = [
        number_of(f"0000:{bus}:{slot:02x}.{number}")
        for bus, slot, number in itertools.product(buses, slots, numbers)
    ]

    assert found == list(range(512))
