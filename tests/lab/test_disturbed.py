"""Zero-copy under traffic, with everything done to NIC, host and guest that a user might do.

Data goes both ways all the time, and what arrived is compared. Every page that was pinned is given
back, and a kernel that reports anything ends the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from tests.lab.bench import boot_in, opened
from tests.lab.traffic import both_ways
from zclab.bench.guest import RunningGuest, running_guest
from zclab.documents.labs import load_lab, with_overrides
from zclab.host import domain, netdev
from zclab.host.guest import configure
from zclab.lab.artifacts import Artifacts
from zclab.lab.names import names_of
from zclab.lab.session import Session
from zclab.model import Lab
from zclab.modes.zerocopy import ROOM
from zclab.runner import Runner, read_text, wait_until
from zclab.units import GIB, MIB

pytestmark = pytest.mark.lab

ZEROCOPY = boot_in("zerocopy")
LINK = names_of(load_lab("emulated")).link

MIRROR = """
tc qdisc add dev $nic clsact
for way in ingress egress; do
    tc filter add dev $nic $way matchall action mirred egress mirror dev lo
done
"""
# Each is done and undone, with some traffic in between. $nic and $domain are names.
HOST: Mapping[str, tuple[str, str]] = {
    "capture": ("tcpdump -c 1000 -w /dev/null -i $nic 2> /dev/null", "true"),
    "merged frames": ("ethtool -K $nic gro on", "ethtool -K $nic gro off"),
    "segmentation": ("ethtool -K $nic tso on", "ethtool -K $nic tso off"),
    "no checksums": ("ethtool -K $nic rx off tx off", "ethtool -K $nic rx on tx on"),
    "no VLAN offload": ("ethtool -K $nic rxvlan off", "ethtool -K $nic rxvlan on"),
    "bad frames": ("ethtool -K $nic rx-all on", "ethtool -K $nic rx-all off"),
    "small ring": ("ethtool -G $nic rx 80 tx 80", "ethtool -G $nic rx 256 tx 256"),
    "MTU 9000": ("ip link set $nic mtu 9000", "ip link set $nic mtu 1500"),
    "few posted buffers": (f"ethtool -G {LINK} rx 16", f"ethtool -G {LINK} rx 512"),
    "promiscuous": ("ip link set $nic promisc on", "ip link set $nic promisc off"),
    "mirrored": (MIRROR, "tc qdisc del dev $nic clsact"),
    "queued": ("tc qdisc replace dev $nic root fq", "tc qdisc del dev $nic root"),
    "shaped": ("tc qdisc replace dev $nic root netem rate 200mbit limit 2000",
               "tc qdisc del dev $nic root"),
    "lossy": ("tc qdisc replace dev $nic root netem loss 2%", "tc qdisc del dev $nic root"),
    "NIC down": ("ip link set $nic down", "ip link set $nic up"),
    "device down": (f"ip link set {LINK} down", f"ip link set {LINK} up"),
    "guest suspended": ("virsh -q suspend $domain", "virsh -q resume $domain"),
}  # fmt: skip
CUT_OFF = frozenset({"NIC down", "device down", "guest suspended"})
"""Those during which nothing can move."""


def pinned_pages(host: Runner) -> int:
    """Return how many pages are pinned for DMA on the host at present."""
    counts = dict(line.split() for line in read_text(host, "/proc/vmstat").splitlines())
    return int(counts["nr_foll_pin_acquired"]) - int(counts["nr_foll_pin_released"])


@contextmanager
def unpinned(lab: Lab, artifacts: Artifacts, *, keep: bool = True) -> Iterator[Session]:
    """Open a lab without offloads, as with them the NIC's frames are merged, and so copied.

    When the guests are gone no more pages are pinned than before.
    """
    with opened(lab, artifacts, keep=keep, offloads="off") as session:
        before = pinned_pages(session.host)
        yield session
        wait_until(
            lambda: pinned_pages(session.host) == before,
            what=f"no more than {before} pages to be pinned, as before",
            deadline_s=20,
        )


def zero_copied(session: Session) -> dict[str, int]:
    counts = netdev.driver_statistics(session.host, LINK)
    return {way: counts[f"{way}_zc_packets"] for way in ("rx", "tx")}


def wait_for_zerocopy(session: Session) -> None:
    """Wait until 100 more frames have been zero-copied each way."""
    before = zero_copied(session)
    wait_until(
        lambda: all(n - before[way] >= 100 for way, n in zero_copied(session).items()),
        what="more frames to be zero-copied",
        deadline_s=60,
        interval_s=0.5,
    )


def disturb(session: Session, guest: RunningGuest, command: str) -> None:
    names = (f"nic={session.nic}", f"domain={guest.domain.name}")
    session.host.run(("env", *names, "sh", "-ec", command), timeout_s=120)


def through_all(lab: Lab, artifacts: Artifacts, *, keep: bool = True) -> None:
    with (
        unpinned(lab, artifacts, keep=keep) as session,
        running_guest(session, ZEROCOPY) as guest,
    ):
        with both_ways(session, guest.runner) as traffic:
            for name, (do, undo) in HOST.items():
                print(name)  # noqa: T201 - pytest shows it where the test fails
                disturb(session, guest, do)
                if name not in CUT_OFF:
                    traffic.wait_for_more()
                disturb(session, guest, undo)
                traffic.wait_for_more()
                wait_for_zerocopy(session)
            moved = traffic.finish()
        assert moved > len(HOST) * MIB


@pytest.mark.usefixtures("lab_up")
def test_data_arrives_as_it_was_sent_whatever_the_host_does(lab: Lab, artifacts: Artifacts) -> None:
    through_all(lab, artifacts)


@pytest.mark.nightly
def test_data_arrives_as_it_was_sent_by_igb(own_lab: Lab, artifacts: Artifacts) -> None:
    through_all(with_overrides(own_lab, nic="igb"), artifacts, keep=False)


LOSS = "tc qdisc replace dev {nic} root netem loss 0.2% limit 1000"
RECONFIGURED = ("few posted buffers", "small ring", "MTU 9000", "no checksums")


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_a_gibibyte_each_way_arrives_as_it_was_sent(own_lab: Lab, artifacts: Artifacts) -> None:
    """While frames are lost both ways, and the NIC has few buffers or is set up anew."""
    with (
        unpinned(own_lab, artifacts, keep=False) as session,
        running_guest(session, ZEROCOPY) as guest,
    ):
        for runner, nic in ((session.host, session.nic), (session.peer, session.peer_nic)):
            runner.run(tuple(LOSS.format(nic=nic).split()))
        with both_ways(session, guest.runner) as traffic:
            for name in RECONFIGURED * 4:
                do, undo = HOST[name]
                disturb(session, guest, do)
                traffic.wait_for_more(36 * MIB)
                disturb(session, guest, undo)
                traffic.wait_for_more(36 * MIB)
                wait_for_zerocopy(session)
            moved = traffic.finish()
        assert moved >= 2 * GIB


def kill_guest(session: Session, guest: RunningGuest) -> None:
    session.host.run(("kill", "-9", str(guest.roles.qemu_pid)))


def delete_device(session: Session, _guest: RunningGuest) -> None:
    session.host.run(("ip", "link", "delete", LINK))


def unbind_driver(session: Session, _guest: RunningGuest) -> None:
    netdev.release_driver(session.host, session.lab.nic)


@pytest.mark.usefixtures("lab_up")
@pytest.mark.parametrize(
    "end",
    [
        kill_guest,
        *(pytest.param(f, marks=pytest.mark.nightly) for f in (delete_device, unbind_driver)),
    ],
)
def test_whatever_ends_under_traffic_the_next_guest_finds_all_well(
    lab: Lab, artifacts: Artifacts, end: Callable[[Session, RunningGuest], None]
) -> None:
    with unpinned(lab, artifacts) as session:
        with running_guest(session, ZEROCOPY) as guest, both_ways(session, guest.runner):
            wait_for_zerocopy(session)
            end(session, guest)
        session.retune_nic()
        through_a_guest(session)


def through_a_guest(session: Session) -> None:
    with running_guest(session, ZEROCOPY) as guest, both_ways(session, guest.runner) as traffic:
        wait_for_zerocopy(session)
        assert traffic.finish()


@pytest.mark.nightly
def test_a_guest_takes_queues_and_gives_them_back_under_traffic(
    own_lab: Lab, artifacts: Artifacts
) -> None:
    """With as many as the NIC has, with one, and with more than the NIC: then frames are copied."""
    guest_of = own_lab.guest.model_copy(update={"vcpus": 3, "queues": 3})
    lab = with_overrides(own_lab, nic="igb").model_copy(update={"guest": guest_of})
    with (
        unpinned(lab, artifacts, keep=False) as session,
        running_guest(session, ZEROCOPY) as guest,
    ):
        with both_ways(session, guest.runner) as traffic:
            for queues, zerocopy in ((2, True), (1, True), (3, False), (2, True), (3, False)):
                guest.runner.run(("ethtool", "-L", guest.nic.name, "combined", str(queues)))
                traffic.wait_for_more()
                room = netdev.driver_statistics(session.host, LINK)[ROOM]
                assert bool(room) == zerocopy, f"{queues} queues: {ROOM} is {room}"
                if zerocopy:
                    wait_for_zerocopy(session)
            moved = traffic.finish()
        assert moved > 5 * MIB


@pytest.mark.nightly
@pytest.mark.usefixtures("lab_up")
def test_a_guest_that_reboots_under_traffic_goes_on(
    lab: Lab, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its virtqueues are taken away and given again while the NIC has buffers from there."""
    plain = domain.domain_xml

    def rebooting(*args: object) -> str:
        return plain(*args).replace("<on_reboot>destroy<", "<on_reboot>restart<")  # type: ignore[arg-type]

    monkeypatch.setattr(domain, "domain_xml", rebooting)
    with unpinned(lab, artifacts) as session, running_guest(session, ZEROCOPY) as guest:
        for _ in range(2):
            with both_ways(session, guest.runner):
                wait_for_zerocopy(session)
                session.host.run(("virsh", "-q", "reset", guest.domain.name))
            guest.runner.close()
            wait_until(
                lambda: guest.runner.run(("true",), check=False).ok,
                what="the guest to be back",
                deadline_s=240,
            )
            configure(guest.runner, guest.nic, session.lab.network, mtu=session.mtu, offloads="off")
        with both_ways(session, guest.runner) as traffic:
            wait_for_zerocopy(session)
            assert traffic.finish()


