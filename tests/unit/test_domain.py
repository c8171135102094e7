"""What a mode asks of libvirt, as XML."""

import xml.etree.ElementTree as ET

import pytest

from zclab.host import domain
from zclab.model import Guest

FILES = domain.GuestFiles(
    kernel="/var/lib/zclab/k/bzImage",
    initrd="/var/lib/zclab/g/guest.cpio.gz",
    host_key="/var/lib/zclab/guest_host_key",
    console_log="/var/lib/zclab/console.log",
    authorized_key="ssh-ed25519 AAAA",
)
MANAGEMENT = domain.Management(bridge="zclab0", mac="52:54:00:7a:63:f0", address="198.18.0.2/24")
MAC = "52:54:00:7a:63:01"


def render(device: ET.Element) -> ET.Element:
    text = domain.domain_xml("zclab-x", Guest(vcpus=2), FILES, MANAGEMENT, device)
    return ET.fromstring(text)


def test_the_domain_is_kvm_because_libvirt_opens_vhost_net_for_no_other() -> None:
    xml = render(domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256))

    assert xml.get("type") == "kvm"
    assert xml.findtext("vcpu") == "2"


def test_the_only_vhost_worker_is_that_of_the_interface_under_test() -> None:
    xml = render(domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=512))

    drivers = [nic.find("driver").get("name") for nic in xml.iter("interface")]
    assert drivers == ["vhost", "qemu"]


def test_no_timer_of_the_guests_is_in_the_main_loop_of_qemu() -> None:
    """A guest that leaves its HPET running wakes QEMU 250 times a second, and another does not."""
    xml = render(domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256))

    assert [timer.attrib for timer in xml.iter("timer")] == [{"name": "hpet", "present": "no"}]


def test_vhost_and_zerocopy_differ_in_nothing_but_the_link() -> None:
    macvtap = domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256)
    existing = domain.existing_tap_interface(name="mp0", mac=MAC, queue_size=256)

    assert macvtap.get("type") == "direct"
    assert existing.get("type") == "ethernet"
    assert existing.find("target").attrib == {"dev": "mp0", "managed": "no"}
    for element in (macvtap, existing):
        element.attrib.clear()
        for child in (*element.findall("source"), *element.findall("target")):
            element.remove(child)
    assert ET.tostring(macvtap) == ET.tostring(existing)


@pytest.mark.parametrize(("queues", "said"), [(1, None), (2, "2")])
def test_a_guest_has_the_virtqueues_that_its_lab_says(queues: int, said: str | None) -> None:
    macvtap = domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256, queues=queues)
    existing = domain.existing_tap_interface(name="mp0", mac=MAC, queue_size=256, queues=queues)

    for element in (macvtap, existing):
        assert element.find("driver").get("queues") == said


def test_passthrough_names_the_function_and_leaves_its_driver_to_us() -> None:
    xml = render(domain.pci_hostdev("0000:03:1f.7"))

    hostdev = xml.find("devices/hostdev")
    assert hostdev.get("managed") == "no"
    assert hostdev.find("source/address").attrib == {
        "domain": "0x0000",
        "bus": "0x03",
        "slot": "0x1f",
        "function": "0x7",
    }


@pytest.mark.parametrize("text", ["qemu:///nowhere?socket=/nonexistent/zclab"])
def test_a_libvirt_that_does_not_answer_is_a_domain_error(text: str) -> None:
    with pytest.raises(domain.DomainError, match="cannot connect to libvirt at qemu:///nowhere"):
        domain.Libvirt(text)
