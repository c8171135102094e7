"""Mode ``vhost``: virtio-net on vhost-net and a macvtap that owns the NIC; the host copies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zclab.host import domain, netdev
from zclab.host.guest import GuestNic
from zclab.lab.session import Session
from zclab.model import ModeName
from zclab.modes.base import Attachment, Counters, Evidence, Window, peer_saw_it
from zclab.runner import read_text

ZCOPYTX = "/sys/module/vhost_net/parameters/experimental_zcopytx"


class Vhost:
    """The baseline: libvirt makes the macvtap and takes it away again."""

    name: ModeName = "vhost"
    migrates = True

    @contextmanager
    def attach(self, session: Session) -> Iterator[Attachment]:
        """See Mode; libvirt itself makes the macvtap, so there is nothing to undo here."""
        device = domain.macvtap_interface(
            netdev=session.nic,
            mac=session.mac,
            queue_size=session.lab.tunables.vhost_queue_size,
            queues=session.lab.guest.queues,
        )
        yield Attachment(device=device, nic=session.nic)

    def counters(self, session: Session) -> Counters:
        """See Mode."""
        return {f"nic_{k}": v for k, v in netdev.statistics(session.host, session.nic).items()}

    def evidence(self, session: Session, nic: GuestNic, window: Window) -> Evidence:
        """See Mode: nothing may have been zero-copied, by the module's word or by the probe's."""
        evidence = Evidence()
        evidence.expect("guest_driver", nic.driver, "virtio_net")
        evidence.facts["virtio_features"] = nic.virtio_features
        evidence.expect("guest_queues", nic.receive_queues, session.lab.guest.queues)
        evidence.expect("host_link", _upper_kind(session), "macvtap")
        evidence.expect("experimental_zcopytx", read_text(session.host, ZCOPYTX).strip(), "0")
        evidence.expect("zerocopy_sends", window.copies.get("zerocopy_sends"), 0)
        evidence.expect_growth("nic_rx_packets", window.grown("nic_rx_packets"))
        evidence.expect_growth("nic_tx_packets", window.grown("nic_tx_packets"))
        if window.nic_writes:
            evidence.expect("nic_to_guest_bytes", window.nic_writes.to_guest_bytes, 0)
        peer_saw_it(evidence, window)
        return evidence


def _upper_kind(session: Session) -> str | None:
    """Return the kind of the link on the DUT's NIC."""
    kinds = netdev.kinds_on(session.host, session.nic)
    return kinds[0] if len(kinds) == 1 else ", ".join(kinds) or None
