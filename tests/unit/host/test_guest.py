"""What a guest says of its interface."""

from __future__ import annotations

import pytest

from zclab.errors import DomainError, ParseError
from zclab.host.guest import GuestNic, features_from_bits, find_nic
from zclab.runner.fake import FakeRunner

MAC = "52:54:00:7a:63:09"
LISTING = 'for n in /sys/class/net/*; do echo "${n##*/} $(cat $n/address)"; done'


def test_what_is_no_interface_is_passed_by() -> None:
    """A guest with the bonding driver has a file there, a tunnel has an address of another kind."""
    addresses = (
        f"Welcome to lab7\nbonding_masters \nlo 00:00:00:00:00:00\nsit0 0.0.0.0\nnone\neth0 {MAC}\n"
    )
    with FakeRunner("guest") as guest:
        guest.expect(("sh", "-c", LISTING), stdout=addresses)
        driver = ("readlink", "/sys/class/net/eth0/device/driver")
        guest.expect(driver, stdout="../../../bus/virtio/drivers/virtio_net\n")
        guest.expect(("cat", "/sys/class/net/eth0/device/features"), stdout="0110\n")
        guest.expect(("ls", "/sys/class/net/eth0/queues"), stdout="rx-0\ntx-0\n")

        found = find_nic(guest, MAC)

    assert found == GuestNic(
        name="eth0", driver="virtio_net", virtio_features="0x6", receive_queues=1
    )


def test_a_guest_without_the_interface_says_what_it_has() -> None:
    with FakeRunner("guest") as guest:
        guest.expect(("sh", "-c", LISTING), stdout="bonding_masters \nlo 00:00:00:00:00:00\n")

        with pytest.raises(DomainError, match=f"no interface with address {MAC}, only .*'lo'"):
            find_nic(guest, MAC)


@pytest.mark.parametrize("bits", ["", "0120", "1b0", "cat: no such file"])
def test_features_that_are_no_bits_are_said(bits: str) -> None:
    with pytest.raises(ParseError, match="virtio features: found"):
        features_from_bits(bits)
