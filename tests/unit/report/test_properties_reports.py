"""Whatever a reason says, reports are well-formed, show it, and touch nothing around it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invoke.exceptions import Exit
from rich.console import Console

from tests.unit.mutations import mutated
from zclab.build.progress import shown
from zclab.documents.gates import default_gates
from zclab.errors import LabError, ParseError
from zclab.judge.simulated import SimulatedRun
from zclab.judge.stats import mean
from zclab.model import Clock, ModeName
from zclab.outside import printable
from zclab.report import charts
from zclab.report.junit import junit
from zclab.report.markdown import markdown, summary
from zclab.report.output import out
from zclab.report.page import page
from zclab.report.terminal import render
from zclab.runs.results import Results
from zclab.tasks.cli import explained

REASON = "guest: ip: exit status 1:\n  [/red] a | b </details> & 'it\x1b[2J'\0\ud800\ufffe done"
FIGURES = {"throughput_mbps": 941.5, "service_demand_us_per_kb": 2.5}
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
TEXTS = st.one_of(mutated(REASON), st.text(st.characters(), max_size=40))


def failed(reason: str) -> Results:
    """Return a run whose second mode failed for this reason."""
    run = SimulatedRun()
    run.add("vhost", FIGURES)
    run.add("zerocopy", {}, status="failed", reason=reason, evidence={"said": reason})
    return run.results


def on_terminal(results: Results) -> str:
    file = io.StringIO()
    Console(file=file, width=400).print(render(results))
    return file.getvalue()


def words(reason: str) -> str:
    return " ".join(printable(reason).split())


@settings(max_examples=150)
@given(reason=TEXTS)
def test_junit_is_well_formed_and_has_the_reason(reason: str) -> None:
    """CI drops a report that is not, just when it matters."""
    xml = junit((), name=reason, trials=failed(reason).trials, problem=reason)

    suite = ET.fromstring(xml)[0]
    (error,) = (case[0] for case in suite)
    assert str(suite.get("name")).split() == printable(reason).split()
    wanted = f"failed: {printable(reason) or 'no reason given'}"
    assert str(error.get("message")).split() == wanted.split()


def test_junit_has_the_problem_where_no_trial_has_one() -> None:
    xml = junit((), name="run", problem=REASON)

    message = ET.fromstring(xml)[0][0][0].get("message")
    assert str(message).split() == printable(REASON).split()


@settings(max_examples=60)
@given(reason=TEXTS)
def test_a_terminal_shows_the_reason_and_is_told_nothing_else(reason: str) -> None:
    shown = on_terminal(failed(reason))

    assert not CONTROL.search(shown)
    assert words(reason)[:100].split(" ")[0] in shown


@settings(max_examples=150)
@given(reason=TEXTS)
def test_a_markdown_table_keeps_its_columns(reason: str) -> None:
    text = markdown(failed(reason))

    (row,) = (line for line in text.splitlines() if "| zerocopy |" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 9
    assert not CONTROL.search(text)
    assert not re.search(r"<\w|</", row)


@settings(max_examples=20)
@given(reason=TEXTS)
def test_a_night_s_summary_folds_what_it_folds(reason: str) -> None:
    results = failed(reason)

    text = summary(
        results, (), "", note=reason, problem=reason, gates=default_gates(results.run.clock)
    )

    assert text.count("<details>") == text.count("</details>") == 1
    assert not CONTROL.search(text)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("clock", ["wall", "virtual"])
@pytest.mark.parametrize("value", [0.0, -1.0, 1e-29, 1e30])
def test_any_figures_can_be_shown(value: float, clock: Clock) -> None:
    """Nobody is warned of what nobody can do anything about, either."""
    run = SimulatedRun(clock=clock)
    for boot in range(3):
        for mode, factor in (("vhost", 1.0), ("zerocopy", 0.5 * boot)):
            figures = dict.fromkeys(FIGURES, value * factor)
            run.add(cast("ModeName", mode), figures, boot=boot, repetition=boot)

    assert "zerocopy" in markdown(run.results)
    assert "zerocopy" in on_terminal(run.results)
    assert bool(page(run.results).count("<svg")) == bool(value), "no chart of nothing but zeros"


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, float("nan"), float("inf")])
def test_what_cannot_be_reckoned_with_is_no_figure(value: float) -> None:
    """Of 1e308, squares are infinite, and a chart has no room."""
    with pytest.raises(ParseError, match=r"throughput_mbps: found .*, allowed: a number, 0 or"):
        SimulatedRun().add("vhost", {"throughput_mbps": value})


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("version", ["$x^{", "6.12 \u6f22\u5b57", "x" * 3000, "a\nb", ""])
def test_any_version_can_be_shown_under_a_history(version: str) -> None:
    points = [mean([[1.0]]), mean([[2.0]])]

    drawn = charts.history(points, [version, "other"], "Mb/s")

    assert version.split("\n", maxsplit=1)[0][:20] in drawn


class Text(HTMLParser):
    """Collects what a page shows."""

    def __init__(self) -> None:
        super().__init__()
        self.shown = ""
        self.tags: list[str] = []

    def handle_data(self, data: str) -> None:
        """See HTMLParser."""
        self.shown += data

    def handle_starttag(self, tag: str, _attributes: object) -> None:
        """See HTMLParser."""
        self.tags.append(tag)


def read_page(html: str) -> Text:
    found = Text()
    found.feed(html)
    return found


@settings(max_examples=5)
@given(reason=TEXTS)
def test_a_page_shows_the_reason_and_has_no_element_of_it(reason: str) -> None:
    html = page(failed(reason))

    assert not CONTROL.search(html)
    found = read_page(html)
    assert words(reason) in found.shown
    assert found.tags == read_page(page(failed("no lease"))).tags


def test_a_page_shows_what_a_console_said_without_its_control_characters(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "host-console.log").write_bytes(b"login: \x1b[2J\0 \xff <b>\n")

    html = page(failed("no lease"), folder=tmp_path)

    assert not CONTROL.search(html)
    assert "login: \\x1b[2J\\x00 \ufffd <b>" in read_page(html).shown


def test_a_page_says_of_a_console_that_it_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "raw" / "host-console.log").mkdir(parents=True)

    html = page(failed("no lease"), folder=tmp_path)

    assert "cannot be read: Is a directory" in read_page(html).shown


def test_an_error_ends_in_its_text_whatever_that_is(capsys: pytest.CaptureFixture[str]) -> None:
    @explained
    def failing() -> None:
        raise LabError(REASON)

    with pytest.raises(Exit) as caught:
        failing()

    assert caught.value.code == LabError.exit_status
    assert caught.value.message == f"error: {printable(REASON)}"
    assert not capsys.readouterr().out


def test_brackets_and_colons_of_a_path_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out.print("results: /runs/[/red]/:bug:/[bold]x", soft_wrap=True)

    assert capsys.readouterr().out == "results: /runs/[/red]/:bug:/[bold]x\n"


def test_progress_shows_what_tools_print_and_obeys_none_of_it() -> None:
    for terminal in (False, True):
        file = io.StringIO()
        console = Console(file=file, width=200, force_terminal=terminal)
        with shown("kernel", console) as progress:
            progress(0, None, "CC [/red] \x07 \ud800")

        assert "[/red] \\x07 \\ud800" in file.getvalue()
