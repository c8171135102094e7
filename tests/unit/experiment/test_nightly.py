"""A night: what it is compared with, what it leaves, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from junitparser import JUnitXml

from zclab.documents.labs import load_lab
from zclab.errors import BuildError, ConfigError, GateError, LabError, TrialError, ZclabError
from zclab.experiment import nightly as night
from zclab.experiment.bench import Options, planned, virtual_options
from zclab.experiment.nightly import nightly
from zclab.judge.simulated import PROVENANCE
from zclab.judge.trend import load_runs
from zclab.runs.plan import Part
from zclab.runs.results import Provenance, Status, Trial, samples
from zclab.runs.resume import KernelOptions, Plan
from zclab.runs.store import RunDirectory, load

VIRTUAL = load_lab("emulated").model_copy(update={"clock": "virtual"})
PLAN = planned(
    VIRTUAL,
    Options(modes=["vhost", "zerocopy"], workloads=["TCP_STREAM"], directions=["tx"]),
)


class Night:
    """Stands in for the lab: a night in which zerocopy is ``factor`` times what it was."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.factor = 1.0
        self.wobble = 0.0
        self.status: Status = "ok"
        self.provenance = PROVENANCE
        self.problem: ZclabError | None = None
        monkeypatch.setattr(night, "run_all", self.run_all)

    def run_all(
        self, plan: Plan, _whole: Plan, _build: Callable[[], Any], store: RunDirectory, _: object
    ) -> None:
        """See experiment.run_all()."""
        store.set_provenance(self.provenance)
        for part in plan.parts:
            self.run_part(part, store)
        if self.problem:
            raise self.problem

    def run_part(self, part: Part, store: RunDirectory) -> None:
        """Add all trials; the last one ends as ``status`` says."""
        trials = [one.dimensions for boot in part.boots for one in boot.trials]
        for number, where in enumerate(trials):
            status = self.status if number == len(trials) - 1 else "ok"
            reason = None if status == "ok" else "no lease"
            gain = self.factor if where.mode == "zerocopy" else 1.0
            rate = 3000.0 * gain * (1 + (where.boot - 3.5) / 1000) + self.wobble
            figures = {"throughput_mbps": rate} if status == "ok" else {}
            store.add(Trial(**dict(where), status=status, reason=reason), samples(where, figures))

    def __call__(self, **changes: Any) -> None:
        """Run a night."""
        kernel = KernelOptions()
        options = night.Options(folder=self.folder, **changes)
        one_job = virtual_options(jobs=1, profile=False, copy_bytes=8)
        nightly(PLAN, kernel, Mock(), one_job, options)

    def another_kernel(self) -> None:
        """Have the following nights measure another kernel."""
        self.provenance = changed(artifacts=PROVENANCE.artifacts | {"kernel": "another"})

    def text(self, name: str) -> str:
        """Return one of the files of the last night."""
        return (self.folder / name).read_text()

    @property
    def baseline(self) -> str:
        """The id of the run that nights are compared with."""
        return load(self.folder / night.BASELINE).run.id


def changed(**changes: Any) -> Provenance:
    return PROVENANCE.model_copy(update=changes)


@pytest.fixture
def a_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    return Night(tmp_path / "nights", monkeypatch)


def test_the_first_night_becomes_the_baseline_and_says_so(a_night: Night) -> None:
    a_night()

    ((run,), _) = load_runs(a_night.folder)
    assert a_night.baseline == run.run.id
    assert "There was no baseline" in a_night.text("summary.md")
    assert "It is the baseline from now on" in a_night.text("summary.md")
    assert run.run.id in a_night.text("report.html")
    assert JUnitXml.fromfile(str(a_night.folder / "junit.xml")).tests == 0


