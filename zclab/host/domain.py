"""Guests as libvirt domains: their XML, and their life.

The XML is rendered by a pure function, so that what a mode asks for can be read and tested; the
rest of the file is the only one that talks to libvirt.
"""

from __future__ import annotations

import operator
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import libvirt

from zclab.errors import CommandError, DomainError, MigrationError, MigrationRefusedError
from zclab.host.migration import MigrationStatistics, migration_statistics, with_device
from zclab.model import Guest
from zclab.runner import wait_until

MINIMUM = (6, 5, 0)
"""The first libvirt that knows all that domain_xml() says: fwcfg, and migratable CPUs."""

ITCO = (9, 1, 0)
"""The first libvirt that knows q35's own watchdog, and gives it to a guest that names none."""

Version = tuple[int, int, int]

QEMU_LOGS = "/var/log/libvirt/qemu"
"""Where libvirt keeps what each guest's QEMU prints, and why it ended."""

STOP_DEADLINE_S = 20

_REFUSALS = (
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
)
"""What libvirt says of a guest that it does not migrate. Another host that cannot be reached, or a
login that is not let in, is another error."""


@dataclass(frozen=True, kw_only=True)
class GuestFiles:
    """What a guest boots from, as paths on its host, and its public key for logging in."""

    kernel: str
    initrd: str
    host_key: str
    console_log: str
    authorized_key: str


@dataclass(frozen=True, kw_only=True)
class Management:
    """The guest's second interface, which zclab reaches it by in every mode."""

    bridge: str
    mac: str
    address: str


def domain_xml(
    name: str,
    guest: Guest,
    files: GuestFiles,
    management: Management,
    device: ET.Element,
    *,
    libvirt_version: Version,
    migratable: bool = False,
) -> str:
    """Render a domain whose interface under test is ``device`` (``<interface>`` or ``<hostdev>``).

    The type is always ``kvm``: libvirt opens vhost-net for no other. An older libvirt than ITCO
    refuses that watchdog, and leaves it as QEMU has it: unable to reset the guest. ``migratable``
    has the guest's CPU do without what QEMU cannot take to another host.
    """
    domain = ET.Element("domain", type="kvm")
    _add(domain, "name", name)
    _add(domain, "memory", str(guest.memory_mib), unit="MiB")
    _add(domain, "vcpu", str(guest.vcpus))
    os = _add(domain, "os")
    _add(os, "type", "hvm", arch="x86_64", machine="q35")
    _add(os, "kernel", files.kernel)
    _add(os, "initrd", files.initrd)
    cmdline = "console=ttyS0 loglevel=5 printk.time=1 panic=-1"
    if migratable:
        # Two hosts' TSCs are not one: on another host the guest would say that its own has jumped,
        # which fails a trial. Its clock is KVM's.
        cmdline += " tsc=nowatchdog"
    _add(os, "cmdline", f"{cmdline} zclab.mgmt={management.mac},{management.address}")
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(features, "apic")
    _add(domain, "cpu", mode="host-passthrough", migratable="on" if migratable else "off")
    # As virt-install has it. A guest that leaves its HPET running wakes QEMU's main loop at every
    # tick, for 28,000 instructions; whether one does depends on how its boot went.
    clock = _add(domain, "clock", offset="utc")
    _add(clock, "timer", name="hpet", present="no")
    _add(domain, "on_poweroff", "destroy")
    # Nobody reboots a guest in a trial: one that resets itself has crashed.
    _add(domain, "on_reboot", "destroy")
    _add(domain, "on_crash", "destroy")
    sysinfo = _add(domain, "sysinfo", type="fwcfg")
    _add(sysinfo, "entry", files.authorized_key, name="opt/zclab/authorized_key")
    _add(sysinfo, "entry", name="opt/zclab/host_key", file=files.host_key)

    devices = _add(domain, "devices")
    serial = _add(devices, "serial", type="file")
    _add(serial, "source", path=files.console_log, append="off")
    devices.append(device)
    # The management NIC is served by QEMU itself, so that the only vhost worker is the one
    # under test.
    nic = _add(devices, "interface", type="bridge")
    _add(nic, "mac", address=management.mac)
    _add(nic, "source", bridge=management.bridge)
    _add(nic, "model", type="virtio")
    _add(nic, "driver", name="qemu")
    _add(nic, "rom", enabled="no")
    _add(devices, "controller", type="usb", model="none")
    _add(devices, "memballoon", model="none")
    if libvirt_version >= ITCO:
        _add(devices, "watchdog", model="itco", action="none")
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode") + "\n"


