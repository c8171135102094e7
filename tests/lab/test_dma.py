"""Where the NIC writes the frames for the guest: by its own word, and nobody else's.

The emulator traces the address of every buffer that it writes as a NIC. With the IOMMU passed by,
as on the lab's host, that is an address in the host's memory; whether it is the guest's is what
/proc/PID/pagemap says about the memory that QEMU gave the guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.bench import boot_in, opened
from zclab.bench.guest import RunningGuest, running_guest
from zclab.bench.plan import select_workloads
from zclab.config import with_overrides
from zclab.lab import emulated, machine
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, ModeName, NicModel
from zclab.netperf import netperf_argv
from zclab.units import MIB

pytestmark = pytest.mark.lab

PAGE_BYTES = 4096
SENT_BYTES = 16 * MIB
TRACED = "*_rx_desc_buff_write"
WRITE = re.compile(
    r"rx_desc_buff_write buffer #?\d+, "
    r"addr: 0x(?P<addr>[0-9a-f]+), offset: (?P<offset>\d+), from: \w+, length: (?P<len>\d+)$",
    re.MULTILINE,
)
"""As hw/net/trace-events of QEMU has it, for e1000e with a ``#`` and for igb without."""

# Print the ranges of physical pages, first and last, behind a process's largest mapping, which is
# the guest's memory. In an entry of pagemap, bit 63 says present, bits 0 to 54 are the page.
PAGES = """
import os, struct, sys
pid = sys.argv[1]
spans = [line.split()[0].split("-") for line in open(f"/proc/{pid}/maps")]
start, end = max(((int(a, 16), int(b, 16)) for a, b in spans), key=lambda s: s[1] - s[0])
with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
    pagemap.seek(start // 4096 * 8)
    data = pagemap.read((end - start) // 4096 * 8)
pages = sorted(e & (1 << 55) - 1 for (e,) in struct.iter_unpack("Q", data) if e >> 63)
first = last = None
for page in pages:
    if last is None or page != last + 1:
        if last is not None:
            print(first, last)
        first = page
    last = page
print(first, last)
"""


def guest_pages(guest: RunningGuest) -> set[int]:
    """Return the numbers of the host's pages that the guest has for its memory."""
    argv = ("python3", "-c", PAGES, str(guest.roles.qemu_pid))
    pages: set[int] = set()
    for line in guest.session.host.run(argv).stdout.splitlines():
        first, last = map(int, line.split())
        pages.update(range(first, last + 1))
    return pages


@contextmanager
def traced(folder: Path, written: list[tuple[int, int]]) -> Iterator[None]:
    """Add where each part of a frame that a NIC of the lab writes begins, and ends, to ``written``.

    In bytes of the host's memory, and the end is the last byte.
    """
    log = folder / machine.RESET_LOG
    before = log.stat().st_size
    items = f"cpu_reset,trace:{TRACED}"
    machine.monitor(folder, "human-monitor-command", {"command-line": f"log {items}"})
    try:
        yield
    finally:
        machine.monitor(folder, "trace-event-set-state", {"name": TRACED, "enable": False})
    with log.open() as lines:
        lines.seek(before)
        for found in WRITE.finditer(lines.read()):
            start, size = int(found["addr"], 16) + int(found["offset"]), int(found["len"])
            written.append((start, start + size - 1))


@pytest.mark.parametrize("nic", ["e1000e", pytest.param("igb", marks=pytest.mark.nightly)])
def test_the_nic_itself_writes_the_guests_memory(
    own_lab: Lab, artifacts: Artifacts, nic: NicModel
) -> None:
    """As many bytes as the mp device says in mode zerocopy, and none in mode vhost.

    How many that is depends on the machine that the lab runs on: where the guest does not get to
    refill its virtqueue within two jiffies, the next 1024 frames are copied (decision 19).
    """
    workload = select_workloads(names=("TCP_STREAM",), directions=("rx",))[0]
    lab = with_overrides(own_lab, nic=nic)
    inside: dict[ModeName, int] = {}
    counted: dict[ModeName, int] = {}
    modes: tuple[ModeName, ...] = ("vhost", "zerocopy")
    with opened(lab, artifacts, keep=False, offloads="off") as session:
        for mode in modes:
            with running_guest(session, boot_in(mode)) as guest:
                sender, target = guest.sender(workload)
                written: list[tuple[int, int]] = []
                before = guest.mode.counters(session)
                with traced(emulated.folder_of(lab.name), written):
                    sender.run(netperf_argv(workload, target=target, amount=SENT_BYTES))
                pages = guest_pages(guest)
                after = guest.mode.counters(session)
            assert len(pages) > 10_000
            assert sum(last - first + 1 for first, last in written) > SENT_BYTES
            inside[mode] = sum(
                last - first + 1
                for first, last in written
                if first // PAGE_BYTES in pages and last // PAGE_BYTES in pages
            )
            counted[mode] = after.get("rx_zc_bytes", 0) - before.get("rx_zc_bytes", 0)

    assert inside["vhost"] == counted["vhost"] == 0
    assert inside["zerocopy"] > SENT_BYTES / 2
    assert inside["zerocopy"] == pytest.approx(counted["zerocopy"], rel=0.01)
