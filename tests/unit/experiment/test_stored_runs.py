"""Tasks that read runs: what they write, and with which status they end."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from zclab.errors import ConfigError, GateError, TrialError
from zclab.experiment import stored_runs
from zclab.judge.simulated import SimulatedRun
from zclab.runs.results import Results
from zclab.runs.store import RESULTS_FILE

FIGURES = {"throughput_mbps": 400.0, "service_demand_us_per_kb": 10.0}


def stored(folder: Path, results: Results) -> str:
    folder.mkdir()
    (folder / RESULTS_FILE).write_text(results.model_dump_json(by_alias=True))
    return str(folder)


def simulated(run_id: str, factor: float, *, seed: int = 1) -> SimulatedRun:
    run = SimulatedRun(run_id, seed=seed)
    figures = {"throughput_mbps": 400.0 * factor, "service_demand_us_per_kb": 10.0}
    run.boots({"vhost": FIGURES, "zerocopy": figures}, boots=6, noise=0.004)
    return run


def compare(run: str, *baselines: str, **changes: Any) -> None:
    options: dict[str, Any] = {
        "baseline_mode": "vhost",
        "gates": "",
        "allow": (),
        "junit": "",
        "html": "",
        "md": "",
    }
    stored_runs.compare(run, baselines=baselines, **(options | changes))


def test_a_worse_run_fails_its_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = stored(tmp_path / "ours", simulated("after", 0.9, seed=2).results)
    theirs = stored(tmp_path / "theirs", simulated("before", 1.0).results)

    with pytest.raises(GateError, match=r"1 of 4 figures are worse than before's") as caught:
        compare(ours, theirs)

    assert caught.value.exit_status == 5
    assert "zerocopy 1 worse (throughput 0.9" in capsys.readouterr().out


def test_cells_that_differ_in_conditions_alone_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = SimulatedRun()
    for offloads in ("on", "off"):
        run.boots({"vhost": FIGURES, "zerocopy": FIGURES}, boots=6, offloads=offloads)

    compare(stored(tmp_path / "run", run.results))

    printed = capsys.readouterr().out
    for offloads in ("on", "off"):
        assert f"TCP_STREAM rx 16384 B  e1000e, MTU 1500, offloads {offloads}, 5 s" in printed


def test_a_better_run_passes(tmp_path: Path) -> None:
    ours = stored(tmp_path / "ours", simulated("after", 1.1, seed=2).results)
    theirs = stored(tmp_path / "theirs", simulated("before", 1.0).results)

    compare(ours, theirs)


def test_modes_of_one_run_are_compared_without_a_baseline(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", simulated("run", 0.9).results)

    with pytest.raises(GateError, match="1 of 2 figures are worse than vhost's"):
        compare(run)
    compare(run, baseline_mode="zerocopy")


def test_a_figure_that_is_missing_does_not_pass(tmp_path: Path) -> None:
    ours = SimulatedRun("after", seed=2)
    ours.boots({"vhost": FIGURES}, boots=6, noise=0.004)
    ours.add("zerocopy", {}, boot=99, status="failed", reason="oops")
    theirs = stored(tmp_path / "theirs", simulated("before", 1.0).results)

    with pytest.raises(TrialError, match="2 of 4 figures are missing"):
        compare(stored(tmp_path / "ours", ours.results), theirs)


def test_gates_of_ones_own_decide(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", simulated("run", 0.9).results)
    gates = tmp_path / "lax.yaml"
    gates.write_text("gates:\n  - metric: throughput_mbps\n    min_effect_percent: 20\n")

    compare(run, gates=str(gates))


def test_junit_tells_worse_undecided_and_missing_apart(tmp_path: Path) -> None:
    run = simulated("run", 0.9)
    run.boots({"vhost": FIGURES, "zerocopy": FIGURES}, boots=2, direction="tx")
    run.boots({"vhost": FIGURES}, boots=6, message_bytes=64)
    run.add("zerocopy", {}, boot=99, status="failed", message_bytes=64)
    junit = tmp_path / "out" / "junit.xml"

    with pytest.raises(GateError):
        compare(stored(tmp_path / "run", run.results), junit=str(junit))

    (suite,) = JUnitXml.fromfile(str(junit))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 1, 2, 2)
    (failed,) = [case for case in suite if case.is_failure]
    assert failed.name == "zerocopy: throughput"
    assert failed.classname == "TCP_STREAM rx 16384 B, e1000e, MTU 1500, offloads on, 5 s"
    assert failed.result[0].message.startswith("worse: 0.8")


def test_a_comparison_is_on_the_page_and_in_markdown(tmp_path: Path) -> None:
    ours = stored(tmp_path / "ours", simulated("after", 1.1, seed=2).results)
    theirs = stored(tmp_path / "theirs", simulated("before", 1.0).results)
    html, md = tmp_path / "x" / "page.html", tmp_path / "verdict.md"

    compare(ours, theirs, html=str(html), md=str(md))

    assert "Against before: vhost none worse" in html.read_text()
    assert md.read_text().startswith("Against before: vhost none worse, 2 the same; zerocopy none")
    assert "| ▲ better | TCP_STREAM rx 16384 B | zerocopy | throughput | 4" in md.read_text()


def test_a_run_is_rendered_again_from_its_folder(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", simulated("run", 0.9).results)

    stored_runs.report(run, baseline_mode="vhost", gates="", html="", md="")

    page = tmp_path / "run" / "report.html"
    first = page.read_text()
    stored_runs.report(f"{run}/{RESULTS_FILE}", baseline_mode="vhost", gates="", html="", md="")
    assert page.read_text() == first


def test_of_results_that_lie_anywhere_no_page_is_written_uninvited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is a console taken that happens to lie beside them."""
    run = simulated("run", 0.9)
    run.add("zerocopy", {}, boot=99, status="failed", reason="oops")
    loose = Path(stored(tmp_path / "mails", run.results)) / RESULTS_FILE
    loose = loose.rename(loose.with_name("from-peer.json"))
    (tmp_path / "mails" / "raw").mkdir()
    (tmp_path / "mails" / "raw" / "my-console.log").write_text("private")

    stored_runs.report(str(loose), baseline_mode="vhost", gates="", html="", md="")

    assert sorted(path.name for path in loose.parent.iterdir()) == ["from-peer.json", "raw"]
    assert "--html=FILE writes the page" in capsys.readouterr().out
    html = tmp_path / "page.html"
    stored_runs.report(str(loose), baseline_mode="vhost", gates="", html=str(html), md="")
    with pytest.raises(GateError):
        compare(str(loose), html=str(tmp_path / "other.html"))
    for page in (html, tmp_path / "other.html"):
        assert "oops" in page.read_text()
        assert "private" not in page.read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two runs and a loose file, in which the test is."""
    for name in ("ours", "theirs"):
        stored(tmp_path / name, simulated(name, 1.0).results)
        (tmp_path / name / "plan.json").write_text("{}")
        (tmp_path / name / "raw").mkdir()
        (tmp_path / name / "raw" / "host-console.log").write_text("login:")
    (tmp_path / "loose.json").write_text(simulated("loose", 1.0).results.model_dump_json())
    (tmp_path / "link").symlink_to("ours/results.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in files}


@pytest.mark.parametrize(
    "place",
    [
        *("ours/results.json", "theirs/results.json", "ours/raw/../plan.json", "link"),
        *("ours/raw/host-console.log", "ours/raw/new.html", "theirs/raw/new/x.html"),
    ],
)
def test_no_report_is_written_over_what_a_run_is_made_of(here: Path, place: str) -> None:
    before = contents(here)

    for option, name in (("junit", "junit"), ("html", "html"), ("md", "markdown")):
        with pytest.raises(ConfigError, match=f"^--{name}: {place} is part of a run, and stays"):
            compare("ours", "theirs", **{option: place})
    for html, md in ((place, ""), ("", place)):
        with pytest.raises(ConfigError, match=f"{place} is part of a run, and stays; name another"):
            stored_runs.report("ours", baseline_mode="vhost", gates="", html=html, md=md)
    with pytest.raises(ConfigError, match=f"^--html: {place} is part of a run"):
        stored_runs.trend(".", gates="", html=place)
    assert contents(here) == before


def test_no_report_is_written_over_what_is_read_or_another_report(here: Path) -> None:
    before = contents(here)

    for run, baseline in (("ours", "loose.json"), ("loose.json", "theirs")):
        with pytest.raises(ConfigError, match=r"^--junit: loose\.json is what is read, and stays"):
            compare(run, baseline, junit="./loose.json")
    with pytest.raises(ConfigError, match=r"^--html: x is what --junit writes, and stays; name an"):
        compare("ours", "theirs", junit="x", html="x")
    assert contents(here) == before


def test_a_link_to_a_report_stays_one_and_a_pipe_takes_it(here: Path) -> None:
    (here / "latest").symlink_to("page.html")
    (here / "page.html").write_text("old")
    os.mkfifo(here / "pipe")
    reader = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)

    try:
        compare("ours", "theirs", html="latest", md="pipe")
        assert os.read(reader, 1000).startswith(b"Against theirs: ")
    finally:
        os.close(reader)

    assert (here / "latest").is_symlink()
    assert "Against theirs" in (here / "page.html").read_text()
    assert (here / "pipe").is_fifo()


def test_a_report_that_cannot_be_written_leaves_the_old_one_and_nothing_else(here: Path) -> None:
    (here / "verdict.md").write_text("old")
    before = contents(here)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))

    try:
        with pytest.raises(ConfigError, match=r"^--markdown: cannot write verdict.md: File too la"):
            stored_runs._write("--markdown", Path("verdict.md"), "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)

    assert contents(here) == before


def test_a_baseline_mode_that_was_not_run_is_an_error(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", simulated("run", 0.9).results)

    with pytest.raises(ConfigError, match=r"nothing to compare: .*, not passthrough"):
        compare(run, baseline_mode="passthrough")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", simulated("run", 1.0).results)
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"--html: cannot write .*file/page.html: "):
        stored_runs.report(
            run, baseline_mode="vhost", gates="", html=str(tmp_path / "file/page.html"), md=""
        )


def test_a_trend_names_what_moved_and_between_which_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for night in range(8):
        factor = 1.0 if night < 5 else 0.9
        results = simulated(f"night-{night}", factor, seed=night).results
        changes = {"started": f"2026-11-0{night + 1}T02:00:00+00:00"}
        run = results.run.model_copy(update=changes)
        stored(tmp_path / f"{night}", results.model_copy(update={"run": run}))

    stored_runs.trend(str(tmp_path), gates="", html="")

    told = (
        "1 of 4 figures moved in 8 runs, 1 times for the worse: TCP_STREAM rx 16384 B, zerocopy: "
        "throughput became 0.90x between night-4 and night-5."
    )
    assert told in " ".join(capsys.readouterr().out.split())
    html = (tmp_path / "trend.html").read_text()
    assert told in html
    assert html.count("<svg") == 4
    assert "6.12.107-zclab" in html
