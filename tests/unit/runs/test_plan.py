"""The order of a run, and what it can be asked for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import ConfigError
from zclab.model import Emulator, Endpoint, Lab, ModeName, Peer, Switch
from zclab.runs.plan import (
    AMOUNTS,
    DEFAULT_MESSAGE_BYTES,
    estimate_s,
    plan,
    select_modes,
    select_workloads,
)

EMULATED = Lab(
    name="emulated",
    kind="emulated",
    emulator=Emulator(nic="igb"),
    nic="0000:01:00.0",
    peer=Peer(nic="0000:02:00.0"),
)
METAL = Lab(
    name="metal",
    kind="ssh",
    host=Endpoint(address="192.0.2.7"),
    nic="0000:01:00.0",
    peer=Peer(nic="0000:02:00.0"),
)
MODES: tuple[ModeName, ...] = ("vhost", "zerocopy", "passthrough")


def test_all_workloads_are_run_unless_some_are_chosen() -> None:
    labels = [workload.label for workload in select_workloads()]

    assert labels == [
        "TCP_STREAM rx 16384",
        "TCP_STREAM tx 16384",
        "TCP_RR 1",
        "TCP_RR_LOADED 1",
        "UDP_STREAM rx 1472",
        "UDP_STREAM tx 1472",
        "UDP_RR 1",
    ]


def test_streams_are_a_dimension_and_told_in_the_label() -> None:
    chosen = select_workloads(names=["TCP_STREAM"], directions=["tx"], streams=(1, 4), warm_up_s=1)

    assert [workload.label for workload in chosen] == [
        "TCP_STREAM tx 16384",
        "TCP_STREAM tx 16384 x4",
    ]
    boots = plan(EMULATED, modes=MODES, workloads=chosen, repetitions=1)
    dimensions = [trial.dimensions for trial in boots[0].trials]
    assert [(one.streams, one.warm_up_s) for one in dimensions] == [(1, 1), (4, 1)]


def test_small_messages_move_less_for_each_takes_as_long_as_a_large_one() -> None:
    chosen = select_workloads(
        names=["TCP_STREAM", "TCP_RR", "UDP_STREAM"], message_bytes=[64, 1024], amounts=AMOUNTS
    )

    assert {(one.name, one.message_bytes, one.amount) for one in chosen} == {
        ("TCP_STREAM", 64, 64 << 18),
        ("TCP_STREAM", 1024, 128 << 20),
        ("TCP_RR", 64, 4000),
        ("TCP_RR", 1024, 4000),
        ("UDP_STREAM", 64, None),
        ("UDP_STREAM", 1024, None),
    }


def test_no_two_trials_of_a_run_share_a_file() -> None:
    """In virtual time all parts of a suite number their starts alike."""
    virtual = EMULATED.model_copy(update={"clock": "virtual"})
    switches: tuple[Switch, ...] = ("on", "off")
    trials = [
        trial
        for offloads in switches
        for boot in plan(
            virtual,
            modes=MODES,
            workloads=select_workloads(streams=(1, 2)),
            repetitions=2,
            offloads=offloads,
        )
        for trial in boot.trials
    ]

    stems = {trial.dimensions.stem for trial in trials}

    assert len(stems) == len(trials)
    assert "vhost-0-TCP_STREAM-rx-16384-x2-igb-1500-off-0" in stems


def test_names_directions_and_sizes_select_their_product() -> None:
    chosen = select_workloads(
        names=["TCP_STREAM"], directions=["rx"], message_bytes=[64, 1024, 64], duration_s=1.0
    )

    assert [workload.label for workload in chosen] == ["TCP_STREAM rx 64", "TCP_STREAM rx 1024"]
    assert {workload.duration_s for workload in chosen} == {1.0}


def test_a_direction_leaves_transactions_out() -> None:
    labels = [workload.label for workload in select_workloads(directions=["tx"])]

    assert labels == ["TCP_STREAM tx 16384", "UDP_STREAM tx 1472"]


def test_a_direction_does_not_leave_out_transactions_asked_for_by_name() -> None:
    chosen = select_workloads(names=["TCP_RR", "TCP_STREAM"], directions=["rx"])

    assert [workload.label for workload in chosen] == ["TCP_STREAM rx 16384", "TCP_RR 1"]


def test_an_unknown_workload_is_named_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError) as caught:
        select_workloads(names=["TCP_STREAM", "TCP_MAERTS"])

    assert str(caught.value) == (
        "--workload: unknown: TCP_MAERTS; allowed: TCP_STREAM, TCP_RR, TCP_RR_LOADED, "
        "UDP_STREAM, UDP_RR, MIGRATE"
    )


def test_an_unknown_direction_is_named_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="--direction: unknown: up; allowed: rx, tx"):
        select_workloads(directions=["up"])


def test_a_size_out_of_range_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--message-bytes: 0: .*greater than or equal to 1"):
        select_workloads(message_bytes=[0])


def test_modes_keep_their_order_and_come_once() -> None:
    assert select_modes(["zerocopy", "vhost", "zerocopy"]) == ("zerocopy", "vhost")


def test_an_unknown_mode_is_named_with_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match="--mode: unknown: sriov; allowed: passthrough, vhost"):
        select_modes(["sriov"])


def test_a_run_has_at_least_one_mode() -> None:
    with pytest.raises(ConfigError, match="--mode: name at least one"):
        select_modes([])


def test_two_modes_alternate_ab_ba() -> None:
    boots = plan(EMULATED, modes=MODES[:2], workloads=select_workloads(), repetitions=2)

    assert [boot.mode for boot in boots] == ["vhost", "zerocopy", "zerocopy", "vhost"]
    assert [boot.number for boot in boots] == [0, 1, 2, 3]


def test_each_mode_takes_each_turn() -> None:
    boots = plan(EMULATED, modes=MODES, workloads=select_workloads(), repetitions=3)

    turns = Counter((boot.number % 3, boot.mode) for boot in boots)

    assert set(turns.values()) == {1}
    assert len(turns) == 9


def test_a_repetition_has_each_mode_once_and_every_workload_in_it() -> None:
    workloads = select_workloads()

    boots = plan(EMULATED, modes=MODES, workloads=workloads, repetitions=2)

    for repetition in (0, 1):
        in_it = [boot for boot in boots if boot.repetition == repetition]
        assert {boot.mode for boot in in_it} == set(MODES)
        assert all(tuple(t.workload for t in boot.trials) == workloads for boot in in_it)


def test_a_trial_s_dimensions_say_all_it_depends_on() -> None:
    boots = plan(
        EMULATED,
        modes=["vhost"],
        workloads=select_workloads(names=["UDP_STREAM"], directions=["tx"], duration_s=2.0),
        repetitions=1,
        mtu=9000,
        offloads="off",
    )

    assert boots[0].trials[0].dimensions.model_dump() == {
        "mode": "vhost",
        "workload": "UDP_STREAM",
        "direction": "tx",
        "message_bytes": 1472,
        "mtu": 9000,
        "offloads": "off",
        "nic": "igb",
        "streams": 1,
        "duration_s": 2.0,
        "amount": None,
        "warm_up_s": 0,
        "boot": 0,
        "repetition": 0,
    }


def test_a_real_nic_is_named_by_its_address() -> None:
    boots = plan(METAL, modes=["vhost"], workloads=select_workloads(), repetitions=1)

    assert boots[0].trials[0].dimensions.nic == "0000:01:00.0"


@pytest.mark.parametrize("name", ["UDP_STREAM", "UDP_RR"])
def test_a_datagram_that_would_be_fragmented_is_refused(name: str) -> None:
    workloads = select_workloads(names=[name], message_bytes=[1473])

    with pytest.raises(ConfigError, match=r"1473: .* MTU of 1500 has at most 1472"):
        plan(EMULATED, modes=MODES, workloads=workloads)


def test_the_default_datagram_just_fits() -> None:
    workloads = select_workloads(names=["UDP_STREAM"])

    assert DEFAULT_MESSAGE_BYTES["UDP_STREAM"] == 1472
    assert plan(EMULATED, modes=MODES, workloads=workloads, mtu=1500)


@pytest.mark.parametrize(
    ("lab", "mtu", "allowed"),
    [
        (EMULATED, 9217, "576 to 9216, which igb takes"),
        (EMULATED, 0, "576 to 9216, which igb takes"),
        (METAL, 70_000, "576 to 16110"),
    ],
)
def test_an_mtu_that_no_nic_takes_is_refused_before_anything_is_built(
    lab: Lab, mtu: int, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(lab, modes=MODES, workloads=select_workloads(names=["TCP_RR"]), mtu=mtu)

    assert str(caught.value) == f"--mtu: found {mtu}, allowed: {allowed}"


def test_no_repetition_is_no_run() -> None:
    with pytest.raises(ConfigError, match="--repetitions: 0"):
        plan(EMULATED, modes=MODES, workloads=select_workloads(), repetitions=0)


def test_the_estimate_grows_with_boots_and_durations() -> None:
    short = plan(EMULATED, modes=MODES, workloads=select_workloads(duration_s=1), repetitions=1)
    longer = plan(EMULATED, modes=MODES, workloads=select_workloads(duration_s=3), repetitions=1)

    trials = 3 * len(select_workloads())
    warm = plan(
        EMULATED, modes=MODES, workloads=select_workloads(duration_s=1, warm_up_s=3), repetitions=1
    )
    assert estimate_s(longer) - estimate_s(short) == pytest.approx(2 * trials)
    assert estimate_s(warm) - estimate_s(short) == pytest.approx(3 * trials)
    assert estimate_s(short, boot_s=30) - estimate_s(short, boot_s=10) == pytest.approx(3 * 20)


def test_a_migration_comes_last_in_its_boot_whatever_the_lot_says() -> None:
    """Figures by thread are of the guest's process, which is another one afterwards."""
    lab = load_lab("pair")
    workloads = select_workloads(names=("TCP_STREAM", "TCP_RR", "MIGRATE"), duration_s=1.0)

    for seed in range(20):
        lot = Random(seed)  # noqa: S311 - no secret
        boots = plan(lab, modes=("vhost", "zerocopy"), workloads=workloads, lot=lot)
        assert [boot.trials[-1].workload.name for boot in boots] == ["MIGRATE"] * len(boots)
