"""Run directories: written after every trial, read back strictly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from zclab.errors import ConfigError
from zclab.results import Dimensions, Provenance, Trial, samples
from zclab.store import RunDirectory, load, run_id

DIMENSIONS = Dimensions(
    mode="vhost",
    workload="TCP_STREAM",
    direction="rx",
    message_bytes=16384,
    mtu=1500,
    offloads="on",
    nic="e1000e",
    streams=1,
    duration_s=5.0,
    boot=0,
    repetition=0,
)
TRIAL = Trial(**DIMENSIONS.model_dump(), status="ok", evidence={"driver": "macvtap", "sends": 0})
SAMPLES = samples(DIMENSIONS, {"throughput_mbps": 597.25, "cpu_vhost_s": 1.5})


def create(out: Path) -> RunDirectory:
    return RunDirectory.create(
        lab="emulated", clock="wall", modes=["vhost"], command="invoke run-bench", out=out
    )


def changed(run: RunDirectory, change: dict[str, Any]) -> Path:
    file = run.path / "results.json"
    data = json.loads(file.read_text())
    data.update(change)
    file.write_text(json.dumps(data))
    return file


def test_an_id_sorts_by_time_and_names_the_mode() -> None:
    started = datetime(2026, 11, 22, 18, 53, 20, tzinfo=UTC)

    assert run_id(started, ["vhost"], "1a2b") == "20261122-185320-vhost-1a2b"
    assert run_id(started, ["vhost", "zerocopy"], "1a2b") == "20261122-185320-2-modes-1a2b"


def test_what_is_stored_is_what_is_loaded(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.set_provenance(Provenance(cpu_model="max", versions={"netperf": "2.7.1"}))
    run.add(TRIAL, SAMPLES)

    assert load(run.path) == run.results
    assert load(run.path / "results.json") == run.results
    assert run.results.trials == (TRIAL,)
    assert run.results.samples == SAMPLES


def test_an_interrupted_run_leaves_what_it_has(tmp_path: Path) -> None:
    run = create(tmp_path / "run")

    assert load(run.path).trials == ()

    run.add(TRIAL)

    assert load(run.path).trials == (TRIAL,)


def test_the_file_follows_its_schema(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.add(TRIAL, SAMPLES)

    data = json.loads((run.path / "results.json").read_text())

    assert data["schema"] == 1
    assert set(data) == {"schema", "run", "provenance", "trials", "samples"}
    assert set(data["run"]) == {
        *("id", "started", "lab", "clock", "command", "suite", "seed", "resumed"),
    }
    assert data["samples"][0]["metric"] == "throughput_mbps"
    assert data["samples"][0]["unit"] == "Mb/s"
    assert data["trials"][0]["evidence"] == {"driver": "macvtap", "sends": 0}


def test_nothing_else_is_left_in_the_directory(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.add(TRIAL)

    assert [path.name for path in run.path.iterdir()] == ["results.json"]


def test_a_write_that_fails_leaves_the_old_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create(tmp_path / "run")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        run.add(TRIAL)

    assert load(run.path).trials == ()


def test_runs_are_made_under_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    run = RunDirectory.create(lab="emulated", clock="wall", modes=["vhost"], command="x")

    assert run.path == Path("runs") / run.results.run.id
    assert load(tmp_path / run.path) == run.results


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--out: .* exists: name a new directory"):
        create(tmp_path)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"cannot make .*file/run: Not a directory"):
        create(tmp_path / "file" / "run")


def test_raw_output_is_kept_in_folders(tmp_path: Path) -> None:
    run = create(tmp_path / "run")

    path = run.write_raw("0-vhost/netperf.txt", "THROUGHPUT=1\n")

    assert path == run.path / "raw" / "0-vhost" / "netperf.txt"
    assert path.read_text() == "THROUGHPUT=1\n"


def test_all_mistakes_of_a_file_are_told_with_their_key_paths(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.add(TRIAL)
    trial = json.loads(TRIAL.model_dump_json())
    trial.update(status="fine", boot="0", surprise=1)
    file = changed(run, {"trials": [trial]})

    with pytest.raises(ConfigError) as caught:
        load(run.path)

    lines = str(caught.value).splitlines()
    assert f"{file}: trials[0].status: should be 'ok', 'invalid' or 'failed', not 'fine'" in lines
    assert f"{file}: trials[0].boot: should be a valid integer, not '0'" in lines
    assert any(line.startswith(f"{file}: trials[0].surprise: Extra inputs") for line in lines)
    assert len(lines) == 3


def test_another_schema_is_refused(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    changed(run, {"schema": 2})

    with pytest.raises(ConfigError, match=r"results\.json: schema: should be 1, not 2"):
        load(run.path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"schema": 1}')

    with pytest.raises(ConfigError, match=r"results\.json: run: Field required$"):
        load(tmp_path)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{")

    with pytest.raises(ConfigError, match=r"results\.json: Invalid JSON"):
        load(tmp_path)


def test_a_missing_run_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere: No such file .*: name a run directory"):
        load(tmp_path / "nowhere")


def test_a_figure_that_no_one_knows_is_a_bug() -> None:
    with pytest.raises(KeyError, match="thruput"):
        samples(DIMENSIONS, {"thruput": 1.0})
