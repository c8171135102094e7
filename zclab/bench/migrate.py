"""MIGRATE: a guest goes to the second host and comes back, and its traffic goes on meanwhile.

The peer sends a stream and transactions, and the guest answers both with what it was sent. What
comes back is compared, so no byte that was lost or changed on the way to a new host goes unseen.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from zclab.bench.guest import RunningGuest
from zclab.bench.traffic import Traffic, both_ways
from zclab.errors import CommandError, MigrationError, TrialError, ZclabError
from zclab.host import domain, echo, netdev
from zclab.host.migration import MigrationStatistics
from zclab.host.pinned import pinned_pages
from zclab.lab.pair import Pair, Target
from zclab.lab.session import Session
from zclab.modes.base import Attachment, Evidence, Facts
from zclab.outside import whole_number
from zclab.runner import wait_until
from zclab.runs.plan import Planned

DEADLINE_S = 300
"""How long a migration may take. One of a guest that writes faster than the network is never ends.
"""
GOES_ON_S = 90
"""How long traffic may take to go on on another host. TCP waits longer after each attempt."""
SETTLES_S = 30
"""How long the old host may take to let go of a guest's memory, and the new one to zero-copy."""
TOLD_S = 0.3
"""How much later than it happened a thing is told of."""
_COUNTED = "tx_zc_bytes"
_WATCH = 'while :; do ethtool -S "$0" | grep -w "$1:"; sleep 0.1; done'


@dataclass
class ZeroCopy:
    """When a host's mp device sent without copying, by time.monotonic() here."""

    values: list[tuple[float, int]] = field(default_factory=list)
    _rest: str = ""

    def hear(self, text: str) -> None:
        """Take lines such as ``     tx_zc_bytes: 12``."""
        *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            if found := re.fullmatch(rf"\s*{_COUNTED}: (\d+)", line):
                self.values.append((time.monotonic(), whole_number(found[1], _COUNTED)))

    def since(self, at: float) -> float | None:
        """Return when more was counted than at first, not before ``at``; None if never."""
        first = self.values[0][1] if self.values else 0
        return next((max(at, when) for when, count in self.values if count > first), None)


