"""Runs as a DataFrame."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.judge.simulated import SimulatedRun
from zclab.runs.dataframe import frame, load_frame
from zclab.runs.results import Dimensions
from zclab.runs.store import RESULTS_FILE

pytest.importorskip("pandas", reason="no pandas: pip install -c constraints.txt -e '.[notebook]'")


def run(run_id: str) -> SimulatedRun:
    simulated = SimulatedRun(run_id)
    simulated.boots(
        {"vhost": {"throughput_mbps": 400.0}, "zerocopy": {"throughput_mbps": 500.0}}, boots=3
    )
    simulated.add("vhost", {"throughput_mbps": 9e9}, boot=99, status="invalid")
    return simulated


def test_every_valid_sample_of_every_run_is_a_row(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        text = run(name).results.model_dump_json(by_alias=True)
        (tmp_path / name / RESULTS_FILE).write_text(text)

    found = load_frame(tmp_path / "a", str(tmp_path / "b"))

    assert len(found) == 12
    assert found["value"].max() < 600
    assert set(found["kernel"]) == {"0123456789abcdef"}
    assert {*Dimensions.model_fields, "run", "metric", "value", "unit"} <= set(found.columns)
    means = found.groupby(["run", "mode"])["value"].mean()
    assert means["a", "zerocopy"] > means["a", "vhost"]


def test_no_runs_are_an_empty_frame() -> None:
    assert frame([]).empty
