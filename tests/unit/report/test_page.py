"""The page: complete in itself, true to the results, readable on any screen and on paper."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from zclab.judge.simulated import TRANSACTIONS, SimulatedRun
from zclab.model import ModeName
from zclab.report.page import page
from zclab.runs.results import Resumed

CPU = {"cpu_vhost_s": 0.6, "cpu_nic_s": 0.2, "cpu_qemu_s": 0.1, "cpu_kvm_s": 0.1}
FIGURE = r'<figure role="img" aria-label="([^"]+)">\s*(<svg.*?</svg>)'
PANIC = Path(__file__).parents[2] / "data" / "console" / "panic.txt"


def stream(rate: float, demand: float, copied: float) -> dict[str, float]:
    return {
        "throughput_mbps": rate,
        "service_demand_us_per_kb": demand,
        "copied_bytes_per_payload_byte": copied,
        **CPU,
    }


def sweep() -> SimulatedRun:
    """Return a run in which zero-copy overtakes at 1024 B, beside transactions."""
    run = SimulatedRun()
    for size in (64, 256, 4096, 16384):
        gain = (size / 1024) ** 0.1
        truth: Mapping[ModeName, dict[str, float]] = {
            "vhost": stream(100.0, 10.0, 1.0),
            "zerocopy": stream(100.0 * gain, 10.0 / gain, 0.02),
        }
        run.boots(truth, boots=5, noise=0.002, message_bytes=size)
    latency = {"latency_p50_us": 10.0, "latency_p90_us": 20.0, "latency_p99_us": 40.0}
    figures = {
        "transactions_per_s": 700.0,
        "service_demand_us_per_transaction": 900.0,
        **latency,
        **CPU,
    }
    run.boots({"vhost": figures, "zerocopy": figures}, boots=5, **TRANSACTIONS)
    return run


def two_modes() -> SimulatedRun:
    """Return a run of one cell, of which a page is drawn in no time."""
    run = SimulatedRun()
    run.boots({"vhost": stream(1000.0, 10.0, 1.0), "zerocopy": stream(1010.0, 9.0, 0.0)}, boots=5)
    return run


@functools.cache
def shown() -> str:
    return page(sweep().results)


def text_of(html: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    return " ".join(" ".join(found).split())


def test_the_page_needs_nothing_else() -> None:
    html = shown()

    loaded = re.findall(r"""(?:src|href)\s*=\s*["']([^"'#]+)|url\(["']?([^)"'#]+)""", html)
    assert loaded == []
    assert "<script" not in html
    assert "@import" not in html


def test_the_same_run_is_the_same_page() -> None:
    assert page(sweep().results) == shown()


def test_the_verdict_stands_first_and_says_what_is_worse() -> None:
    text = text_of(shown())

    verdict = text.index("Against vhost: zerocopy 4 worse (most: ")
    assert verdict < text.index("TCP_STREAM rx")


def test_small_messages_that_move_less_are_of_the_same_curve() -> None:
    run = SimulatedRun(clock="virtual")
    for size in (64, 1024, 16384):
        truth: Mapping[ModeName, dict[str, float]] = {
            "vhost": stream(100.0, 10.0, 1.0),
            "zerocopy": stream(110.0, 9.0, 0.0),
        }
        amount = min(128 << 20, size << 18)
        run.boots(truth, boots=5, noise=0.0, message_bytes=size, amount=amount)

    found = page(run.results)

    captions = [caption for caption, _ in re.findall(FIGURE, found, re.DOTALL)]
    assert [one for one in captions if one.startswith("throughput by message size")] != []
    assert "128.0 MiB" in text_of(found)


def test_a_run_that_was_gone_on_with_says_so() -> None:
    results = two_modes().results
    again = Resumed(started="x", command="y", retried=results.trials[:2])
    run = results.run.model_copy(update={"resumed": (again,)})

    told = "stopped and resumed once; 2 failed trials ran again"
    assert told in text_of(page(results.model_copy(update={"run": run})))
    assert "stopped and resumed" not in text_of(shown())


def test_a_sweep_names_its_crossover() -> None:
    (size,) = re.findall(
        r"throughput by message size: zerocopy crosses vhost at ([\d,]+) B",
        text_of(shown()),
    )

    assert 900 < int(size.replace(",", "")) < 1150


def test_every_chart_is_an_image_with_words_and_ids_of_its_own() -> None:
    html = shown()

    images = re.findall(FIGURE, html, re.DOTALL)
    assert len(images) >= 8
    ids = [one for _, svg in images for one in set(re.findall(r'\bid="([^"]+)"', svg))]
    assert len(ids) == len(set(ids))
    for _, svg in images:
        ET.fromstring(svg)
        for used in re.findall(r'(?:url\(|href=")#([^)"]+)', svg):
            assert f'id="{used}"' in svg


def test_bars_begin_at_zero_and_have_a_unit() -> None:
    html = page(two_modes().results)

    chart = re.search(r'aria-label="throughput, 16,384 B">(.*?)</figure>', html, re.DOTALL)
    assert chart is not None
    assert ">0</text>" in chart[1]
    assert ">Mb/s</text>" in chart[1]


def test_a_failed_trial_has_its_reason_and_its_console(tmp_path: Path) -> None:
    run = two_modes()
    run.add("zerocopy", {}, boot=99, status="failed", reason="<oops> & more")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "host-console.log").write_text("booting\n" + PANIC.read_text())

    html = page(run.results, folder=tmp_path)

    assert "1 of 6 failed: &lt;oops&gt; &amp; more" in html
    assert "Kernel panic - not syncing" in text_of(html)
    assert "booting" not in text_of(html)


def test_a_failed_trial_has_what_its_kernel_said_and_the_console_s_end(tmp_path: Path) -> None:
    run = two_modes()
    run.add("zerocopy", {}, boot=99, status="failed", reason="the NIC hung")
    (tmp_path / "raw").mkdir()
    hang = "[    9.1] igb 0000:01:00.0: Detected Tx Unit Hang\n"
    (tmp_path / "raw" / "host-console.log").write_text(hang + "x\n" * 500 + "the end\n")

    text = text_of(page(run.results, folder=tmp_path))

    assert "igb 0000:01:00.0: Detected Tx Unit Hang" in text
    assert "the end" in text


def test_a_page_stays_small_whatever_filled_a_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that prints without end, or never ends a line."""
    monkeypatch.setattr("zclab.report.page.CONSOLE_CHARACTERS", 1 << 16)
    run = two_modes()
    run.add("zerocopy", {}, boot=99, status="failed", reason="the NIC hung")
    (tmp_path / "raw").mkdir()
    for name, text in (("host", "line\n" * 100_000 + "the end\n"), ("guest", "x" * 1_000_000)):
        (tmp_path / "raw" / f"{name}-console.log").write_text(text)

    html = page(run.results, folder=tmp_path)

    assert "the end" in html
    assert len(html) < 200_000


def test_a_run_without_failures_shows_no_console(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "host-console.log").write_text("booting\n")

    assert "Console of failed trials" not in page(two_modes().results, folder=tmp_path)


def test_a_run_without_trials_is_a_page() -> None:
    assert "No trial has ended." in page(SimulatedRun().results)