@dataclass(frozen=True, kw_only=True)
class Leg:
    """One migration, as the guest's traffic, QEMU and the two hosts saw it."""

    gap_ms: float
    statistics: MigrationStatistics
    seconds: float
    during_mbps: float
    after_mbps: float
    zerocopy_ms: float | None
    pinned_pages: int

    def figures(self) -> dict[str, float]:
        """Return what is averaged over the way there and the way back."""
        found: dict[str, float] = {
            "migration_s": self.seconds,
            "migration_pages": self.statistics.pages,
            "migration_pages_again": self.statistics.pages_again,
            "migration_during_mbps": self.during_mbps,
            "migration_after_mbps": self.after_mbps,
        }
        if self.zerocopy_ms is not None:
            found["migration_zerocopy_ms"] = self.zerocopy_ms
        return found

    def facts(self, way: str) -> Facts:
        """Return what is kept of each way in the trial's evidence."""
        facts: Facts = {
            f"{way}_gap_ms": round(self.gap_ms, 1),
            f"{way}_downtime_ms": self.statistics.downtime_ms,
            f"{way}_s": round(self.seconds, 2),
            f"{way}_passes": self.statistics.passes,
            f"{way}_pages": self.statistics.pages,
            f"{way}_pinned_pages": self.pinned_pages,
        }
        if self.zerocopy_ms is not None:
            facts[f"{way}_zerocopy_ms"] = round(self.zerocopy_ms)
        return facts


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A guest on its way between two hosts, with what it is attached to on each."""

    guest: RunningGuest
    traffic: Traffic
    seconds: float

    def go(self, source: Target, target: Target, *, left: Attachment, there: Attachment) -> Leg:
        """Migrate the guest from ``left`` to ``there``, and let its traffic go on for a while."""
        name = self.guest.domain.name
        moving = source.session.libvirt.find(name)
        if moving is None:
            raise TrialError(f"guest {name} does not run on the {source.session.host.where}")
        awake(target, there)
        with _watching(target, there) as zero_copy:
            begin = time.monotonic()
            with _limited(moving):
                moving.migrate(target.libvirt_uri, target.migrate_uri, device=there.device)
            end = time.monotonic()
            asleep(source, left)
            self.traffic.wait_for_more(
                f"traffic to go on on the {target.session.host.where}", GOES_ON_S
            )
            moved = target.session.libvirt.find(name)
            if moved is None or source.session.libvirt.find(name) is not None:
                raise TrialError(f"guest {name} does not run in exactly one place")
            time.sleep(self.seconds)
            self.traffic.check()
            lines = self.traffic.transactions.lines
            gap = echo.longest_gap(lines, begin, time.monotonic())
            again = _zero_copy_again(zero_copy, gap.over_at) if zero_copy else None
        statistics = moved.migration()
        if statistics is None:
            raise TrialError(f"libvirt has no figures of the migration of {name}")
        stream = self.traffic.stream.lines
        return Leg(
            gap_ms=gap.ms,
            statistics=statistics,
            seconds=end - begin,
            during_mbps=echo.rate_mbps(stream, begin, end + TOLD_S),
            after_mbps=echo.rate_mbps(stream, end, end + self.seconds + TOLD_S),
            zerocopy_ms=again,
            pinned_pages=left_pinned(source),
        )


def observe(
    guest: RunningGuest, pair: Pair, planned: Planned, *, megabits: float = 0.0
) -> tuple[Evidence, dict[str, float]]:
    """Take a guest to the second host and back; return what shows that, and the figures.

    Raises MigrationError where libvirt refuses, TrialError where data came back changed.
    """
    first, second = pair.first, pair.second
    network = guest.session.lab.network
    seconds = planned.workload.duration_s
    evidence = Evidence()
    with guest.mode.attach(second.session) as there, _console_watched(guest, second.session):
        asleep(second, there)
        try:
            again = echo.retransmitted(guest.runner)
            with both_ways(
                guest.runner, guest.session.peer, network.guest_ip, megabits=megabits
            ) as traffic:
                guest.runner.close()  # this connection goes no further than the first host
                began = time.monotonic()
                time.sleep(seconds)
                before = echo.rate_mbps(traffic.stream.lines, began, time.monotonic())
                trip = Trip(guest=guest, traffic=traffic, seconds=seconds)
                out = trip.go(first, second, left=guest.attachment, there=there)
                expect_link(evidence, guest, second, there, "there")
                back = trip.go(second, first, left=there, there=guest.attachment)
                expect_link(evidence, guest, first, guest.attachment, "back")
            again = echo.retransmitted(guest.runner) - again + traffic.retransmissions
        except BaseException:
            _end_there(pair, guest)
            raise
    evidence.facts |= {
        "guest_driver": guest.nic.driver,
        "virtio_features": guest.nic.virtio_features,
        "payload_bytes": traffic.stream.last.bytes,
        "transactions": traffic.transactions.last.transactions,
        **out.facts("there"),
        **back.facts("back"),
    }
    return evidence, _figures(out, back, before_mbps=before, retransmissions=again)


def _figures(out: Leg, back: Leg, *, before_mbps: float, retransmissions: int) -> dict[str, float]:
    """Return a trial's figures: of times without the guest the longer one, of the rest the mean."""
    theirs = back.figures()
    mean = {name: (value + theirs[name]) / 2 for name, value in out.figures().items()}
    return {
        "migration_gap_ms": max(out.gap_ms, back.gap_ms),
        "migration_downtime_ms": max(out.statistics.downtime_ms, back.statistics.downtime_ms),
        **mean,
        "migration_before_mbps": before_mbps,
        "migration_pinned_pages": max(out.pinned_pages, back.pinned_pages),
        "retransmissions": retransmissions,
    }


def left_pinned(source: Target) -> int:
    """Return how many pages a host keeps pinned whose guest has left: none, once it has let go."""
    found: list[int] = []

    def none() -> bool:
        found.append(max(0, pinned_pages(source.session.host) - source.pinned_pages))
        return found[-1] == 0

    try:
        wait_until(none, what="pages to be let go of", deadline_s=SETTLES_S, interval_s=0.5)
    except CommandError:
        if not found:  # the host does not answer
            raise
    return found[-1]


