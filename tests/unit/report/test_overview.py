"""The picture that a page begins with: all cells, in their places, and in words."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from zclab.documents.gates import default_gates
from zclab.judge.compare import within
from zclab.judge.simulated import TRANSACTIONS, SimulatedRun
from zclab.judge.verdicts import Judged
from zclab.model import ModeName
from zclab.report.overview import Overview, overview
from zclab.report.page import page

GREEN, RED = "#009e73", "#d55e00"
STREAM = {"throughput_mbps": 100.0, "service_demand_us_per_kb": 10.0}
RATES = {"transactions_per_s": 700.0, "service_demand_us_per_transaction": 90.0}


def a_run(*, latency: bool = True) -> SimulatedRun:
    run = SimulatedRun()
    for offloads, factor in (("on", 1.5), ("off", 0.5)):
        truth: Mapping[ModeName, dict[str, float]] = {
            "vhost": STREAM,
            "zerocopy": {name: value * factor for name, value in STREAM.items()},
        }
        run.boots(truth, boots=6, noise=0.004, offloads=offloads)
    figures = RATES | ({"latency_p99_us": 40.0} if latency else {})
    run.boots({"vhost": figures, "zerocopy": figures}, boots=6, noise=0.004, **TRANSACTIONS)
    return run


def judged(run: SimulatedRun) -> tuple[Judged, ...]:
    return within(run.results, default_gates("wall"))


def drawn(run: SimulatedRun) -> Overview:
    found = overview(judged(run), "vhost")
    assert found is not None
    return found


@functools.cache
def shown() -> Overview:
    """Return the picture of all cells."""
    return drawn(a_run())


def texts(svg: str) -> list[str]:
    found = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(one.itertext()) for one in found]


def test_every_cell_has_its_ratio_and_verdict_in_both_forms() -> None:
    for svg in (shown().wide, shown().narrow):
        found = texts(svg)
        assert found.count("1.50x ▲") == found.count("1.50x ▼") == 1
        assert found.count("0.50x ▲") == found.count("0.50x ▼") == 1
        assert sum(text.endswith(" =") for text in found) == 3
        assert [text for text in found if "better" in text] == [
            "throughput or rate  better →",
            "host CPU  ← better",
            "p99 latency  ← better",
        ]
        assert svg.count(f"fill: {GREEN}") == svg.count(f"fill: {RED}") > 0


def test_cells_are_told_apart_by_the_conditions_they_differ_in() -> None:
    found = texts(shown().wide)

    assert found.count("offloads off") == 1
    assert not any("MTU" in text for text in found)


def test_more_is_to_the_right_of_1_and_less_to_the_left() -> None:
    """Of throughput, of which one cell has half as much more, and one half."""
    svg = shown().narrow

    marks = re.findall(
        rf'<use xlink:href="#[^"]*" x="([\d.]+)"[^>]*style="fill: ({GREEN}|{RED})', svg
    )
    more, less = (float(x) for x, _ in marks[:2])
    assert more > less
    assert [colour for _, colour in marks[:2]] == [GREEN, RED]


def test_the_words_say_the_same() -> None:
    assert shown().told[0] == (
        "TCP_STREAM rx 16384 B, offloads on: throughput 1.50x (better), host CPU 1.50x (worse)"
    )


def test_a_figure_that_no_cell_has_gets_no_column() -> None:
    found = drawn(a_run(latency=False))

    assert not any("p99" in text for text in texts(found.wide))
    assert "p99" not in found.caption


def test_a_cell_without_valid_figures_is_there_and_says_so() -> None:
    run = a_run()
    run.boots({"vhost": STREAM}, boots=6, message_bytes=64)
    run.add("zerocopy", {}, boot=99, status="failed", reason="oops", message_bytes=64)

    found = drawn(run)

    assert texts(found.wide).count("! missing") == 2
    assert found.told[-1].startswith("TCP_STREAM rx 64 B, offloads on: throughput missing")


@pytest.mark.parametrize("factor", [1e-4, 0.03, 0.9999, 1.3, 40.0])
def test_ticks_are_few_and_no_two_are_alike(factor: float) -> None:
    run = SimulatedRun()
    truth: dict[ModeName, dict[str, float]] = {
        "vhost": {"throughput_mbps": 100.0},
        "zerocopy": {"throughput_mbps": 100.0 * factor},
    }
    run.boots(truth, boots=6, noise=1e-5)

    ticks = [text for text in texts(drawn(run).wide) if re.fullmatch(r"[\d.e-]+", text)]

    assert 2 <= len(ticks) <= 7
    assert len(set(ticks)) == len(ticks)


def test_the_page_begins_with_it() -> None:
    html = page(a_run().results)

    picture = html.index('class="overview"')
    assert html.index("Against vhost: zerocopy") < picture < html.index("<section>")
    caption = "zerocopy against vhost in all cells: throughput or rate, host CPU"
    assert f'aria-label="{caption}' in html


def test_without_a_baseline_there_is_no_picture_and_no_list_of_verdicts() -> None:
    run = SimulatedRun()
    run.boots({"zerocopy": STREAM})

    html = page(run.results)

    assert 'class="overview"' not in html
    assert 'class="counts"' not in html
    assert "vs vhost" not in html


def test_against_another_run_that_is_what_the_page_begins_with() -> None:
    html = page(a_run().results, comparison=judged(a_run()), against="before")

    assert "Against before: zerocopy" in html
    assert "ratio to before" in html
    assert "Within this run: Against vhost: zerocopy" in html


def table_headings(**figures: Any) -> list[str]:
    run = SimulatedRun()
    run.boots({"vhost": figures, "zerocopy": figures}, boots=6, noise=0.0)
    return re.findall(r"<th[^>]*>([^<]+)", page(run.results).split("<h2>Evidence")[0])


def test_a_table_has_no_column_without_content() -> None:
    assert table_headings(throughput_mbps=9.0) == ["16,384 B", "throughput, Mb/s", "vs vhost"]


def test_what_is_not_copied_anywhere_has_no_chart() -> None:
    run = SimulatedRun()
    run.boots({"vhost": STREAM | {"copied_bytes_per_payload_byte": 0.0}}, noise=0.0)

    assert 'aria-label="copied' not in page(run.results)
