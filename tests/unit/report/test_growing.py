"""The table of a run that goes on, and what is in it unless somebody says what."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from tests.unit.report.test_report import STREAM, Runs
from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import ConfigError
from zclab.experiment.bench import Options, planned
from zclab.judge.cells import key_of
from zclab.report.growing import GrowingTable
from zclab.runs.results import Results

LAB = load_lab("emulated")


class Growing:
    """A run of which two cells of two modes are planned, and what it has printed so far."""

    def __init__(self, planned: Results) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, width=100)
        count = Counter(key_of(trial) for trial in planned.trials)
        self.table = GrowingTable(count, console.print, baseline="vhost")

    @property
    def printed(self) -> str:
        """What has been printed."""
        return self._file.getvalue()


def whole_run() -> Runs:
    runs = Runs()
    for direction in ("rx", "tx"):
        for mode in ("vhost", "zerocopy"):
            for repetition in range(2):
                runs.add(mode, STREAM, direction=direction, repetition=repetition)
    return runs


def test_a_cell_is_printed_once_its_last_trial_has_ended() -> None:
    whole = whole_run().results
    growing = Growing(whole)
    for ended in range(1, len(whole.trials) + 1):
        trials = whole.trials[:ended]
        growing.table.trial_ended(whole.model_copy(update={"trials": trials}))
        assert growing.printed.count("TCP_STREAM") == ended // 4
    growing.table.finish(whole)

    assert growing.printed.count("TCP_STREAM rx") == 1
    assert growing.printed.count("TCP_STREAM tx") == 1
    assert growing.printed.splitlines()[-1].startswith("Against vhost: ")


def test_what_a_run_that_stops_has_not_completed_is_printed_in_the_end() -> None:
    whole = whole_run().results
    growing = Growing(whole)
    half = whole.model_copy(update={"trials": whole.trials[:3]})
    growing.table.trial_ended(half)
    assert growing.printed == ""

    growing.table.finish(half)

    assert growing.printed.count("TCP_STREAM rx") == 1
    assert "TCP_STREAM tx" not in growing.printed


def test_a_mode_alone_is_measured_beside_its_baseline() -> None:
    plan = planned(LAB, Options(modes=["zerocopy"], baseline="vhost"))

    assert sorted(plan.modes) == ["vhost", "zerocopy"]
    assert plan.baseline == "vhost"
    assert planned(LAB, Options(modes=["zerocopy"])).modes == ("zerocopy",)


def test_without_a_word_on_cells_virtual_time_has_those_that_show_zero_copy() -> None:
    plan = planned(LAB, Options(modes=["zerocopy"], baseline="vhost"))

    cells = {
        (one.dimensions.workload, one.dimensions.direction, one.dimensions.offloads)
        for part in plan.parts
        for boot in part.boots
        for one in boot.trials
    }
    assert cells == {
        *(("TCP_STREAM", way, switch) for way in ("rx", "tx") for switch in ("on", "off")),
        *(("UDP_STREAM", way, "off") for way in ("rx", "tx")),
        ("TCP_RR", None, "on"),
    }


def test_a_word_on_cells_is_all_there_is() -> None:
    (part,) = planned(LAB, Options(modes=["vhost"], workloads=["TCP_RR"])).parts
    wall = planned(with_overrides(LAB, clock="wall"), Options(modes=["vhost"]))

    assert {one.dimensions.workload for boot in part.boots for one in boot.trials} == {"TCP_RR"}
    assert len(wall.parts) == 1


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--baseline: found 'macvtap', allowed: .*vhost.*none"):
        planned(LAB, Options(baseline="macvtap"))