def test_a_first_night_with_a_failed_trial_is_no_baseline(a_night: Night) -> None:
    a_night.status = "failed"

    with pytest.raises(TrialError, match="1 of 16 trials have no valid figures"):
        a_night()

    assert not (a_night.folder / night.BASELINE).exists()
    assert "It does not become the baseline" in a_night.text("summary.md")
    junit = JUnitXml.fromfile(str(a_night.folder / "junit.xml"))
    assert (junit.tests, junit.errors) == (1, 1)


def test_an_equal_night_passes_and_the_baseline_stays(a_night: Night) -> None:
    a_night()
    first = a_night.baseline
    a_night()

    assert a_night.baseline == first
    runs, _ = load_runs(a_night.folder)
    assert len(runs) == 2
    junit = JUnitXml.fromfile(str(a_night.folder / "junit.xml"))
    assert (junit.tests, junit.failures, junit.errors) == (2, 0, 0)


def test_a_worse_night_fails_and_is_named_everywhere(
    a_night: Night, capsys: pytest.CaptureFixture[str]
) -> None:
    a_night()
    first = a_night.baseline
    a_night.another_kernel()
    a_night.factor = 0.97

    with pytest.raises(GateError, match=f"1 of 2 figures are worse than {first}'s") as caught:
        a_night()

    assert caught.value.exit_status == 5
    assert a_night.baseline == first
    assert "zerocopy 1 worse (throughput 0.97x in TCP_STREAM tx 16384 B)" in a_night.text(
        "summary.md"
    )
    assert f"Against {first}" in a_night.text("report.html")
    assert JUnitXml.fromfile(str(a_night.folder / "junit.xml")).failures == 1
    assert "zerocopy 1 worse" in " ".join(capsys.readouterr().out.split())


def test_a_better_night_is_no_failure(a_night: Night) -> None:
    a_night()
    a_night.another_kernel()
    a_night.factor = 1.05
    a_night()

    assert "zerocopy none worse, 1 better" in a_night.text("summary.md")


def test_a_worse_night_can_be_made_the_baseline(a_night: Night) -> None:
    a_night()
    first = a_night.baseline
    a_night.another_kernel()
    a_night.factor = 0.97
    a_night(update_baseline=True)

    assert a_night.baseline != first
    assert "zerocopy 1 worse" in a_night.text("summary.md")
    a_night()


def test_a_baseline_of_another_emulator_is_refused_with_a_report_all_the_same(
    a_night: Night,
) -> None:
    a_night()
    a_night.provenance = changed(artifacts=PROVENANCE.artifacts | {"emulator": "another"})

    with pytest.raises(ConfigError, match=r"(?s)not compared .* emulator: .*--update-baseline"):
        a_night()

    assert "Not compared with the baseline" in a_night.text("summary.md")
    assert JUnitXml.fromfile(str(a_night.folder / "junit.xml")).errors == 1
    a_night(allow=["emulator"])


def test_virtual_time_that_is_not_exact_is_never_accepted(a_night: Night) -> None:
    a_night()
    first = a_night.baseline
    a_night.wobble = 1.0

    with pytest.raises(LabError, match="virtual time is not exact"):
        a_night(update_baseline=True)

    assert a_night.baseline == first


def test_a_night_whose_build_failed_leaves_a_summary(a_night: Night) -> None:
    a_night()
    a_night.problem = BuildError("drivers/net/mp.c:12: error")

    with pytest.raises(BuildError):
        a_night()

    assert "**Failed:** drivers/net/mp.c:12: error" in a_night.text("summary.md")


def test_a_night_that_broke_off_does_not_replace_the_baseline(a_night: Night) -> None:
    a_night()
    first = a_night.baseline
    a_night.problem = LabError("the host is gone")

    with pytest.raises(LabError, match="the host is gone"):
        a_night(update_baseline=True)

    assert a_night.baseline == first


def test_emulated_labs_go_by_virtual_time_and_real_ones_by_the_wall_clock() -> None:
    assert night.lab_of("emulated", clock="").clock == "virtual"
    assert night.lab_of("emulated", clock="wall").clock == "wall"
    assert night.lab_of("ssh-example", clock="").clock == "wall"