def virtio_interface(kind: str, *, mac: str, queue_size: int, queues: int) -> ET.Element:
    """Return an ``<interface>`` of virtio-net on vhost-net; the caller adds source or target."""
    interface = ET.Element("interface", type=kind)
    _add(interface, "mac", address=mac)
    _add(interface, "model", type="virtio")
    driver = _add(interface, "driver", name="vhost", rx_queue_size=str(queue_size))
    if queues > 1:
        driver.set("queues", str(queues))
    _add(interface, "rom", enabled="no")
    return interface


def macvtap_interface(*, netdev: str, mac: str, queue_size: int, queues: int = 1) -> ET.Element:
    """Return the interface of a guest that owns ``netdev`` through a macvtap of libvirt's."""
    interface = virtio_interface("direct", mac=mac, queue_size=queue_size, queues=queues)
    _add(interface, "source", dev=netdev, mode="passthrough")
    return interface


def existing_tap_interface(*, name: str, mac: str, queue_size: int, queues: int = 1) -> ET.Element:
    """Return the interface of a guest on a link that exists and has a /dev/tap<ifindex>."""
    interface = virtio_interface("ethernet", mac=mac, queue_size=queue_size, queues=queues)
    _add(interface, "target", dev=name, managed="no")
    return interface


def pci_hostdev(pci: str) -> ET.Element:
    """Return the ``<hostdev>`` of a PCI function that is bound to vfio-pci already."""
    segment, bus, rest = pci.split(":")
    slot, function = rest.split(".")
    hostdev = ET.Element("hostdev", mode="subsystem", type="pci", managed="no")
    source = _add(hostdev, "source")
    _add(
        source,
        "address",
        domain=f"0x{segment}",
        bus=f"0x{bus}",
        slot=f"0x{slot}",
        function=f"0x{function}",
    )
    _add(hostdev, "rom", enabled="no")
    return hostdev


