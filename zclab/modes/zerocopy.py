"""Mode ``zerocopy``: virtio-net on vhost-net and the mp device, which the lab's kernel brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from zclab.errors import CommandError, LabError
from zclab.host import domain, netdev
from zclab.host.guest import GuestNic
from zclab.lab.session import Session
from zclab.model import ModeName
from zclab.modes.base import Attachment, Counters, Evidence, Window, grown, peer_saw_it

MOST_OF_IT = 0.5
"""The share of a stream's payload that must have been zero-copied for it to be called that."""

TOLERATED = 0.05
"""The share by which NIC and mp device may differ in what the NIC wrote to the guest's memory.

Frames are on their way when counters are read, and pages may be the guest's only since then.
"""

ROOM = "rx_zc_max_frame"
"""What a buffer must have room for. No counter: 0 while frames are copied, see mp.rst."""

SMALL_FRAME_BYTES = 512
"""vhost-net copies frames to send that are smaller (VHOST_TX_ZC_LEN)."""

LONE_FRAME_BYTES = 4096
"""It copies smaller ones, too, while nothing else is on its way (VHOST_LONECOPY_LEN)."""


class Zerocopy:
    """Transmit without copying the payload, and receive so where the NIC's driver can."""

    name: ModeName = "zerocopy"
    migrates = True

    @contextmanager
    def attach(self, session: Session) -> Iterator[Attachment]:
        """See Mode; raises LabError where the host's kernel has no mp device."""
        host, name = session.host, session.names.link
        try:
            link = netdev.link(host, name, "link", session.nic, "type", "mp")
            with link:
                netdev.set_up(host, name, mtu=session.mtu)
                device = domain.existing_tap_interface(
                    name=name,
                    mac=session.mac,
                    queue_size=session.lab.tunables.vhost_queue_size,
                    queues=session.lab.guest.queues,
                )
                yield Attachment(device=device, nic=session.nic)
        except CommandError as exc:
            if "Unknown device type" in str(exc):
                msg = f"{host.where}: its kernel has no mp device; boot one built with the series"
                raise LabError(msg) from exc
            raise

    def counters(self, session: Session) -> Counters:
        """See Mode."""
        return netdev.driver_statistics(session.host, session.names.link)

    def evidence(self, session: Session, nic: GuestNic, window: Window) -> Evidence:
        """See Mode: the mp device's counters, and the copy probe's independent word."""
        evidence = Evidence()
        evidence.expect("guest_driver", nic.driver, "virtio_net")
        evidence.facts["virtio_features"] = nic.virtio_features
        evidence.expect("guest_queues", nic.receive_queues, session.lab.guest.queues)
        evidence.expect("host_link", netdev.kind_of(session.host, session.names.link), "mp")
        for name in sorted(window.after):
            if name != ROOM and (grown := window.grown(name)):
                evidence.facts[f"mp_{name}"] = grown
        if window.workload.direction == "tx":
            self._check_transmit(evidence, window)
        elif window.workload.direction == "rx":
            self._check_receive(evidence, window)
        peer_saw_it(evidence, window)
        return evidence

    @staticmethod
    def _check_transmit(evidence: Evidence, window: Window) -> None:
        share = window.grown("tx_zc_bytes") / window.payload_bytes
        evidence.facts["tx_zerocopy_share"] = round(share, 4)
        if window.workload.message_bytes < SMALL_FRAME_BYTES:
            return  # copied by design
        wanted = MOST_OF_IT if window.workload.message_bytes >= LONE_FRAME_BYTES else 0
        if share <= wanted:
            evidence.contradictions.append(f"only {share:.1%} of the payload was zero-copied")
        if not window.copies.get("zerocopy_sends"):
            evidence.contradictions.append("the copy probe saw no zero-copied send")

    @staticmethod
    def _check_receive(evidence: Evidence, window: Window) -> None:
        room = window.after.get(ROOM, 0)
        evidence.facts["rx_zerocopy"] = "on" if room else "off"
        if not room:
            # Claims no zero-copy: no support by the NIC's driver, GRO is on, or the MTU too long
            Zerocopy._check_merged(evidence, window)
            return
        frames = window.grown("rx_zc_bytes") + window.grown("rx_copy_bytes")
        share = window.grown("rx_zc_bytes") / frames if frames else 0.0
        evidence.facts["rx_zerocopy_share"] = round(share, 4)
        if share < MOST_OF_IT:
            evidence.contradictions.append(f"only {share:.1%} was received without a copy")
        if writes := window.nic_writes:
            said = grown(writes.before, writes.after, "rx_zc_bytes")
            evidence.facts["nic_to_guest_bytes"] = writes.to_guest_bytes
            if abs(writes.to_guest_bytes - said) > said * TOLERATED:
                evidence.contradictions.append(
                    f"the NIC wrote {writes.to_guest_bytes} bytes to the guest's memory, and the "
                    f"mp device counted {said}"
                )

    @staticmethod
    def _check_merged(evidence: Evidence, window: Window) -> None:
        """Frames that the NIC's driver merged without an skb are copied to the guest once.

        They count with all their headers, and a merged frame is copied with one.
        """
        if not (merged := window.grown("rx_merged_bytes")):
            return
        share = min(1.0, merged / window.payload_bytes)
        evidence.facts["rx_merged_share"] = round(share, 4)
        copied = window.grown("rx_copy_bytes")
        if copied < window.payload_bytes * (1 - TOLERATED):
            evidence.contradictions.append(
                f"the driver merged {merged} bytes, and only {copied} were copied to the guest"
            )
