"""Suites: strict files, all combinations once, and an order drawn by lot."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest

from zclab.documents.labs import load_lab
from zclab.documents.suites import SUITES, Cells, Suite, expand, listed, load_suite
from zclab.errors import ConfigError
from zclab.experiment.bench import Options, planned_suite, show, virtual_options
from zclab.model import WorkloadName
from zclab.runs.plan import AMOUNTS, Part, estimate_s, virtual_estimate_s

LAB = load_lab("emulated").model_copy(update={"clock": "wall"})
SUITE = Suite(
    modes=("vhost", "zerocopy"),
    repetitions=6,
    duration_s=1.0,
    cells=(
        Cells(workload="TCP_STREAM", message_bytes=(64, 1024), offloads=("on", "off")),
        Cells(workload="TCP_RR"),
    ),
)


def cells_of(parts: tuple[Part, ...]) -> Counter[tuple[object, ...]]:
    return Counter(
        (trial.workload.label, part.mtu, part.offloads, boot.mode)
        for part in parts
        for boot in part.boots
        for trial in boot.trials
    )


def mistakes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_suite(str(path))
    return [line.partition("mine.yaml:")[2] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_suites_that_are_shipped_can_be_run(path: Path) -> None:
    parts = expand(load_suite(path.stem), LAB, seed=1)

    assert all(part.trials for part in parts)


def test_smoke_is_over_soon() -> None:
    parts = expand(load_suite("smoke"), LAB, seed=1)

    assert sum(estimate_s(part.boots) for part in parts) <= 160


def test_a_night_fits_into_an_hour_on_two_cores() -> None:
    """With room for states to be made, and for a machine that does something else as well."""
    virtual = LAB.model_copy(update={"clock": "virtual"})

    parts = expand(load_suite("nightly"), virtual, seed=1)

    assert sum(virtual_estimate_s(part.boots, 2) for part in parts) <= 30 * 60


def test_every_combination_runs_once_in_each_repetition() -> None:
    counted = cells_of(expand(SUITE, LAB, seed=1))

    assert set(counted.values()) == {SUITE.repetitions}
    streams = {
        (f"TCP_STREAM {direction} {size}", 1500, offloads, mode)
        for direction in ("rx", "tx")
        for size in (64, 1024)
        for offloads in ("on", "off")
        for mode in SUITE.modes
    }
    assert set(counted) == streams | {("TCP_RR 1", 1500, "on", mode) for mode in SUITE.modes}


def test_a_lab_is_brought_up_once_for_each_set_of_conditions() -> None:
    assert [(part.mtu, part.offloads) for part in expand(SUITE, LAB, seed=1)] == [
        (1500, "on"),
        (1500, "off"),
    ]


def test_a_cell_that_is_listed_twice_runs_once() -> None:
    twice = SUITE.model_copy(update={"cells": (*SUITE.cells, *SUITE.cells)})

    assert expand(twice, LAB, seed=1) == expand(SUITE, LAB, seed=1)


def test_each_block_has_each_mode_once_with_the_same_workloads_in_the_same_order() -> None:
    for part in expand(SUITE, LAB, seed=3):
        for block in range(SUITE.repetitions):
            boots = [boot for boot in part.boots if boot.repetition == block]
            assert sorted(boot.mode for boot in boots) == ["vhost", "zerocopy"]
            labels = [[trial.workload.label for trial in boot.trials] for boot in boots]
            assert labels[0] == labels[1]


def test_the_order_is_drawn_from_the_seed() -> None:
    def order(seed: int) -> list[str]:
        return list(listed(expand(SUITE, LAB, seed=seed)))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(line[10:] for line in order(1)) == sorted(line[10:] for line in order(2))
    blocks = [boot.mode for boot in expand(SUITE, LAB, seed=1)[0].boots][::2]
    assert set(blocks) == {"vhost", "zerocopy"}


def test_boots_are_numbered_through() -> None:
    numbers = [boot.number for part in expand(SUITE, LAB, seed=1) for boot in part.boots]

    assert all(later == number + 1 for number, later in pairwise(numbers))


def test_in_virtual_time_boots_are_starts_and_trials_go_by_amount() -> None:
    virtual = LAB.model_copy(update={"clock": "virtual"})

    parts = expand(SUITE, virtual, seed=1)

    assert {boot.number for part in parts for boot in part.boots} == set(range(6))
    large = [one.workload for one in parts[0].boots[0].trials if one.workload.message_bytes != 64]
    assert [one.amount for one in large] == [AMOUNTS[one.name] for one in large]


def test_in_virtual_time_there_is_no_warm_up_for_states_are_warm() -> None:
    suite = SUITE.model_copy(update={"warm_up_s": 3})

    for clock, seconds in (("wall", 3), ("virtual", 0)):
        parts = expand(suite, LAB.model_copy(update={"clock": clock}), seed=1)
        assert {t.workload.warm_up_s for t in parts[0].boots[0].trials} == {seconds}


def test_parts_of_one_nic_stand_together() -> None:
    both = Suite(
        repetitions=1,
        duration_s=1.0,
        cells=(
            Cells(workload="TCP_RR", nic=("e1000e", "igb")),
            Cells(workload="TCP_STREAM", nic=("e1000e", "igb"), offloads=("off",), streams=(2, 4)),
        ),
    )

    parts = expand(both, LAB, seed=1)

    nics = [part.lab.emulator.nic for part in parts if part.lab.emulator]
    assert nics == ["e1000e", "e1000e", "igb", "igb"]
    assert {t.workload.streams for t in parts[1].boots[0].trials} == {2, 4}


def test_each_nic_is_another_lab() -> None:
    both = Suite(
        repetitions=1, duration_s=1.0, cells=(Cells(workload="TCP_RR", nic=("e1000e", "igb")),)
    )

    parts = expand(both, LAB, seed=1)

    nics = [part.lab.emulator.nic for part in parts if part.lab.emulator]
    assert nics == ["e1000e", "igb"]
    assert [part.boots[0].trials[0].dimensions.nic for part in parts] == nics


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        "modes: [vhost, zerocpy]\n"
        "repetitions: 0\n"
        "duration_s: 1\n"
        "cells:\n"
        "  - workload: TCP_STREM\n"
        "  - workload: TCP_RR\n"
        "    direction: [rx]\n"
        "    offloads: [maybe]\n"
    )

    keys = "workload, directions, message_bytes, mtu, offloads, nic, streams"
    assert mistakes(tmp_path, text) == [
        "1: modes[1]: found 'zerocpy', allowed: passthrough, vhost, zerocopy",
        "2: repetitions: found 0, allowed: an integer from 1 to 1000",
        f"5: cells[0].workload: found 'TCP_STREM', allowed: {', '.join(get_args(WorkloadName))}",
        f"7: cells[1].direction: unknown key, did you mean 'directions'?; allowed keys: {keys}",
        "8: cells[1].offloads[0]: found 'maybe', allowed: on, off",
    ]


@pytest.mark.parametrize(
    ("cells", "mistake"),
    [
        (
            "{workload: UDP_RR, directions: [rx]}",
            "directions: UDP_RR goes both ways; leave directions out",
        ),
        (
            "{workload: UDP_STREAM, mtu: [9000, 1500], message_bytes: [64, 1473]}",
            "message_bytes[1]: found 1473: a datagram in an MTU of 1500 has at most 1472 bytes",
        ),
        (
            "{workload: UDP_STREAM, mtu: [576]}",
            "message_bytes[0]: found 1472: a datagram in an MTU of 576 has at most 548 bytes",
        ),
        ("{workload: TCP_RR, mtu: [1500, 9000, 1500]}", "mtu[2]: the same as mtu[0]; keep one"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, cells: str, mistake: str) -> None:
    text = f"repetitions: 1\nduration_s: 1\ncells:\n  - {cells}\n"

    assert mistakes(tmp_path, text) == [f"4: cells[0].{mistake}"]


def test_a_mode_that_is_named_twice_would_be_run_twice(tmp_path: Path) -> None:
    cell = "  - workload: TCP_RR\n"
    text = f"modes:\n  - vhost\n  - vhost\nrepetitions: 1\nduration_s: 1\ncells:\n{cell}{cell}"

    assert mistakes(tmp_path, text) == [
        "3: modes[1]: the same as modes[0]; keep one",
        "8: cells[1]: the same as cells[0]; keep one",
    ]


def test_options_that_a_suite_says_are_refused_and_its_repetitions_can_be_changed() -> None:
    more = Options(repetitions=2, duration_s=3.0)

    plan = planned_suite(LAB, "smoke", more, seed=5)

    assert (plan.suite, plan.seed, plan.trials) == ("smoke", 5, 18)
    assert {trial.workload.duration_s for trial in plan.parts[0].boots[0].trials} == {3.0}
    for options, named in (
        (Options(modes=["vhost"]), "--mode"),
        (Options(message_bytes=["64"]), "--message-bytes"),
        (Options(mtu=9000), "--mtu"),
        (Options(streams=2), "--streams"),
    ):
        with pytest.raises(ConfigError, match=f"^{named}: suite smoke sets that; leave"):
            planned_suite(LAB, "smoke", options, seed=5)


def test_a_new_seed_is_drawn_and_told() -> None:
    seeds = {planned_suite(LAB, "smoke", Options(modes=[]), seed=-1).seed for _ in range(3)}

    assert len(seeds) == 3


def test_a_dry_run_lists_every_trial(capsys: pytest.CaptureFixture[str]) -> None:
    one_job = virtual_options(jobs=1, profile=False, copy_bytes=8)
    show(planned_suite(LAB, "smoke", Options(), seed=5), one_job)

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "lab emulated: 3 guest boots, 9 trials, about 2:18, seed 5"
