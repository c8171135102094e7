"""Whatever stands in a results.json ends in a rendering, in an error of ours, or is left out.

Text that is spoiled anyhow is hardly ever results any more. So here the values in it are changed,
by the kinds of values that they are: most of it can be loaded then.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.unit.test_properties_files import RESULTS
from zclab.documents.gates import default_gates
from zclab.errors import ConfigError, ZclabError
from zclab.judge.compare import between, within
from zclab.judge.trend import comparable_with_last, histories, load_runs
from zclab.report.junit import junit
from zclab.report.markdown import markdown, markdown_comparison
from zclab.report.page import page
from zclab.report.terminal import render, render_figures, render_verdict
from zclab.report.trending import render_trend, trend_page
from zclab.runs.results import Results
from zclab.runs.store import RESULTS_FILE, load

TEXTS = (
    *("", "$x^{", "\0\x1b", "\u6f22\u5b57", "x" * 3000, "[/red]", "a\nb", "virtual", "invalid"),
    *("vhost", "passthrough", "TCP_RR", "UDP_STREAM", "tx", "off", "throughput_mbps"),
    *("latency_p99_us", "copied_bytes_per_payload_byte", "cpu_nic_s", "insns_per_kb_dut"),
)
NUMBERS = (
    *(0, -1, 1, 2, 3, 64, 1 << 31, 1 << 63, 1 << 64, 10**400),
    *(0.0, -0.5, 1e15, 1e30, -1e30, 1e308, -1e308, 1e-30, 5e-324),
)
FIRST = Results.model_validate_json(RESULTS)
RANDOMS = st.integers(0, 2**24 - 1).map(Random)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document but the document itself."""
    if path:
        yield path
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, one in inner:
            yield from places(one, (*path, key))


def changed(rng: Random) -> str:
    """Return the text of results in which one to three values are others."""
    document = json.loads(RESULTS)
    for _ in range(rng.choice((1, 1, 2, 3))):
        *above, key = rng.choice(list(places(document)))
        within_it: Any = document
        for part in above:
            within_it = within_it[part]
        within_it[key] = new = other(rng, within_it[key])
        if above[:1] in (["trials"], ["samples"]) and rng.random() < 0.5:
            for one in (*document["trials"], *document["samples"]):
                if key in one:
                    one[key] = new
    return json.dumps(document)


def other(rng: Random, value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, list):
        return rng.sample(value, rng.randint(0, len(value))) + value[: rng.randint(0, 2)]
    if isinstance(value, dict):
        kept = {key: value[key] for key in rng.sample(list(value), rng.randint(0, len(value)))}
        return kept | {rng.choice(TEXTS): rng.choice(TEXTS + NUMBERS)}
    if isinstance(value, bool) or value is None:
        return rng.choice((None, True, False, *TEXTS, *NUMBERS))
    return rng.choice(NUMBERS if isinstance(value, int | float) else TEXTS)


def show(renderable: Any) -> None:
    Console(file=io.StringIO(), width=100).print(renderable)


def tables(ours: Results) -> None:
    gates = default_gates(ours.run.clock)
    show(render(ours, details=True))
    markdown(ours)
    junit(within(ours, gates), name=ours.run.id, trials=ours.trials)


def comparisons(ours: Results) -> None:
    theirs = FIRST.model_copy(update={"run": FIRST.run.model_copy(update={"id": "theirs"})})
    for one, base in ((ours, theirs), (theirs, ours)):
        with suppress(ZclabError):
            judged = between(one, [base], default_gates(one.run.clock))
            show(render_verdict(judged, base.run.id))
            show(render_figures(judged))
            markdown_comparison(judged, base.run.id)
            junit(judged, name=base.run.id)


def a_trend(ours: Results, *, drawn: bool = False) -> None:
    runs, left_out = comparable_with_last([FIRST, ours, FIRST, ours, ours])
    found = histories(runs, default_gates(ours.run.clock))
    show(render_trend(found, runs))
    if drawn:
        trend_page(found, runs, left_out)


def pages(ours: Results) -> None:
    """Draw them, which takes a second."""
    page(ours)
    a_trend(ours, drawn=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("use", "inputs"), [(tables, 150), (comparisons, 150), (a_trend, 150), (pages, 12)]
)
def test_results_end_in_a_rendering_or_an_error_of_ours(
    use: Callable[[Results], None], inputs: int, tmp_path: Path
) -> None:
    shown = 0

    @settings(max_examples=inputs)
    @given(RANDOMS)
    def spoiled(rng: Random) -> None:
        nonlocal shown
        text = changed(rng)
        (tmp_path / RESULTS_FILE).write_text(text)
        try:
            results = load(tmp_path)
        except ConfigError:
            return
        shown += 1
        try:
            use(results)
        except Exception as exc:
            exc.add_note(f"It read {text!r}")
            raise

    spoiled()

    assert shown >= inputs / 6


@settings(max_examples=100)
@given(RANDOMS)
def test_a_folder_of_runs_ends_in_runs_and_reasons(tmp_path: Path, rng: Random) -> None:
    for name, text in (("a", RESULTS), ("b", changed(rng))):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / RESULTS_FILE).write_text(text)

    runs, left_out = load_runs(tmp_path)

    assert len(runs) + len(left_out) == 2
    assert all(reason.startswith("b is left out: ") for reason in left_out)
