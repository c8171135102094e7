"""What `ab` and `bisect` print: the verdict first, then what moved, and no run's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import GateError, TrialError
from zclab.experiment import ab as two_kernels
from zclab.experiment import bench as experiment
from zclab.experiment import bisection
from zclab.experiment.ab import Kernel, ab
from zclab.experiment.bench import Options, planned, virtual_options
from zclab.experiment.bisection import Step, bisect
from zclab.runs.plan import Part
from zclab.runs.profiles import profile_name
from zclab.runs.results import Status, Trial, samples
from zclab.runs.store import RunDirectory

FROM_STEP = 2
"""The first kernel that costs more."""
ONE_JOB = virtual_options(jobs=1, profile=False, copy_bytes=8)


class Machine:
    """Stands in for building and for virtual time: vhost costs more in some kernels."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.step = 0
        self.status: Status = "ok"
        monkeypatch.setattr(experiment, "run_virtual", self.run)
        for module in (two_kernels, bisection):
            monkeypatch.setattr(module, "build_lab", self.build)

    def build(self, *_lab: Any, series: str, **_options: Any) -> Mock:
        """See builds.build_lab()."""
        self.step = int(series) if series.isdecimal() else FROM_STEP if series == "none" else 0
        kernel = Mock(key=f"k{self.step}", base="6.12.117-1", series_hash="s1")
        return Mock(kernel=kernel, contents={"kernel": kernel.key}, host=None)

    def run(self, part: Part, _made: Mock, store: RunDirectory, **_options: Any) -> None:
        """See run_virtual()."""
        cost = 3000 if self.step >= FROM_STEP else 2000
        table = f"component\tsymbol\tn\tinsns_per_transaction\nvhost\thandle_tx\t0\t{cost}\n"
        for one in (one for boot in part.boots for one in boot.trials):
            reason = None if self.status == "ok" else "no lease"
            trial = Trial(
                **dict(one.dimensions),
                status=self.status,
                reason=reason,
                evidence={"zerocopy_sends": 0},
            )
            figures = {
                "service_demand_us_per_transaction": cost / 1000 + trial.boot / 1000,
                "insns_per_transaction_vhost": float(cost),
            }
            store.add(trial, samples(one.dimensions, figures if self.status == "ok" else {}))
            store.write_raw(profile_name(trial), table)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    return Machine(monkeypatch)


def a_plan() -> Any:
    lab = with_overrides(load_lab("emulated"), clock="virtual")
    return planned(lab, Options(modes=("vhost",), workloads=("TCP_RR",), repetitions=4))


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the first words of what was printed, from the verdict on."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line]


def two(folder: Path, **options: Any) -> None:
    ab(a_plan(), ONE_JOB, base="ours", head="none", out_dir=str(folder), gates="", **options)


@pytest.mark.usefixtures("machine")
def test_ab_says_the_verdict_then_components_then_symbols_then_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GateError):
        two(tmp_path / "ab")

    lines = printed(capsys)
    order = [
        next(number for number, line in enumerate(lines) if line.startswith(words))
        for words in (
            "Against ",
            "instructions per transaction base head",
            "vhost 2,000.0 3,000.0 +1,000.0 +50.0%",
            "in all 2,000.0 3,000.0 +1,000.0 +50.0%",
            "symbol component",
            "handle_tx vhost 2,000.0 3,000.0 +1,000.0 +50.0%",
            "▼ vhost host CPU",
        )
    ]
    assert order == sorted(order)
    assert not any(line.startswith(("evidence", "mode transactions")) for line in lines)


@pytest.mark.usefixtures("machine")
def test_ab_prints_both_runs_with_their_counters_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(GateError):
        two(tmp_path / "ab", evidence=True)

    lines = printed(capsys)
    assert lines.count("vhost zerocopy_sends 0") == 2


def test_ab_shows_the_table_of_a_run_whose_trials_failed(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.status = "failed"

    with pytest.raises(TrialError):
        two(tmp_path / "ab")

    assert "vhost: 4 of 4 failed: no lease" in printed(capsys)


@pytest.mark.usefixtures("machine")
def test_bisect_ends_with_the_verdict_and_what_that_step_moved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kernel(number: int) -> Step:
        made = Kernel(source="", series=str(number))
        return Step(name=f"patch {number}", kernel=lambda _folder: made)

    found = bisect(
        a_plan(),
        ONE_JOB,
        [kernel(number) for number in range(4)],
        metric="insns_per_transaction_vhost",
        out_dir=tmp_path / "bisect",
    )

    lines = printed(capsys)
    verdict = lines.index("patch 2: insns_per_transaction_vhost from 2000 to 3000 1/trans, +50.0%")
    assert found == "patch 2"
    assert any("handle_tx vhost 2,000.0 3,000.0 +1,000.0" in line for line in lines[verdict:])
    assert not any(line.startswith("evidence") for line in lines)
