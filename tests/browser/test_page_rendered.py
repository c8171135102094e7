"""The page in a real browser: on a phone, on a desk, on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zclab.judge.simulated import TRANSACTIONS, SimulatedRun
from zclab.report.flame import flame_page
from zclab.report.page import page
from zclab.runs.profiles import Key, moved
from zclab.runs.results import Dimensions

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PHONE = 360

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install the Debian package chromium-headless-shell"
)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run with everything that a page can show."""
    run = SimulatedRun()
    cpu = {"cpu_vhost_s": 0.6, "cpu_nic_s": 0.2, "cpu_qemu_s": 0.1, "cpu_kvm_s": 0.1}
    stream = {"throughput_mbps": 400.0, "service_demand_us_per_kb": 16.0, **cpu}
    for size in (64, 1024, 16384):
        run.boots({"vhost": stream, "zerocopy": stream}, boots=5, message_bytes=size)
    latency = {"latency_p50_us": 10.0, "latency_p90_us": 20.0, "latency_p99_us": 40.0}
    figures = {"transactions_per_s": 7e2, "service_demand_us_per_transaction": 9e2}
    run.boots({"vhost": figures | latency | cpu}, boots=5, **TRANSACTIONS)
    evidence = {"virtio_features": "0x1c0010130afffa7", "marker": "folded-evidence"}
    run.add("zerocopy", {}, boot=99, status="failed", reason="no " * 50, evidence=evidence)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(run.results), encoding="utf-8")
    return path


def browse(path: Path, *options: str, width: int = 1200) -> str:
    """Return what a headless Chromium prints about a page."""
    assert BROWSER is not None
    argv = (
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--window-size={width},900",
        f"--user-data-dir={path.parent / 'profile'}",
        *options,
        path.as_uri(),
    )
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="module")
def flame(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of two profiles."""
    cell = Dimensions(**TRANSACTIONS, mode="vhost", boot=0, repetition=0)
    base: dict[Key, float] = {
        ("vhost", f"{name}_of_a_driver_with_a_long_name_{number}"): 1e4 * number
        for number, name in enumerate(("alloc", "free", "get", "put"), start=1)
    }
    head = {key: cost * 1.1 for key, cost in base.items()}
    path = tmp_path_factory.mktemp("flame") / "flame.html"
    text = flame_page([moved(cell, base, head)], base="old", head="new", shown=9)
    path.write_text(text, encoding="utf-8")
    return path


def measured(page: Path, width: int) -> tuple[int, ...]:
    """Return what a browser measures: its width, the page's, what sticks out, what is too small.

    The last two are how many pictures are made for a wide screen, and for a narrow one.
    """
    measuring = page.with_name(f"measure-{width}.html")
    script = """<script>addEventListener("load", () => {
      const shown = (query) => [...document.querySelectorAll(query)].filter(
        (e) => e.checkVisibility());
      const wide = shown("svg, figure, p, pre, h1, h2").filter(
        (e) => e.getBoundingClientRect().right > innerWidth + 1);
      const small = shown("svg").filter((e) => e.getBoundingClientRect().width < 280);
      const found = [innerWidth, document.documentElement.scrollWidth, wide.length, small.length,
        shown(".wide-only").length, shown(".narrow-only").length];
      document.body.innerHTML = `measured ${found.join(" ")}`; });</script>"""
    measuring.write_text(page.read_text(encoding="utf-8") + script, encoding="utf-8")
    found = re.search(r"measured ([\d ]+)", browse(measuring, "--dump-dom", width=width))
    assert found is not None
    return tuple(map(int, found[1].split()))


@pytest.mark.parametrize(("width", "pictures"), [(PHONE, (0, 1)), (1200, (1, 0))])
def test_nothing_sticks_out_of_the_screen(
    rendered: Path, width: int, pictures: tuple[int, int]
) -> None:
    """The browser measures itself: a wide table scrolls in its box, the page never does."""
    inner, scroll, wide, small, *shown = measured(rendered, width)

    assert inner == width
    assert scroll <= width
    assert (wide, small) == (0, 0)
    assert tuple(shown) == pictures


@pytest.mark.parametrize("width", [PHONE, 1200])
def test_nothing_of_a_flame_graph_sticks_out_of_the_screen(flame: Path, width: int) -> None:
    inner, scroll, wide, small, *_ = measured(flame, width)

    assert inner == width
    assert scroll <= width
    assert (wide, small) == (0, 0)


def test_paper_shows_what_the_screen_folds(rendered: Path) -> None:
    pdf = rendered.with_suffix(".pdf")
    browse(rendered, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    folded = rendered.with_name("open.html")
    html = rendered.read_text(encoding="utf-8")
    folded.write_text(html.replace("<details>", "<details open>"), encoding="utf-8")
    opened = folded.with_suffix(".pdf")
    browse(folded, f"--print-to-pdf={opened}", "--no-pdf-header-footer")

    folded_size, open_size = len(pdf.read_bytes()), len(opened.read_bytes())
    assert folded_size == pytest.approx(open_size, rel=0.002)
