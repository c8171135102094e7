"""A guest goes to a second host and comes back while its traffic goes on, and is in one place."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from tests.lab.bench import boot_in, run
from zclab.bench import migrate
from zclab.bench.guest import RunningGuest, running_guest
from zclab.bench.traffic import Traffic, both_ways
from zclab.documents.labs import load_lab
from zclab.errors import MigrationError
from zclab.lab import emulated, lifecycle
from zclab.lab.artifacts import Artifacts
from zclab.lab.names import names_of
from zclab.lab.pair import ADDRESSES, Pair, Target
from zclab.lab.session import connect_libvirt
from zclab.model import Lab
from zclab.modes import MODES
from zclab.modes.base import Attachment
from zclab.progress import silent
from zclab.runner import wait_until
from zclab.runs.plan import select_workloads
from zclab.runs.results import Results, Trial

pytestmark = pytest.mark.lab

MEGABITS = 4
"""Of the stream, where nothing is measured: all that it can be takes CPU time from a migration."""

NIC_BETWEEN = """ip -o -4 address show | awk -v "a=$0" '$4 ~ "^" a "/" { print $2 }'"""
MARKS = "cat ~root/.ssh/authorized_keys; ls /var/lib/zclab"


@pytest.fixture(scope="module")
def pair_lab() -> Iterator[Lab]:
    own = load_lab("pair", name=f"pair-{os.getpid()}")
    try:
        yield own
    finally:
        emulated.down(own.name)


@pytest.fixture(scope="module")
def results(
    pair_lab: Lab, artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory
) -> Results:
    """One way there and back in each mode."""
    lifecycle.up(pair_lab, artifacts, with_me=True, progress=silent)
    workloads = select_workloads(names=("MIGRATE",), duration_s=1.0)
    folder = tmp_path_factory.mktemp("migrate") / "run"
    modes = ("vhost", "zerocopy", "passthrough")
    return run(pair_lab, artifacts, folder, modes=modes, workloads=workloads)


def trial(results: Results, mode: str) -> Trial:
    return next(one for one in results.trials if one.mode == mode)


@pytest.mark.parametrize(("mode", "link"), [("vhost", "macvtap"), ("zerocopy", "mp")])
def test_a_guest_goes_there_and_back_and_no_byte_is_lost(
    results: Results, mode: str, link: str
) -> None:
    """The stream and the transactions are compared as they come back; more came after each way."""
    one = trial(results, mode)

    assert (one.status, one.reason) == ("ok", None)
    assert (one.evidence["there_link"], one.evidence["back_link"]) == (link, link)
    assert {one.evidence["there_pinned_pages"], one.evidence["back_pinned_pages"]} == {0}
    figures = {sample.metric for sample in results.samples if sample.mode == mode}
    assert {"migration_gap_ms", "migration_downtime_ms", "migration_pages"} <= figures
    assert ("migration_zerocopy_ms" in figures) == (mode == "zerocopy")


def test_that_libvirt_refuses_passthrough_is_told_in_its_words(results: Results) -> None:
    refused = trial(results, "passthrough")

    assert refused.status == "refused"
    assert "VFIO migration is not supported" in str(refused.reason)


@pytest.mark.usefixtures("results")
def test_nothing_of_a_run_stays_on_the_second_host(pair_lab: Lab) -> None:
    access = lifecycle.second_access(pair_lab)
    libvirt = connect_libvirt(access)
    assert libvirt.destroy_leftovers(names_of(pair_lab).guests) == []
    libvirt.close()
    host = access.host_runner()
    try:
        said = host.run(("sh", "-c", MARKS)).stdout
        assert "zclab-migration" not in said
        assert "migration" not in said.split()
        assert "mp0" not in host.run(("ip", "-br", "link")).stdout
    finally:
        host.close()


@pytest.fixture
def pair(pair_lab: Lab, artifacts: Artifacts) -> Iterator[Pair]:
    with lifecycle.opened_pair(
        pair_lab, artifacts, keep=True, mtu=1500, offloads="on", progress=silent
    ) as opened:
        yield opened


def sends_without_copying(pair: Pair, guest: RunningGuest, traffic: Traffic) -> bool:
    """Tell whether more is sent without a copy by the first host while traffic goes on."""
    before = guest.mode.counters(pair.first.session)["tx_zc_bytes"]
    traffic.wait_for_more("traffic to go on", 60)
    return guest.mode.counters(pair.first.session)["tx_zc_bytes"] > before


class Attempt:
    """A migration, too slow to end, that something is done to on the way."""

    def __init__(self, guest: RunningGuest, to: Target, there: Attachment) -> None:
        self.refusal = ""
        guest.domain.limit_migration(1)

        def attempt() -> None:
            try:
                guest.domain.migrate(to.libvirt_uri, to.migrate_uri, device=there.device)
            except MigrationError as exc:
                self.refusal = str(exc)

        self._thread = threading.Thread(target=attempt)
        self._thread.start()

    def failed(self) -> str:
        """Wait for the end; return libvirt's words."""
        self._thread.join(timeout=180)
        assert not self._thread.is_alive()
        return self.refusal