@pytest.mark.nightly
@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("debug_lab_up")
def test_data_arrives_as_it_was_sent_under_the_debug_kernel(
    debug_lab: Lab, debug_artifacts: Artifacts
) -> None:
    through_all(debug_lab, debug_artifacts)


# Two allocations in a hundred fail: those that may not sleep, which is what drivers and the network
# stack do for each frame; then all of vhost's thread, among them those for batches and pins.
ATOMIC = "echo N > $f/task-filter; echo Y > $f/ignore-gfp-wait"
WORKER = "echo Y > $f/task-filter; echo N > $f/ignore-gfp-wait"
FAULTS = """
grep -l vhost /proc/$pid/task/*/comm | while read comm; do echo 1 > ${{comm%comm}}make-it-fail; done
for f in /sys/kernel/debug/failslab /sys/kernel/debug/fail_page_alloc; do
    {which}
    [ ! -e $f/min-order ] || echo 0 > $f/min-order
    echo 0 > $f/verbose
    echo -1 > $f/times
    echo {percent} > $f/probability
done
"""


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_allocations_may_fail(own_lab: Lab, debug_artifacts: Artifacts) -> None:
    """In a lab of its own, as DMA-API debugging switches itself off where it has no memory."""
    with (
        unpinned(own_lab, debug_artifacts, keep=False) as session,
        running_guest(session, ZEROCOPY) as guest,
    ):
        pid = f"pid={guest.roles.qemu_pid}"
        with both_ways(session, guest.runner) as traffic:
            for which in (ATOMIC, WORKER):
                for percent in (2, 0):
                    script = FAULTS.format(which=which, percent=percent)
                    session.host.run(("env", pid, "sh", "-c", script))
                    traffic.wait_for_more()
                wait_for_zerocopy(session)
            assert traffic.finish()
