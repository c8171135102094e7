"""Gates: strict files, and which figure meets which gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest

from zclab.documents.gates import GATES, Gate, Gates, load_gates
from zclab.errors import ConfigError
from zclab.host import netperf
from zclab.judge.simulated import STREAM
from zclab.model import MIGRATE, WorkloadName
from zclab.runs.results import OF_MIGRATIONS, Dimensions

CELL = Dimensions(**STREAM, mode="vhost", boot=0, repetition=0)


@pytest.mark.parametrize("path", sorted(GATES.glob("*.yaml")), ids=lambda path: path.stem)
def test_gates_that_are_shipped_load(path: Path) -> None:
    gates = load_gates(path.stem)

    assert gates.gate(CELL, "zerocopy", "throughput_mbps") is not None
    assert gates.gate(CELL, "zerocopy", "cpu_guest_s") is None


def test_the_first_gate_that_fits_judges() -> None:
    special = Gate(metric="throughput_mbps", min_effect_percent=9.0, direction="rx", mode="vhost")
    general = Gate(metric="throughput_mbps", min_effect_percent=1.0)
    gates = Gates(gates=(special, general))

    assert gates.gate(CELL, "vhost", "throughput_mbps") == special
    assert gates.gate(CELL, "zerocopy", "throughput_mbps") == general
    other = CELL.model_copy(update={"direction": "tx"})
    assert gates.gate(other, "vhost", "throughput_mbps") == general


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "significance: 5\n"
        "gates:\n"
        "  - metric: thruput_mbps\n"
        "    min_effect_percent: 0\n"
        "  - metric: latency_p99_us\n"
        "    min_effect_percnt: 2\n"
    )

    with pytest.raises(ConfigError) as caught:
        load_gates(str(path))

    lines = [line.partition("mine.yaml:")[2] for line in str(caught.value).splitlines()]
    assert lines[0] == "1: significance: found 5, allowed: a number between 0 and 1"
    assert lines[1].startswith("3: gates[0].metric: found 'thruput_mbps', allowed: throughput_mb")
    assert lines[2].startswith("4: gates[0].min_effect_percent: found 0, allowed: a percentage")
    assert {line.partition(",")[0] for line in lines[3:]} == {
        "5: gates[1].min_effect_percent: missing",
        "6: gates[1].min_effect_percnt: unknown key",
    }


def test_gates_without_any_gate_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text("gates: []\n")

    with pytest.raises(ConfigError, match=r"1: gates: found \[\], allowed: a list of gates"):
        load_gates(str(path))


def test_a_gate_that_can_judge_nothing_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "gates:\n"
        "  - {metric: transactions_per_s, min_effect_percent: 2, mode: vhost}\n"
        "  - metric: transactions_per_s\n"
        "    min_effect_percent: 5\n"
        "  - metric: transactions_per_s\n"
        "    min_effect_percent: 9\n"
        "    workload: TCP_RR\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_gates(str(path))

    assert str(caught.value).partition("mine.yaml:")[2] == (
        "5: gates[2]: judges nothing: gates[1] fits all that this one does, and stands before it"
    )


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (
            ("direction: rx", "direction: tx", "mode: vhost"),
            (
                "4: gates[2]: judges nothing: gates[0] and gates[1] together fit all that this one "
                "does, and stand before it"
            ),
        ),
        (
            ("workload: TCP_STREAM", "mode: vhost"),
            (
                "3: gates[1]: judges nothing: gates[0] fits all that this one does, and stands "
                "before it"
            ),
        ),
        (("direction: rx", "mode: passthrough", "mode: vhost", "mode: zerocopy"), None),
    ],
)
def test_a_gate_that_earlier_ones_leave_nothing_is_told(
    tmp_path: Path, first: Sequence[str], told: str | None
) -> None:
    path = tmp_path / "mine.yaml"
    head = "metric: throughput_mbps, min_effect_percent: 2"
    path.write_text("".join(("gates:\n", *(f"  - {{{head}, {place}}}\n" for place in first))))

    if told is None:
        load_gates(str(path))
        return
    with pytest.raises(ConfigError) as caught:
        load_gates(str(path))
    assert str(caught.value).partition("mine.yaml:")[2] == told


@pytest.mark.parametrize("workload", get_args(WorkloadName))
def test_a_gate_may_stand_for_every_figure_that_a_workload_gives(workload: WorkloadName) -> None:
    figures = OF_MIGRATIONS if workload == MIGRATE else tuple(netperf._FIGURES[workload])
    for metric in figures:
        gate = Gate(metric=metric, min_effect_percent=1.0, workload=workload)

        assert list(gate.contradictions()) == []


@pytest.mark.parametrize(
    ("gate", "mistake"),
    [
        (
            "metric: latency_p99_us, workload: UDP_RR, direction: rx",
            "direction: UDP_RR goes both ways; leave direction out",
        ),
        (
            "metric: latency_p99_us, direction: rx",
            (
                "direction: only TCP_RR, TCP_RR_LOADED, UDP_RR have latency_p99_us, and they go "
                "both ways; leave direction out"
            ),
        ),
        (
            "metric: throughput_mbps, workload: TCP_RR",
            "workload: TCP_RR has no throughput_mbps; allowed with it: TCP_STREAM",
        ),
        (
            "metric: insns_per_kb_dut, workload: UDP_RR",
            "workload: UDP_RR has no insns_per_kb_dut; allowed with it: TCP_STREAM, UDP_STREAM",
        ),
        (
            "metric: copied_bytes_per_payload_byte, min_effect: 1e400",
            "min_effect: found '1e400', allowed: a number in the metric's unit, 0 or more",
        ),
    ],
)
def test_a_gate_that_contradicts_itself(tmp_path: Path, gate: str, mistake: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"gates:\n  - {{{gate}, min_effect_percent: 2}}\n")

    with pytest.raises(ConfigError) as caught:
        load_gates(str(path))

    assert str(caught.value).partition("mine.yaml:")[2] == f"2: gates[0].{mistake}"


def test_an_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no gate 'wal', did you mean 'wall'\?; gates in "):
        load_gates("wal")
