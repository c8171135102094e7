"""A guest whose NIC writes to its memory can still be swapped out, and merged with KSM.

Passthrough is the control: it pins all of the guest's memory, so that none of it can be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.bench import boot_in, opened
from tests.lab.traffic import both_ways
from zclab.bench.guest import RunningGuest, running_guest
from zclab.lab.artifacts import Artifacts
from zclab.lab.session import Session
from zclab.model import Lab, ModeName
from zclab.runner import Runner, read_text, wait_until, write_text
from zclab.units import MIB

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("lab_up")]

MODES = ("zerocopy", pytest.param("passthrough", marks=pytest.mark.nightly))

FILE = "/tmp/zclab-fill"  # noqa: S108 - of the guest; in its memory, as all files there are
SIZE = 32 * MIB
GROUP = "/sys/fs/cgroup/zclab-test"
RECLAIMS = 60
"""The first time the kernel only notices that a page has not been used since, and in a group of so
few pages, most of them huge, it looks at none at all now and then: 1 to 15 were needed."""
KSM = "/sys/kernel/mm/ksm"

_SWAP_ON = "echo 256M > /sys/block/zram0/disksize && mkswap /dev/zram0 && swapon /dev/zram0"
_SWAP_OFF = "swapoff /dev/zram0 && echo 1 > /sys/block/zram0/reset"
_GROUP_ON = f"echo +memory > /sys/fs/cgroup/cgroup.subtree_control && mkdir {GROUP}"
_GROUP_OFF = (
    f"for i in $(cat {GROUP}/cgroup.procs); do echo $i > /sys/fs/cgroup/cgroup.procs; done;"
    f" rmdir {GROUP}"
)
_KSM_ON = f"echo 10000 > {KSM}/pages_to_scan; echo 20 > {KSM}/sleep_millisecs; echo 1 > {KSM}/run"
_KSM_OFF = f"echo 2 > {KSM}/run; echo 0 > {KSM}/run"


@contextmanager
def done_and_undone(host: Runner, do: str, undo: str) -> Iterator[None]:
    host.run(("sh", "-ec", do))
    try:
        yield
    finally:
        host.run(("sh", "-c", undo), check=False)


@contextmanager
def in_mode(
    lab: Lab, artifacts: Artifacts, mode: ModeName
) -> Iterator[tuple[Session, RunningGuest]]:
    with (
        opened(lab, artifacts, offloads="off") as session,
        running_guest(session, boot_in(mode)) as guest,
    ):
        yield session, guest


def filled(guest: RunningGuest, source: str) -> str:
    """Fill memory of the guest and return the hash of that."""
    dd = f"dd bs=1M count={SIZE // MIB} iflag=fullblock of={FILE}"
    guest.runner.run(("sh", "-c", f"{source} | {dd}"), timeout_s=300)
    return hash_of(guest)


def hash_of(guest: RunningGuest) -> str:
    return guest.runner.run(("sha256sum", FILE), timeout_s=300).stdout.split()[0]


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_reclaimed_under_traffic(lab: Lab, artifacts: Artifacts, mode: ModeName) -> None:
    with (
        in_mode(lab, artifacts, mode) as (session, guest),
        done_and_undone(session.host, _SWAP_ON, _SWAP_OFF),
        done_and_undone(session.host, _GROUP_ON, _GROUP_OFF),
    ):
        # What the guest touches first from here on is charged to the group.
        write_text(session.host, f"{GROUP}/cgroup.procs", str(guest.roles.qemu_pid))
        before = filled(guest, "cat /dev/urandom")
        with both_ways(session, guest.runner) as traffic:
            reclaim = f"echo {SIZE // 2} > {GROUP}/memory.reclaim"
            for _ in range(RECLAIMS):
                session.host.run(("sh", "-c", reclaim), timeout_s=300, check=False)
                swapped = int(read_text(session.host, f"{GROUP}/memory.swap.current"))
                if swapped >= SIZE / 4:
                    break
            traffic.wait_for_more()
            assert hash_of(guest) == before
            assert traffic.finish()

    if mode == "passthrough":
        assert swapped < SIZE / 4  # QEMU's own
    else:
        assert swapped >= SIZE / 4


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_merged_under_traffic(lab: Lab, artifacts: Artifacts, mode: ModeName) -> None:
    """KSM looks at a page twice before it merges it, so three scans decide it."""
    with (
        in_mode(lab, artifacts, mode) as (session, guest),
        done_and_undone(session.host, _KSM_ON, _KSM_OFF),
    ):
        before = filled(guest, "tr '\\0' y < /dev/zero")
        with both_ways(session, guest.runner) as traffic:
            scans = ksm(session, "full_scans")
            wait_until(
                lambda: ksm(session, "full_scans") >= scans + 3,
                what="KSM to look at all memory three times",
                deadline_s=300,
                interval_s=1,
            )
            merged = ksm(session, "pages_sharing") * 4096
            traffic.wait_for_more()
            assert hash_of(guest) == before
            assert traffic.finish()

    if mode == "passthrough":
        assert merged < SIZE / 4
    else:
        assert merged >= SIZE / 4


def ksm(session: Session, name: str) -> int:
    return int(read_text(session.host, f"{KSM}/{name}"))
