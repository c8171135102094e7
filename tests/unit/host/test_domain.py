"""What a mode asks of libvirt, as XML."""

import signal
import xml.etree.ElementTree as ET
from contextlib import suppress
from types import FrameType

import libvirt
import pytest

from zclab.errors import MigrationError, MigrationRefusedError, ParseError
from zclab.host import domain, migration
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


def render(device: ET.Element, libvirt_version: domain.Version = (11, 3, 0)) -> ET.Element:
    text = domain.domain_xml(
        "zclab-x", Guest(vcpus=2), FILES, MANAGEMENT, device, libvirt_version=libvirt_version
    )
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


@pytest.mark.parametrize(
    ("version", "watchdogs"),
    [((9, 0, 0), []), ((9, 1, 0), [{"model": "itco", "action": "none"}])],
)
def test_a_libvirt_that_does_not_know_the_machines_watchdog_is_told_nothing_of_it(
    version: domain.Version, watchdogs: list[dict[str, str]]
) -> None:
    """Debian 12's refuses the whole guest: unknown watchdog model 'itco'."""
    xml = render(domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256), version)

    assert [watchdog.attrib for watchdog in xml.iter("watchdog")] == watchdogs


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


def test_of_a_hosts_guests_only_those_in_the_list_are_destroyed() -> None:
    """The library's own test driver has one guest, whose name is test."""
    connection = domain.Libvirt("test:///default")
    try:
        assert connection.destroy_leftovers(("zclab-3b00-vhost", "tes")) == []
        assert connection.links_of(("zclab-3b00-vhost",)) == set()
        assert connection.destroy_leftovers(("test",)) == ["test"]
        assert connection.destroy_leftovers(("test",)) == []
    finally:
        connection.close()


def test_a_libvirts_version_is_three_numbers() -> None:
    connection = domain.Libvirt("test:///default")
    try:
        assert connection.version >= domain.MINIMUM
    finally:
        connection.close()


class InterruptedHere(BaseException):
    """What the handler of a signal raises, as that of Ctrl-C raises KeyboardInterrupt."""


def test_a_signal_during_a_call_that_fails_is_raised_as_itself() -> None:
    """Ctrl-C, which ends libvirt's SSH too, so that the call fails with it."""
    connection = domain.Libvirt("test:///default")

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise InterruptedHere

    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for _ in range(100):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                for _ in range(1000):  # it may be raised where Python must drop it
                    with suppress(domain.DomainError):
                        connection.start("<domain type='test'><name>none</name></domain>")
            except InterruptedHere:
                interrupted += 1
    finally:
        signal.signal(signal.SIGALRM, previous)
        connection.close()
    assert interrupted > 50


def test_the_links_of_a_guest_are_those_that_libvirt_made_for_it() -> None:
    connection = domain.Libvirt("test:///default")
    try:
        device = domain.existing_tap_interface(name="mp3b00", mac=MAC, queue_size=256)
        xml = ET.fromstring("<domain type='test'><name>zclab-3b00-zerocopy</name></domain>")
        ET.SubElement(xml, "memory").text = "8192"
        ET.SubElement(ET.SubElement(xml, "os"), "type").text = "hvm"
        ET.SubElement(xml, "devices").append(device)
        connection.start(ET.tostring(xml, encoding="unicode"))

        assert connection.links_of(("zclab-3b00-zerocopy", "other")) == {"mp3b00"}
    finally:
        connection.close()


def test_a_guest_that_may_be_migrated_has_a_cpu_that_qemu_can_take_along() -> None:
    device = domain.macvtap_interface(netdev="eth0", mac=MAC, queue_size=256)
    guests = [
        ET.fromstring(
            domain.domain_xml(
                "zclab-x",
                Guest(),
                FILES,
                MANAGEMENT,
                device,
                libvirt_version=(11, 3, 0),
                migratable=migratable,
            )
        )
        for migratable in (False, True)
    ]

    assert [guest.find("cpu").get("migratable") for guest in guests] == ["off", "on"]
    watched = ["tsc=nowatchdog" in (guest.findtext("os/cmdline") or "") for guest in guests]
    assert watched == [False, True], "a trial fails where a guest's TSC jumps, and it does there"


LIVE = """\
<domain type='kvm'><name>zclab-x</name><devices>
  <interface type='direct'><mac address='52:54:00:7a:63:01'/><source dev='eth2' mode='passthrough'/>
    <target dev='macvtap0'/><address type='pci' bus='0x01'/></interface>
  <interface type='bridge'><mac address='52:54:00:7a:63:f0'/><source bridge='zclab0'/></interface>
</devices></domain>
"""


def test_on_another_host_a_guest_has_its_interface_there_in_the_same_slot() -> None:
    """Its PCI address is part of what QEMU sends: another one would be another machine."""
    there = domain.existing_tap_interface(name="mp0", mac=MAC, queue_size=256)

    moved = ET.fromstring(migration.with_device(LIVE, there))

    first, second = moved.iter("interface")
    assert [(first.get("type"), first.find("target").get("dev")), second.get("type")] == [
        ("ethernet", "mp0"),
        "bridge",
    ]
    assert first.find("address").attrib == {"type": "pci", "bus": "0x01"}
    assert there.find("address") is None, "the device of the mode stays as it is"


def test_a_device_that_is_no_interface_is_left_to_libvirt_to_refuse() -> None:
    assert migration.with_device(LIVE, domain.pci_hostdev("0000:01:00.0")) == LIVE


JOB: dict[str, object] = {
    "type": 3,
    "time_elapsed": 18446,
    "downtime": 760,
    "memory_total": 268435456,
    "memory_constant": 60000,
    "memory_normal": 5731,
    "memory_iteration": 3,
}


def test_pages_beyond_the_guests_memory_were_sent_again() -> None:
    assert migration.migration_statistics(JOB) == migration.MigrationStatistics(
        downtime_ms=760, total_ms=18446, pages=65731, pages_again=195, passes=3
    )


def test_the_downtime_is_qemus_own_where_libvirt_tells_it() -> None:
    """What libvirt reckons itself was longer than the gap in the traffic: two clocks differed."""
    found = migration.migration_statistics({**JOB, "downtime": 1075, "downtime_net": 218})

    assert found is not None
    assert found.downtime_ms == 218


def test_statistics_of_no_migration_are_none() -> None:
    assert migration.migration_statistics({"type": 0}) is None


def test_statistics_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(ParseError, match="memory_normal: found 'many'"):
        migration.migration_statistics({**JOB, "memory_normal": "many"})


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        (libvirt.VIR_ERR_OPERATION_INVALID, True),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, True),
        (libvirt.VIR_ERR_SYSTEM_ERROR, False),
        (libvirt.VIR_ERR_AUTH_FAILED, False),
    ],
)
def test_a_host_that_is_not_reached_is_no_refusal(
    code: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = domain.Libvirt("test:///default")
    try:
        guest = domain.Domain(connection._connection.lookupByName("test"))
        error = libvirt.libvirtError("it said so")
        error.err = (code, 0, "it said so", 2, None, None, None, 0, 0)

        def fail(*_args: object) -> None:
            raise error

        monkeypatch.setattr(guest._domain, "migrateToURI3", fail)
        device = domain.existing_tap_interface(name="mp3b00", mac=MAC, queue_size=256)

        with pytest.raises(MigrationError) as caught:
            guest.migrate("qemu:///there", "tcp://there", device=device)
    finally:
        connection.close()

    assert isinstance(caught.value, MigrationRefusedError) == refused