def expect_link(
    evidence: Evidence, guest: RunningGuest, target: Target, there: Attachment, way: str
) -> None:
    """Check that the guest is on the link that its mode makes, on the host that it is on now."""
    if there.nic is None:
        return
    host = target.session.host
    name = link_of(there.device)
    kind = (
        netdev.kind_of(host, name)
        if name
        else ", ".join(netdev.kinds_on(host, target.session.nic)) or None
    )
    wanted = {"vhost": "macvtap", "zerocopy": "mp"}[guest.mode.name]
    evidence.expect(f"{way}_link", kind, wanted)


def awake(target: Target, there: Attachment) -> None:
    """Bring the link up that a mode has made for a guest to come to."""
    if link := link_of(there.device):
        netdev.set_up(target.session.host, link)


def asleep(target: Target, left: Attachment) -> None:
    """Take the link down that a guest has left, or is yet to come to.

    An mp device that is up has its NIC receive all that the segment hears, for nobody. libvirt
    removes a macvtap with its guest.
    """
    if link := link_of(left.device):
        target.session.host.run(("ip", "link", "set", link, "down"))


def link_of(device: ET.Element) -> str | None:
    """Return the name of the link that a guest's device is on, None where libvirt makes one."""
    target = device.find("target")
    return target.get("dev") if target is not None else None


def _zero_copy_again(zero_copy: ZeroCopy, since: float) -> float:
    """Return after how many ms a guest on a new host sent without copying; TrialError if never."""
    try:
        wait_until(
            lambda: zero_copy.since(since) is not None,
            what="the guest to be zero-copying again",
            deadline_s=SETTLES_S,
        )
    except ZclabError as exc:
        raise TrialError(f"the guest's sends are copied on its new host: {exc}") from exc
    return ((zero_copy.since(since) or since) - since) * 1000


@contextmanager
def _limited(moving: domain.Domain) -> Iterator[None]:
    """Cancel a migration that takes longer than DEADLINE_S; MigrationError says so."""
    late = threading.Event()

    def cancel() -> None:
        late.set()
        moving.cancel_migration()

    timer = threading.Timer(DEADLINE_S, cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    except MigrationError as exc:
        if late.is_set():
            raise MigrationError(
                f"guest {moving.name} was not migrated within {DEADLINE_S} s, and zclab cancelled "
                f"it: its traffic writes memory faster than the network between the hosts is: {exc}"
            ) from exc
        raise
    finally:
        timer.cancel()


@contextmanager
def _watching(target: Target, there: Attachment) -> Iterator[ZeroCopy | None]:
    """Watch the mp device that a guest comes to; None where it comes to no such device.

    The first value is there before anything else begins. Without an mp device the NIC is asked as
    often, for nothing: asking takes the host's time, in one mode as in the other.
    """
    link = link_of(there.device)
    name = link or there.nic or target.session.nic
    seen = ZeroCopy()
    process = target.session.host.start(("sh", "-c", _WATCH, name, _COUNTED), on_output=seen.hear)
    try:
        if link:
            wait_until(lambda: bool(seen.values), what=f"counters of {link}", deadline_s=SETTLES_S)
        yield seen if link else None
    finally:
        process.stop()


@contextmanager
def _console_watched(guest: RunningGuest, second: Session) -> Iterator[None]:
    """Watch what a guest's kernel says while it is on the second host."""
    log = second.guest_files.console_log
    second.host.run(("rm", "-f", log))
    console = second.host.start(
        ("tail", "-s", "0.2", "-F", log),
        on_output=second.watcher.sink(f"guest in mode {guest.mode.name} on the second host"),
    )
    try:
        yield
    finally:
        console.stop()


def _end_there(pair: Pair, guest: RunningGuest) -> None:
    """End a guest that was left on the second host; on the first its own context ends it."""
    with suppress(ZclabError):
        if left := pair.second.session.libvirt.find(guest.domain.name):
            left.destroy()
