"""Paths as users write them: every option that takes one has ``~`` as a shell has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zclab import ab, bisection, commands, experiment, offline
from zclab.bench.virtual_lab import VirtualOptions
from zclab.build import cache
from zclab.build.kernel import PATCHES
from zclab.config import load_lab
from zclab.errors import ConfigError
from zclab.gates import load_gates
from zclab.lab import emulated
from zclab.paths import user_path
from zclab.recorded import KernelOptions, Plan
from zclab.simulated import SimulatedRun
from zclab.store import RESULTS_FILE
from zclab.suite import load_suite

NOBODY = "~no-such-user/x"


@pytest.fixture
def home(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(short_path / "home"))
    (short_path / "home").mkdir()
    monkeypatch.chdir(short_path)
    return short_path / "home"


def stored_run(folder: Path) -> None:
    run = SimulatedRun(folder.name)
    run.boots({"vhost": {"throughput_mbps": 400.0}}, boots=6)
    folder.mkdir()
    (folder / RESULTS_FILE).write_text(run.results.model_dump_json(by_alias=True))


def compare(run: str, **files: Any) -> None:
    options: dict[str, Any] = {"baselines": ["~/base"], "junit": "", "html": "", "md": "", **files}
    offline.compare(run, baseline_mode="", gates="", allow=(), **options)


def test_the_files_that_are_written_are_below_the_home(home: Path) -> None:
    stored_run(home / "run")
    stored_run(home / "base")

    offline.report("~/run", baseline_mode="vhost", gates="", html="~/a.html", md="~/a.md")
    compare("~/run", junit="~/b.xml", html="~/b.html", md="~/b.md")
    offline.trend("~", gates="", html="~/c.html")

    written = {path.name for path in home.iterdir()} - {"run", "base"}
    assert written == {"a.html", "a.md", "b.xml", "b.html", "b.md", "c.html"}
    assert [path.name for path in home.parent.iterdir()] == ["home"]


def test_a_run_and_what_it_is_made_of_are_below_the_home(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", "~/cache")
    monkeypatch.setenv("ZCLAB_STATE", "~/state")
    plan = Plan(lab=load_lab("emulated"), parts=())

    store = experiment.begin(plan, VirtualOptions(), kernel=None, out_dir="~/out")

    assert store.path == home / "out"
    assert commands.series_folder("~/s", PATCHES) == home / "s"
    assert commands.source_folder("~/linux") == home / "linux"
    assert ab.new_folder("~/ab", "ab") == home / "ab"
    assert (cache.cache_dir(), emulated.root()) == (home / "cache", home / "state")
    assert KernelOptions.of(source="~/l", series="~/s", debug=False) == KernelOptions(
        source=str(home / "l"), series=str(home / "s")
    )


def cache_of(text: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZCLAB_CACHE", text)
        return cache.cache_dir()


def state_of(text: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZCLAB_STATE", text)
        return emulated.root()


def resume(text: str) -> None:
    experiment.resume(text, jobs=1, executor="", keep=False, dry_run=True)


def report(text: str) -> None:
    offline.report(text, baseline_mode="vhost", gates="", html="", md="")


@pytest.mark.parametrize(
    ("taken", "named"),
    [
        (cache_of, "ZCLAB_CACHE"),
        (state_of, "ZCLAB_STATE"),
        (load_lab, "lab"),
        (load_suite, "suite"),
        (load_gates, "gate"),
        (commands.source_folder, "--source"),
        (lambda text: commands.series_folder(text, PATCHES), "--series"),
        (lambda text: ab.new_folder(text, "ab"), "--out"),
        (lambda text: ab.kernel_of("--head", text).__enter__(), "--head"),
        (lambda text: bisection.steps_of(series=text, source="", good="0", bad="1"), "--series"),
        (lambda text: bisection.steps_of(series="", source=text, good="0", bad="1"), "--source"),
        (resume, "--resume"),
        (report, "--run"),
        (lambda text: offline.trend(text, gates="", html=""), "--folder"),
    ],
)
def test_a_user_who_does_not_exist_is_an_error_of_ours(
    taken: Callable[[str], object], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"{named}: {NOBODY}: no home directory is known"):
        taken(NOBODY)


def test_a_path_without_a_tilde_stays_as_it_is() -> None:
    assert user_path("a/~/b", "--out") == Path("a/~/b")


def test_a_file_that_cannot_be_written_is_an_error_of_ours(home: Path) -> None:
    stored_run(home / "run")
    stored_run(home / "base")

    for option in ("junit", "html"):
        with pytest.raises(ConfigError, match=f"--{option}: cannot write .*run: Is a directory"):
            compare("~/run", **{option: "~/run"})
