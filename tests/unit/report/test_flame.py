"""The page of two profiles: true to them, and complete in itself."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from zclab.judge.simulated import TRANSACTIONS
from zclab.report.flame import flame, flame_page
from zclab.runs.profiles import CellMovements, Key, moved
from zclab.runs.results import Dimensions

CELL = Dimensions(**TRANSACTIONS, mode="vhost", boot=0, repetition=0)
SVG = "{http://www.w3.org/2000/svg}"


def a_cell() -> CellMovements:
    base: dict[Key, float] = {
        ("vhost", "handle_tx"): 600.0,
        ("vhost", "removed"): 80.0,
        ("guest", "[user]"): 1000.0,
        **{("guest", f"small_{number}"): 1.0 for number in range(50)},
    }
    head = {key: cost for key, cost in base.items() if key[1] != "removed"}
    head["vhost", "handle_tx"] = 400.0
    head["guest", "small_7"] = 9.0
    return moved(CELL, base, head)


def heights(svg: str) -> dict[str, float]:
    """Return how high each rectangle is, by what it is called."""
    found = {}
    for group in ET.fromstring(svg).iter(f"{SVG}g"):
        title, path = group.find(f"{SVG}title"), group.find(f"{SVG}path")
        if title is not None and path is not None:
            numbers = [float(one) for one in re.findall(r"[\d.]+", path.attrib["d"])]
            found[str(title.text).partition(":")[0]] = max(numbers[1::2]) - min(numbers[1::2])
    return found


def colour_of(svg: str, name: str) -> tuple[int, int, int]:
    (found,) = re.findall(rf"<title>{re.escape(name)}:.*?fill: #([0-9a-f]{{6}})", svg, re.DOTALL)
    red, green, blue = bytes.fromhex(found)
    return red, green, blue


def test_each_is_as_high_as_its_cost_afterwards() -> None:
    found = heights(flame(a_cell()))

    assert list(found) == ["guest", "[user]", "small_7, 49 others", "vhost", "handle_tx"]
    for name, cost in {"[user]": 1000, "small_7, 49 others": 58, "vhost": 400}.items():
        assert abs(found[name] / found["handle_tx"] - cost / 400) < 0.01


def test_more_is_red_less_is_blue_and_the_same_is_neither() -> None:
    svg = flame(a_cell())

    red, _, blue = colour_of(svg, "small_7, 49 others")
    assert red > blue
    red, _, blue = colour_of(svg, "handle_tx")
    assert blue > red
    red, _, blue = colour_of(svg, "[user]")
    assert red == blue


def test_a_pointer_finds_the_numbers_of_what_is_too_small_for_a_label() -> None:
    assert "<title>handle_tx: 600.0 to 400.0, -200.0 -33.3%</title>" in flame(a_cell())


def test_what_is_gone_is_named_since_it_cannot_be_drawn() -> None:
    html = flame_page([a_cell()], base="old", head="new", shown=12)

    assert "nothing of it is left: removed (vhost) -80.0." in html


def test_the_page_needs_nothing_else_and_says_first_what_moved() -> None:
    html = flame_page([a_cell()], base="old", head="<new>", shown=2)

    assert re.findall(r"""(?:src|href)\s*=\s*["']([^"'#]+)|url\(["']?([^)"'#]+)""", html) == []
    assert "<script" not in html
    first = html.index("vhost, TCP_RR 1 B: -272.0 instructions per transaction in all, -15.7%")
    assert first < html.index("<svg")
    assert "Where &lt;new&gt; costs more or less than old" in html
    assert html == flame_page([a_cell()], base="old", head="<new>", shown=2)


def test_a_cell_that_costs_nothing_any_more_is_a_page() -> None:
    cell = moved(CELL, {("vhost", "f"): 5.0}, {})

    assert "f (vhost) -5.0" in flame_page([cell], base="a", head="b", shown=2)
