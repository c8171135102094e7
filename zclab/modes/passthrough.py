"""Mode ``passthrough``: the guest has the NIC itself, through vfio-pci and the host's IOMMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from zclab.errors import LabError, ZclabError
from zclab.host import domain, netdev
from zclab.host.guest import GuestNic
from zclab.lab.session import Session
from zclab.model import ModeName
from zclab.modes.base import Attachment, Counters, Evidence, Window, peer_saw_it
from zclab.outside import whole_number
from zclab.runner import read_text

DRIVER = "vfio-pci"


class Passthrough:
    """The ceiling: no software of the host is in the data path."""

    name: ModeName = "passthrough"
    migrates = False

    @contextmanager
    def attach(self, session: Session) -> Iterator[Attachment]:
        """See Mode; the NIC's own driver gets it back at the end.

        Raises LabError where the NIC shares its IOMMU group: the guest would get it all.
        """
        pci = session.lab.nic
        group, members = netdev.iommu_group(session.host, pci)
        others = [member for member in members if member != pci]
        if others and any(netdev.driver_of(session.host, other) != "pcieport" for other in others):
            msg = (
                f"{pci} shares IOMMU group {group} with {', '.join(others)}; passthrough needs it "
                "alone: use a slot with ACS, or bind the others to vfio-pci too"
            )
            raise LabError(msg)
        netdev.bind_driver(session.host, pci, DRIVER)
        try:
            yield Attachment(device=domain.pci_hostdev(pci), nic=None)
        except BaseException:
            with suppress(ZclabError):  # what went wrong first is what to say
                self._give_back(session)
            raise
        self._give_back(session)

    @staticmethod
    def _give_back(session: Session) -> None:
        netdev.release_driver(session.host, session.lab.nic)
        session.retune_nic()

    def counters(self, session: Session) -> Counters:
        """See Mode."""
        interrupts = read_text(session.host, "/proc/interrupts")
        return {"vfio_interrupts": vfio_interrupts(interrupts, session.lab.nic)}

    def evidence(self, session: Session, nic: GuestNic, window: Window) -> Evidence:
        """See Mode: the guest drove the hardware, and its interrupts came through VFIO."""
        evidence = Evidence()
        evidence.expect("host_driver", netdev.driver_of(session.host, session.lab.nic), DRIVER)
        evidence.facts["guest_driver"] = nic.driver
        if nic.driver in {"virtio_net", DRIVER}:
            evidence.contradictions.append(f"the guest's driver is {nic.driver}")
        evidence.expect_growth("vfio_interrupts", window.grown("vfio_interrupts"))
        peer_saw_it(evidence, window)
        return evidence


def vfio_interrupts(text: str, pci: str) -> int:
    """Return how many interrupts of a function VFIO has passed on, from /proc/interrupts.

    Its lines look like ``37: 51 1204 IR-PCI-MSIX-0000:01:00.0 0-edge vfio-msix[0](0000:01:00.0)``.
    """
    total = 0
    for line in text.splitlines():
        if re.search(rf"vfio-\S+\({re.escape(pci)}\)", line):
            for word in line.partition(":")[2].split():
                if not word.isdecimal():
                    break
                total += whole_number(word, f"/proc/interrupts: {pci}")
    return total