class Libvirt:
    """A connection to a host's libvirtd."""

    def __init__(self, uri: str) -> None:
        # The library prints every error to stderr, besides raising it. The handler is no Python
        # function: Ctrl-C during a call would be raised inside it, and end in a SystemError.
        libvirt.registerErrorHandler(operator.is_, None)
        try:
            self._connection = libvirt.open(uri)
        except libvirt.libvirtError as exc:
            raise DomainError(f"cannot connect to libvirt at {uri}: {exc}") from exc

    @property
    def version(self) -> Version:
        """Libvirtd's version, such as ``(11, 3, 0)``."""
        try:
            number = self._connection.getLibVersion()
        except libvirt.libvirtError as exc:
            raise DomainError(f"libvirt does not tell its version: {exc}") from exc
        return number // 1_000_000, number // 1000 % 1000, number % 1000

    def probe(self) -> None:
        """Have libvirt find out what QEMU can do, which it keeps and else does at first need."""
        self._connection.getDomainCapabilities(None, "x86_64", "q35", "kvm")

    def start(self, xml: str) -> Domain:
        """Start a transient domain; DomainError has libvirt's own words."""
        name = ET.fromstring(xml).findtext("name")  # noqa: S314 - our own XML
        try:
            return Domain(self._connection.createXML(xml))
        except libvirt.libvirtError as exc:
            raise DomainError(f"guest {name} did not start: {exc}") from exc

    def find(self, name: str) -> Domain | None:
        """Return the running domain of a name, None where there is none."""
        for domain in self._running((name,)):
            return Domain(domain)
        return None

    def destroy_leftovers(self, names: Collection[str]) -> list[str]:
        """Destroy those of the domains ``names`` that an earlier run left; return their names."""
        found = self._running(names)
        for domain in found:
            Domain(domain).destroy()
        return [domain.name() for domain in found]

    def links_of(self, names: Collection[str]) -> set[str]:
        """Return the names of the links that libvirt made for those of ``names`` that run."""
        try:
            described = [ET.fromstring(d.XMLDesc()) for d in self._running(names)]  # noqa: S314 - libvirt's
        except libvirt.libvirtError as exc:
            raise DomainError(f"libvirt does not describe its guests: {exc}") from exc
        targets = [one for xml in described for one in xml.iterfind("devices/interface/target")]
        return {target.get("dev", "") for target in targets} - {""}

    def _running(self, names: Collection[str]) -> list[libvirt.virDomain]:
        try:
            there = self._connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
            return [domain for domain in there if domain.name() in names]
        except libvirt.libvirtError as exc:
            raise DomainError(f"libvirt does not list its guests: {exc}") from exc

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Domain:
    """One running guest."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        self._domain = domain
        self.name: str = domain.name()

    def is_active(self) -> bool:
        """Tell whether the guest still runs."""
        try:
            return bool(self._domain.isActive())
        except libvirt.libvirtError:
            return False

    def stop(self) -> None:
        """Press the power button; pull the plug if that does not end it in STOP_DEADLINE_S."""
        try:
            self._domain.shutdown()
            wait_until(
                lambda: not self.is_active(),
                what=f"guest {self.name} to power off",
                deadline_s=STOP_DEADLINE_S,
            )
        except (libvirt.libvirtError, CommandError):
            self.destroy()

    def migrate(
        self, libvirt_uri: str, migrate_uri: str, *, device: ET.Element, post_copy: bool = False
    ) -> None:
        """Move the guest to another host while it runs; it is found there by the same name.

        libvirtd of this host reaches that one's by ``libvirt_uri``, and memory is sent to
        ``migrate_uri``. There the guest's interface of the same address is ``device``. Raises
        MigrationError with libvirt's own words where it does not get there, and
        MigrationRefusedError where libvirt does not migrate such a guest at all; the guest
        goes on here then.
        """
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
        if post_copy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        try:
            xml = self._domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)
            parameters = {
                libvirt.VIR_MIGRATE_PARAM_URI: migrate_uri,
                libvirt.VIR_MIGRATE_PARAM_DEST_XML: with_device(xml, device),
            }
            self._domain.migrateToURI3(libvirt_uri, parameters, flags)
        except libvirt.libvirtError as exc:
            refused = exc.get_error_code() in _REFUSALS
            kind = MigrationRefusedError if refused else MigrationError
            raise kind(f"guest {self.name} was not migrated: {exc}") from exc

    def cancel_migration(self) -> bool:
        """Stop a migration that is under way; tell whether there was one to stop."""
        try:
            self._domain.abortJob()
        except libvirt.libvirtError as exc:
            if exc.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
                return False
            raise DomainError(f"guest {self.name}: libvirt does not cancel: {exc}") from exc
        return True

    def limit_migration(self, mib_per_s: int) -> None:
        """Have a migration, now or later, send no more than so much in a second."""
        try:
            self._domain.migrateSetMaxSpeed(mib_per_s)
        except libvirt.libvirtError as exc:
            raise DomainError(f"guest {self.name}: no limit for a migration: {exc}") from exc

    def migration(self) -> MigrationStatistics | None:
        """Return what QEMU says of a migration that has ended here; None where it says nothing."""
        try:
            found = self._domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        except libvirt.libvirtError as exc:
            raise DomainError(f"guest {self.name}: no figures of its migration: {exc}") from exc
        return migration_statistics(found)

    def destroy(self) -> None:
        """Pull the plug."""
        try:
            self._domain.destroy()
        except libvirt.libvirtError as exc:
            if self.is_active():
                raise DomainError(f"guest {self.name} cannot be destroyed: {exc}") from exc


@contextmanager
def running(connection: Libvirt, xml: str) -> Iterator[Domain]:
    """Run a guest, stopped at the end: cleanly if all went well, at once if not."""
    domain = connection.start(xml)
    try:
        yield domain
    except BaseException:
        domain.destroy()
        raise
    domain.stop()


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    element.text = text
    return element
