"""The command line: which flags there are, and what a number may be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from invoke.exceptions import Exit
from invoke.main import program

from zclab.documents.labs import load_lab
from zclab.errors import ConfigError
from zclab.experiment import bench as experiment
from zclab.experiment import stored_runs
from zclab.tasks.cli import SHORT, Task

ROOT = Path(__file__).parents[3]


def invoke(*argv: str | bytes, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a task as a user does, with a home and a cache of its own."""
    return subprocess.run(
        (sys.executable, "-m", "invoke", *argv),
        cwd=ROOT,
        env={**os.environ, "HOME": str(home), "ZCLAB_CACHE": str(home / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def invoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what does the same in this process: an error that nobody expected goes through."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)  # invoke sets it
    monkeypatch.chdir(ROOT)
    return lambda *argv: program.run(["invoke", *map(os.fsdecode, argv)])


def all_tasks(tasks: ModuleType) -> list[Task]:
    return [one for one in vars(tasks).values() if isinstance(one, Task)]


def test_the_only_short_flags_are_those_that_mean_the_same_everywhere(tasks: ModuleType) -> None:
    found = {
        (argument.names[0], short)
        for one in all_tasks(tasks)
        for argument in one.get_arguments(ignore_unknown_help=True)
        for short in argument.names[1:]
    }

    assert found == set(SHORT.items())


def test_every_task_is_one_of_ours(tasks: ModuleType) -> None:
    """One that is made with invoke's own decorator would have made-up flags again."""
    modules = (ROOT / "zclab" / "tasks").glob("*.py")
    declared = sum(module.read_text().count("\n@task") for module in modules)
    assert len(all_tasks(tasks)) == declared


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (("run-bench", "--jobs=x"), 2, "--jobs: found 'x', allowed: a whole number"),
        (("run-bench", "--duration=1s"), 2, "--duration: found '1s', allowed: a number"),
        (("run-bench", "--mtu=1e3"), 2, "--mtu: found '1e3', allowed: a whole number"),
        (("profile-diff", "a", "b", "--top="), 2, "--top: found '', allowed: a whole number"),
        (("report", ""), 2, "--run: found '', allowed: a run's folder, or its results.json"),
        (("lab-up", "--lab="), 2, "--lab: found '', allowed: a file of labs/"),
        (("run-bench", "--suite", ""), 2, "--suite: found '', allowed: a file of suites/"),
        (("build-kernel", "--series="), 2, "--series: found '', allowed: a quilt-style series"),
        (("build-kernel", "--source="), 2, "--source: found '', allowed: a kernel tree"),
        (("run-bench", "--out="), 2, "--out: found '', allowed: a new folder"),
        (("run-bench", "-m", ""), 2, "--mode: found '', allowed: passthrough, vhost"),
        (("trend", ""), 2, "--folder: found '', allowed: a folder with folders of runs"),
        (("run-bench", b"--out=\xff"), 2, r"--out: found '\udcff', allowed: text in UTF-8"),
        (("report", b"\xff"), 2, r"--run: found '\udcff', allowed: text in UTF-8"),
        (("clean", "--kind=/"), 2, "--kind: found '/', allowed: all, kernel"),
        (("clean", "--kind=../.."), 2, "--kind: found '../..', allowed: all, kernel"),
        (("clean", "--older-than=-1"), 2, "--older-than: found -1, allowed: 0 to"),
        (("run-bench", "--mode"), 1, "needed value"),
        (("run-bench", "-u", "1"), 1, "No idea what '-u' is!"),
    ],
)
def test_what_is_no_value_is_refused_without_a_traceback(
    argv: tuple[str | bytes, ...],
    status: int,
    says: str,
    invoked: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        invoked(*argv)

    assert caught.value.code == status
    assert says in capsys.readouterr().err


def test_a_refusal_is_a_line_and_an_exit_status(tmp_path: Path) -> None:
    done = invoke("run-bench", b"--out=\xff", home=tmp_path)

    says = "error: --out: found '\\udcff', allowed: text in UTF-8\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", says)


def test_short_flags_of_run_bench_are_taken(tmp_path: Path) -> None:
    words = ("-m", "vhost", "-w", "TCP_RR", "-l", "emulated", "-j", "1")
    done = invoke("run-bench", *words, "--clock=virtual", "--dry-run", home=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("lab emulated: 8 starts, 8 trials")


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("repetitions", (-1, 1001, 10**20)),
        ("duration_s", (float("nan"), float("inf"), -1.0, 3601.0, 1e-9)),
        ("streams", (0, -1, 65)),
        ("warm_up_s", (-1, 601)),
        ("mtu", (0, -5, 575, 16111)),
        ("message_bytes", (["0"], ["-1"], ["64", "1048577"], ["x"], ["1.5"], [""])),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(option: str, values: tuple[Any, ...]) -> None:
    flag = {"duration_s": "duration", "warm_up_s": "warm-up"}.get(option, option.replace("_", "-"))
    for value in values:
        options = experiment.Options(**{option: value})
        with pytest.raises(ConfigError, match=f"^--{flag}: found .*, allowed: "):
            experiment.planned(load_lab("emulated"), options)
        if option in {"repetitions", "duration_s"}:
            with pytest.raises(ConfigError, match=f"^--{flag}: found .*, allowed: "):
                experiment.planned_suite(load_lab("emulated"), "compare", options, seed=1)


@pytest.mark.parametrize("jobs", [-3, 1025, 10**20])
def test_a_number_of_jobs_that_makes_no_sense_is_refused(jobs: int) -> None:
    with pytest.raises(ConfigError, match=r"--jobs: found .*, allowed: 1 to 1024, or 0"):
        experiment.virtual_options(jobs=jobs, profile=False, copy_bytes=8)


@pytest.mark.parametrize("seed", [-2, 1 << 63])
def test_a_seed_that_none_can_be_is_refused(seed: int) -> None:
    with pytest.raises(ConfigError, match=r"--seed: found .*, allowed: 0 to"):
        experiment.planned_suite(load_lab("emulated"), "compare", experiment.Options(), seed=seed)


@pytest.mark.parametrize("top", [0, -1])
def test_a_number_of_symbols_that_makes_no_sense_is_refused(top: int) -> None:
    with pytest.raises(ConfigError, match=r"--top: found .*, allowed: 1 to"):
        stored_runs.profile_diff("base", "head", shown=top)


def test_a_seed_without_a_suite_is_refused(tasks: ModuleType) -> None:
    """It would draw nothing, and the run would look as if it had."""
    given = {"mode": [], "workload": [], "direction": [], "message_bytes": [], "seed": 5}

    with pytest.raises(Exit, match="--seed: draws the order of a suite's trials"):
        tasks.run_bench.body(None, **given, dry_run=True)
