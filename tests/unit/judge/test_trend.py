"""Trends: a step is found where it is, noise and outliers are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zclab.documents.gates import default_gates
from zclab.errors import ConfigError
from zclab.judge.simulated import PROVENANCE, SimulatedRun
from zclab.judge.trend import change_points, comparable_with_last, histories, load_runs
from zclab.model import ModeName
from zclab.runs.results import Provenance, Results
from zclab.runs.store import RESULTS_FILE

GATES = default_gates("wall")


def night(number: int, factor: float, *, provenance: Provenance | None = None) -> Results:
    kernel = PROVENANCE.model_copy(
        update={"artifacts": PROVENANCE.artifacts | {"kernel": f"k{number}"}}
    )
    run = SimulatedRun(f"night-{number:02}", seed=number, provenance=provenance or kernel)
    truth: dict[ModeName, dict[str, float]] = {
        "vhost": {"throughput_mbps": 400.0},
        "zerocopy": {"throughput_mbps": 420.0 * factor},
    }
    run.boots(truth, boots=5, noise=0.01)
    started = f"2026-11-{number + 1:02}T02:00:00+00:00"
    results = run.results
    return results.model_copy(update={"run": results.run.model_copy(update={"started": started})})


def test_a_step_is_found_between_the_two_runs_it_happened_in() -> None:
    runs = [night(number, 1.0 if number < 7 else 0.95) for number in range(12)]

    vhost, zerocopy = histories(runs, GATES)

    assert (vhost.mode, vhost.moves) == ("vhost", ())
    (move,) = zerocopy.moves
    assert (move.before.id, move.after.id) == ("night-06", "night-07")
    assert move.verdict == "worse"
    assert move.ratio == pytest.approx(0.95, abs=0.01)


def test_two_steps_are_two_moves() -> None:
    factors = [1.0] * 5 + [1.1] * 5 + [1.0] * 5

    zerocopy = histories([night(n, factor) for n, factor in enumerate(factors)], GATES)[1]

    assert [(move.after.id, move.verdict) for move in zerocopy.moves] == [
        ("night-05", "better"),
        ("night-10", "worse"),
    ]


def test_noise_alone_moves_nothing_more_often_than_once_in_twenty() -> None:
    random = np.random.default_rng(1)
    alarms = sum(
        bool(change_points(random.normal(100, 2, 30).tolist(), smallest=0.0)) for _ in range(100)
    )

    assert alarms / 100 <= 0.05 + 0.03


def test_a_step_of_three_sigma_is_found_nearly_always_and_nearly_where_it_was() -> None:
    random = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        values = np.concatenate([random.normal(100, 1, 15), random.normal(97, 1, 15)])
        places = change_points(values.tolist(), smallest=0.0)
        found += any(abs(place - 15) <= 1 for place in places)

    assert found >= 45


def test_one_outlier_is_no_step() -> None:
    values = [100.0, 100.4, 99.7, 100.1, 130.0, 100.2, 99.9, 100.3]

    zerocopy = histories([night(n, value / 100) for n, value in enumerate(values)], GATES)[1]

    assert zerocopy.moves == ()


def test_exact_figures_that_never_change_have_not_moved() -> None:
    assert change_points([5.0] * 9, smallest=0.0) == ()
    assert change_points([5.0] * 4 + [6.0] * 4, smallest=0.05) == (4,)


def test_three_runs_are_no_trend() -> None:
    assert change_points([1.0, 1.0, 9.0], smallest=0.1) == ()


def test_runs_on_another_machine_are_left_out_and_named() -> None:
    other = PROVENANCE.model_copy(update={"cpu_model": "EPYC"})
    runs = [night(0, 1.0, provenance=other), night(1, 1.0), night(2, 1.0)]

    kept, reasons = comparable_with_last(runs)

    assert [results.run.id for results in kept] == ["night-01", "night-02"]
    assert reasons == (
        "night-00 is left out: cpu_model: QEMU TCG CPU version 2.5+, and EPYC in the baseline",
    )


def test_runs_are_loaded_in_the_order_of_their_time(tmp_path: Path) -> None:
    for name, number in (("a", 2), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        text = night(number, 1.0).model_dump_json(by_alias=True)
        (tmp_path / name / RESULTS_FILE).write_text(text)
    (tmp_path / "empty").mkdir()

    runs, left_out = load_runs(tmp_path)

    assert [results.run.id for results in runs] == ["night-00", "night-01", "night-02"]
    assert left_out == ()


def test_a_run_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    """One of a hundred nights that the disk was full in is no reason for no trend."""
    texts = ("{", "", night(1, 1.0).model_dump_json(by_alias=True).replace('"wall"', '"sun"'), None)
    for name, text in zip(("a", "b", "c", "d"), texts, strict=True):
        (tmp_path / name).mkdir()
        if text is None:
            (tmp_path / name / RESULTS_FILE).mkdir()
        else:
            (tmp_path / name / RESULTS_FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"(?s)no folder in it .*\na is left out.*\nd is left"):
        load_runs(tmp_path)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / RESULTS_FILE).write_text(night(2, 1.0).model_dump_json(by_alias=True))

    runs, left_out = load_runs(tmp_path)

    assert [results.run.id for results in runs] == ["night-02"]
    assert [reason.partition(f"{RESULTS_FILE}: ")[2].split(":")[0] for reason in left_out] == [
        "Invalid JSON",
        "Invalid JSON",
        "run.clock",
        "Is a directory",
    ]


def test_a_folder_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for name in ("none", "file"):
        with pytest.raises(ConfigError, match=f"{name}: (No such file|Not a dir).*; name a folder"):
            load_runs(tmp_path / name)


def test_a_folder_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder in it has a results\.json"):
        load_runs(tmp_path)
