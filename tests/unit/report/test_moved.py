"""What moved, as the terminal has it: it adds up, and begins with what matters."""

from __future__ import annotations

import io
import re
from decimal import Decimal

import pytest
from rich.console import Console, RenderableType

from zclab.judge import costs
from zclab.judge.simulated import STREAM, TRANSACTIONS, SimulatedRun
from zclab.report.moved import cost_sentence, percent, render_moved
from zclab.runs.profiles import CellMovements, Cost, Key, moved
from zclab.runs.results import Dimensions

CELL = Dimensions(**TRANSACTIONS, mode="vhost", boot=0, repetition=0)


def shown(what: RenderableType) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=100).print(what)
    return file.getvalue().splitlines()


def many(symbols: int = 100) -> CellMovements:
    """Return a cell in which every symbol costs a third of an instruction more."""
    base: dict[Key, float] = {("guest", f"f{number}"): number / 7 for number in range(symbols)}
    head = {key: cost + 1 / 3 for key, cost in base.items()}
    head["vhost", "planted"] = 187.56
    return moved(CELL, base, head)


def changes(lines: list[str]) -> dict[str, Decimal]:
    """Return the column of changes by the first word of a row."""
    rows = [
        re.match(r"(\S+(?: all| 12| others)?)\s.*\s([+-][\d,]+\.\d)(?!\d|%)", one) for one in lines
    ]
    return {row[1]: Decimal(row[2].replace(",", "")) for row in rows if row}


def tables(cell: CellMovements, listed: int = 12) -> tuple[list[str], list[str]]:
    """Return the lines of the components, and those of the symbols."""
    lines = shown(render_moved(cell, shown=listed))
    middle = next(number for number, line in enumerate(lines) if line.startswith("symbol"))
    return lines[:middle], lines[middle:]


def test_components_add_up_to_what_stands_below_them() -> None:
    components, _ = tables(many())

    found = changes(components)
    assert list(found) == ["vhost", "guest", "in all"]
    assert found["vhost"] + found["guest"] == found["in all"]


def test_symbols_and_all_others_add_up_to_the_components() -> None:
    components, symbols = tables(many())

    found = changes(symbols)
    whole = found.pop("in all")
    others, these = found.pop("89 others"), found.pop("these 12")
    assert next(iter(found)) == "planted"
    assert len(found) == 12
    assert sum(found.values()) == these
    assert these + others == whole == changes(components)["in all"]


def test_without_others_there_are_no_rows_for_them() -> None:
    cell = moved(CELL, {("vhost", "f"): 1.0}, {("vhost", "f"): 2.0})

    lines = shown(render_moved(cell, shown=12))

    assert not any("others" in line or "these" in line for line in lines)


def test_what_does_not_move_is_not_listed() -> None:
    cell = moved(CELL, {("vhost", "still"): 9.0}, {("vhost", "still"): 9.04})

    _, symbols = tables(cell)

    assert not any(line.startswith("still") for line in symbols)
    assert "-0.0" not in "\n".join(symbols)


@pytest.mark.parametrize(
    ("base", "head", "told"),
    [(0, 5, "new"), (5, 0, "gone"), (0, 0, ""), (1000, 1000.1, ""), (200, 190, "-5.0%")],
)
def test_a_change_in_percent_needs_two_sides(base: float, head: float, told: str) -> None:
    assert percent(Cost(base=base, head=head)) == told


def test_the_sentence_names_the_change_and_the_components_it_is_of() -> None:
    base: dict[Key, float] = {("vhost", "f"): 100.0, ("guest", "g"): 900.0}
    head: dict[Key, float] = {("vhost", "f"): 150.0, ("guest", "g"): 890.0}

    assert cost_sentence(moved(CELL, base, head)) == (
        "vhost, TCP_RR 1 B: +40.0 instructions per transaction in all, +4.0% "
        "(vhost +50.0, guest -10.0)."
    )


def test_two_runs_without_profiles_are_told_apart_by_component() -> None:
    runs = []
    for vhost in (300.0, 330.0):
        run = SimulatedRun(clock="virtual")
        figures = {"insns_per_kb_vhost": vhost, "insns_per_kb_guest": 50.0}
        run.boots({"vhost": figures}, boots=2, noise=0.0)
        runs.append(run.results)

    (cell,) = costs.between(costs.Side(runs=runs[1:]), costs.Side(runs=runs[:1]))

    assert cell.what == "instructions per KB"
    assert cell.components["vhost"] == Cost(base=300, head=pytest.approx(330))
    assert cell.movements == ()
    assert "symbol" not in "\n".join(shown(render_moved(cell, shown=12)))


def test_in_the_wall_clock_components_are_the_hosts_cpu_time() -> None:
    run = SimulatedRun()
    for mode, vhost in (("vhost", 3.0), ("zerocopy", 1.0)):
        figures = {"service_demand_us_per_kb": vhost + 1, "cpu_vhost_s": vhost, "cpu_nic_s": 1.0}
        run.boots({mode: figures}, boots=2, noise=0.0)  # type: ignore[dict-item]

    (cell,) = costs.within(costs.Side(runs=[run.results]), baseline="vhost")

    assert (cell.what, cell.base, cell.head) == ("us of host CPU per KB", "vhost", "zerocopy")
    assert cell.components["vhost"] == Cost(base=pytest.approx(3), head=pytest.approx(1))
    assert cell.components["nic"] == Cost(base=pytest.approx(1), head=pytest.approx(1))
    assert "qemu" not in cell.components
    lines = shown(render_moved(cell, shown=12))
    assert any(re.match(r"us of host CPU per KB\s+vhost\s+zerocopy\s+change", one) for one in lines)


def test_a_mode_that_has_no_figures_of_cost_is_left_out() -> None:
    run = SimulatedRun()
    run.boots({"vhost": {"throughput_mbps": 1.0}, "zerocopy": {"throughput_mbps": 2.0}}, **STREAM)

    assert costs.within(costs.Side(runs=[run.results]), baseline="vhost") == ()