def is_coming(pair: Pair) -> bool:
    """Tell whether a guest's QEMU is on the second host."""
    return pair.second.session.host.run(("pgrep", "-f", "qemu-system.*-incoming"), check=False).ok


def stays(pair: Pair, guest: RunningGuest, traffic: Traffic) -> bool:
    """Tell whether a guest is on the first host alone, and zero-copies."""
    here, there = (
        target.session.libvirt.find(guest.domain.name) for target in (pair.first, pair.second)
    )
    return (
        here is not None
        and here.is_active()
        and there is None
        and sends_without_copying(pair, guest, traffic)
    )


def test_a_cancelled_migration_leaves_a_guest_zero_copying_and_the_next_one_goes_to_vhost(
    pair: Pair,
) -> None:
    """Then from vhost on the second host to zerocopy on the first, under one stream of data."""
    first, second = pair.first, pair.second
    with (
        MODES["vhost"].attach(second.session) as there,
        running_guest(first.session, boot_in("zerocopy")) as guest,
        both_ways(
            guest.runner, first.session.peer, first.session.lab.network.guest_ip, megabits=MEGABITS
        ) as traffic,
    ):
        attempt = Attempt(guest, second, there)
        wait_until(lambda: is_coming(pair), what="a migration to begin", deadline_s=60)
        wait_until(guest.domain.cancel_migration, what="a migration to cancel", deadline_s=60)
        assert "cancel" in attempt.failed()
        assert stays(pair, guest, traffic)

        guest.domain.limit_migration(1000)
        guest.runner.close()
        trip = migrate.Trip(guest=guest, traffic=traffic, seconds=1.0)
        trip.go(first, second, left=guest.attachment, there=there)
        trip.go(second, first, left=there, there=guest.attachment)
        assert sends_without_copying(pair, guest, traffic)


@pytest.mark.nightly
def test_a_guest_that_does_not_get_there_goes_on_in_one_place_and_the_next_migration_works(
    pair: Pair,
) -> None:
    """No mp device there, its QEMU killed there, and the network between the hosts cut."""
    first, second = pair.first, pair.second
    with (
        running_guest(first.session, boot_in("zerocopy")) as guest,
        both_ways(
            guest.runner, first.session.peer, first.session.lab.network.guest_ip, megabits=MEGABITS
        ) as traffic,
    ):
        no_device = Attempt(guest, second, guest.attachment)
        assert first.session.names.link in no_device.failed()
        assert stays(pair, guest, traffic)

        with MODES["zerocopy"].attach(second.session) as there:
            host = second.session.host
            killed = Attempt(guest, second, there)
            wait_until(lambda: is_coming(pair), what="a migration to begin", deadline_s=60)
            host.run(("pkill", "-KILL", "-f", "qemu-system.*-incoming"))
            assert killed.failed()
            assert stays(pair, guest, traffic)

            cut = Attempt(guest, second, there)
            wait_until(lambda: is_coming(pair), what="a migration to begin", deadline_s=60)
            nic = host.run(("sh", "-c", NIC_BETWEEN, ADDRESSES["second"])).stdout.strip()
            host.run(("ip", "link", "set", nic, "down"))
            try:
                assert cut.failed()
            finally:
                host.run(("ip", "link", "set", nic, "up"))
            wait_until(
                lambda: second.session.libvirt.find(guest.domain.name) is None,
                what="the second host to give up the guest that did not come",
                deadline_s=120,
            )
            assert stays(pair, guest, traffic)

            guest.domain.limit_migration(1000)
            guest.runner.close()
            trip = migrate.Trip(guest=guest, traffic=traffic, seconds=1.0)
            trip.go(first, second, left=guest.attachment, there=there)
            trip.go(second, first, left=there, there=guest.attachment)
