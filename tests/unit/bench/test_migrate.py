"""What a way to another host and back comes to, from what was seen of it."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest

from zclab.bench import execute, migrate
from zclab.bench.migrate import Leg, ZeroCopy
from zclab.errors import MigrationError, MigrationRefusedError
from zclab.host import domain
from zclab.host.migration import MigrationStatistics
from zclab.lab.pair import Pair
from zclab.lab.watch import Watcher
from zclab.model import Workload
from zclab.modes import MODES
from zclab.runs.plan import Planned
from zclab.runs.results import Dimensions, Trial, samples

if TYPE_CHECKING:
    from zclab.bench.guest import RunningGuest
    from zclab.model import ModeName

OUT = Leg(
    gap_ms=900.0,
    statistics=MigrationStatistics(
        downtime_ms=400, total_ms=8000, pages=65000, pages_again=90, passes=3
    ),
    seconds=9.0,
    during_mbps=40.0,
    after_mbps=80.0,
    zerocopy_ms=200.0,
    pinned_pages=0,
)
BACK = replace(
    OUT,
    gap_ms=700.0,
    statistics=replace(OUT.statistics, downtime_ms=500),
    seconds=11.0,
    pinned_pages=2,
)


def dimensions(mode: ModeName) -> Dimensions:
    return Dimensions(
        mode=mode,
        workload="MIGRATE",
        direction=None,
        message_bytes=65536,
        mtu=1500,
        offloads="on",
        nic="e1000e",
        streams=1,
        duration_s=3.0,
        boot=0,
        repetition=0,
    )


def test_a_trial_has_the_longer_absence_and_the_mean_of_the_rest() -> None:
    figures = migrate._figures(OUT, BACK, before_mbps=90.0, retransmissions=7)

    assert figures["migration_gap_ms"] == 900.0
    assert figures["migration_downtime_ms"] == 500
    assert figures["migration_s"] == 10.0
    assert figures["migration_zerocopy_ms"] == 200.0
    assert figures["migration_pinned_pages"] == 2
    assert {one.metric for one in samples(dimensions("zerocopy"), figures)} == figures.keys()


def test_a_mode_that_copies_has_no_time_until_it_does_not() -> None:
    copied = replace(OUT, zerocopy_ms=None)

    assert "migration_zerocopy_ms" not in copied.figures()
    assert "there_zerocopy_ms" not in copied.facts("there")


def test_zero_copy_is_in_effect_when_more_was_counted_than_at_first() -> None:
    seen = ZeroCopy(values=[(1.0, 50), (2.0, 50), (3.0, 51), (4.0, 90)])

    assert seen.since(2.5) == 3.0
    assert seen.since(3.5) == 3.5
    assert ZeroCopy(values=[(1.0, 50), (2.0, 50)]).since(0.0) is None


def test_counters_are_heard_in_whatever_pieces_they_come() -> None:
    seen = ZeroCopy()
    for piece in ("     tx_zc_by", "tes: 12\n     tx_zc_bytes: 1", "3\nno such line: 4\n"):
        seen.hear(piece)

    assert [count for _, count in seen.values] == [12, 13]


def test_the_link_that_a_guest_comes_to_is_the_modes_own_where_it_has_one() -> None:
    mac = "52:54:00:7a:63:01"
    mp = domain.existing_tap_interface(name="mp0", mac=mac, queue_size=256)
    macvtap = domain.macvtap_interface(netdev="eth0", mac=mac, queue_size=256)

    assert [migrate.link_of(device) for device in (mp, macvtap)] == ["mp0", None]


def refused(monkeypatch: pytest.MonkeyPatch, mode: ModeName) -> Trial:
    """Return the trial of a guest that libvirt does not migrate."""

    def refuses(*_: object) -> None:
        raise MigrationRefusedError(
            "guest x was not migrated: VFIO migration is not supported in kernel"
        )

    monkeypatch.setattr(migrate, "observe", refuses)
    watcher = Watcher(abort=lambda: None)
    session = type("ASession", (), {"watcher": watcher})
    alive = type("ADomain", (), {"is_active": lambda _: True})
    guest = type("AGuest", (), {"session": session, "mode": MODES[mode], "domain": alive()})
    workload = Workload(name="MIGRATE", direction=None, message_bytes=65536, duration_s=3.0)
    trial, kept = execute.measure(
        cast("RunningGuest", guest),
        Planned(workload=workload, dimensions=dimensions(mode)),
        cast("execute.Store", None),
        cast("Pair", object()),
    )
    assert kept == ()
    return trial


def test_that_a_nic_of_the_guests_own_does_not_migrate_is_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = refused(monkeypatch, "passthrough")

    assert trial.status == "refused"
    assert trial.reason is not None
    assert trial.reason.endswith("VFIO migration is not supported in kernel")


@pytest.mark.parametrize("mode", ["vhost", "zerocopy"])
def test_that_virtio_net_does_not_migrate_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, mode: ModeName
) -> None:
    assert refused(monkeypatch, mode).status == "failed"


def test_a_migration_that_does_not_end_is_cancelled_and_told_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(migrate, "DEADLINE_S", 0.01)
    cancelled = threading.Event()

    def cancel(_: object) -> bool:
        cancelled.set()
        return True

    moving = cast("domain.Domain", type("A", (), {"name": "x", "cancel_migration": cancel})())

    def goes_on() -> None:
        with migrate._limited(moving):
            assert cancelled.wait(10)
            raise MigrationError("operation aborted")

    with pytest.raises(MigrationError, match="not migrated within"):
        goes_on()
