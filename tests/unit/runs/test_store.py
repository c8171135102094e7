"""Run directories: written after every trial, read back strictly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from zclab.errors import ConfigError, ParseError
from zclab.runs.results import Dimensions, Provenance, Sample, Trial, samples
from zclab.runs.store import RunDirectory, load, run_id, write_value

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
    allowed = "'ok', 'refused', 'invalid' or 'failed'"
    assert f"{file}: trials[0].status: should be {allowed}, not 'fine'" in lines
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


def test_a_mark_that_an_editor_put_before_it_makes_no_difference(tmp_path: Path) -> None:
    results = create(tmp_path / "run").results
    text = results.model_dump_json(by_alias=True)
    (tmp_path / "edited.json").write_text(text, encoding="utf-8-sig")

    assert load(tmp_path / "edited.json") == results


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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_no_sample(value: float) -> None:
    with pytest.raises(ParseError, match=r"throughput_mbps: found .*, allowed: a number"):
        samples(DIMENSIONS, {"throughput_mbps": value})
    with pytest.raises(ValidationError, match="finite number"):
        Sample(**dict(DIMENSIONS), metric="throughput_mbps", value=value, unit="Mb/s")
    with pytest.raises(ValidationError, match="finite number"):
        Trial(**dict(DIMENSIONS), status="ok", evidence={"share": value})


@pytest.mark.parametrize(
    ("trial", "sample"),
    [
        (TRIAL, SAMPLES[0].model_copy(update={"value": float("nan")})),
        (TRIAL, SAMPLES[0].model_copy(update={"unit": None})),
        (TRIAL, SAMPLES[0].model_copy(update={"unit": "\ud800"})),
        (TRIAL.model_copy(update={"evidence": {"share": float("nan")}}), SAMPLES[0]),
        (TRIAL.model_copy(update={"status": "fine"}), SAMPLES[0]),
    ],
)
def test_a_trial_that_could_not_be_read_back_is_a_failed_one_and_the_run_goes_on(
    trial: Trial, sample: Sample, tmp_path: Path
) -> None:
    run = create(tmp_path / "run")
    later = TRIAL.model_copy(update={"repetition": 1})

    run.add(trial, [sample])
    run.add(later)

    found = load(run.path)
    assert found == run.results
    assert [one.status for one in found.trials] == ["failed", "ok"]
    assert "not stored" in str(found.trials[0].reason)
    assert found.trials[0].identity == DIMENSIONS.identity
    assert found.samples == ()
    assert [path.name for path in run.path.iterdir()] == ["results.json"]


def test_what_cannot_be_read_back_takes_the_place_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "trial.json"
    write_value(file, TRIAL)
    before = file.read_bytes()

    with pytest.raises(ParseError, match=r"not stored; .*trial\.json: duration_s: should be"):
        write_value(file, TRIAL.model_copy(update={"duration_s": float("nan")}))

    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_run_with_null_for_a_figure_can_be_read_but_for_that_trial(tmp_path: Path) -> None:
    """An older zclab wrote it for a latency of -nan, and then read nothing of the run again."""
    run = create(tmp_path / "run")
    other = TRIAL.model_copy(update={"repetition": 1})
    run.add(TRIAL, SAMPLES)
    run.add(other, samples(other, {"throughput_mbps": 601.5}))
    data = json.loads((run.path / "results.json").read_text())
    data["samples"][0]["value"] = None

    found = load(changed(run, data))

    assert [one.status for one in found.trials] == ["failed", "ok"]
    assert found.trials[0].reason == "no number was stored of throughput_mbps"
    assert [one.value for one in found.samples] == [1.5, 601.5]


def test_of_a_damaged_file_the_first_mistakes_are_told(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    file = changed(run, {"trials": [{"status": "\x1b[2J"}] * 50})

    with pytest.raises(ConfigError) as caught:
        load(file)

    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].endswith(f"{file}: and {50 * 12 - 20} more")
    assert "\x1b" not in str(caught.value)


def test_text_that_moves_the_cursor_is_stored_as_python_writes_it(tmp_path: Path) -> None:
    run = create(tmp_path / "run")

    run.add(Trial(**dict(DIMENSIONS), status="failed", reason="\x1b[31mred\x00\ud800\ufffe\nends"))

    assert load(run.path).trials[0].reason == "\\x1b[31mred\\x00\\ud800\\ufffe\nends"
