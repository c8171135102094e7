"""Paths as users write them: every option that takes one has ``~`` as a shell has it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from zclab.build import cache
from zclab.build.kernel import PATCHES
from zclab.documents.gates import load_gates
from zclab.documents.labs import load_lab
from zclab.documents.suites import load_suite
from zclab.errors import ConfigError
from zclab.experiment import ab, bisection, builds, stored_runs
from zclab.experiment import bench as experiment
from zclab.judge.simulated import SimulatedRun
from zclab.lab import emulated
from zclab.options import is_file, is_folder, is_there, user_path, user_paths
from zclab.runs.resume import KernelOptions, Plan
from zclab.runs.store import RESULTS_FILE, load
from zclab.virtualtime.lab import VirtualOptions

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
    stored_runs.compare(run, baseline_mode="", gates="", allow=(), **options)


def test_the_files_that_are_written_are_below_the_home(home: Path) -> None:
    stored_run(home / "run")
    stored_run(home / "base")

    stored_runs.report("~/run", baseline_mode="vhost", gates="", html="~/a.html", md="~/a.md")
    compare("~/run", junit="~/b.xml", html="~/b.html", md="~/b.md")
    stored_runs.trend("~", gates="", html="~/c.html")

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
    assert builds.series_folder("~/s", PATCHES) == home / "s"
    assert builds.source_folder("~/linux") == home / "linux"
    with ab.new_folder("~/ab", "ab") as folder:
        assert folder == home / "ab"
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
    stored_runs.report(text, baseline_mode="vhost", gates="", html="", md="")


EACH_OPTION = pytest.mark.parametrize(
    ("taken", "named"),
    [
        (cache_of, "ZCLAB_CACHE"),
        (state_of, "ZCLAB_STATE"),
        (load_lab, "lab"),
        (load_suite, "suite"),
        (load_gates, "gate"),
        (builds.source_folder, "--source"),
        (lambda text: builds.series_folder(text, PATCHES), "--series"),
        (lambda text: ab.new_folder(text, "ab").__enter__(), "--out"),
        (lambda text: ab.kernel_of("--head", text).__enter__(), "--head"),
        (lambda text: bisection.steps_of(series=text, source="", good="0", bad="1"), "--series"),
        (lambda text: bisection.steps_of(series="", source=text, good="0", bad="1"), "--source"),
        (resume, "--resume"),
        (report, "--run"),
        (lambda text: stored_runs.trend(text, gates="", html=""), "--folder"),
    ],
)


@EACH_OPTION
def test_a_user_who_does_not_exist_is_an_error_of_ours(
    taken: Callable[[str], object], named: str
) -> None:
    with pytest.raises(ConfigError, match=f"{named}: {NOBODY}: no home directory is known"):
        taken(NOBODY)


@EACH_OPTION
def test_a_path_that_cannot_be_looked_at_is_an_error_of_ours(
    taken: Callable[[str], object], named: str, tmp_path: Path
) -> None:
    """As the option of another user's folder, or a list that was joined the wrong way, is."""
    circle = tmp_path / "circle"
    circle.symlink_to(circle)

    with pytest.raises(ConfigError, match=f"{named}: /x*…: cannot be looked at: File name too"):
        taken(f"/{'x' * 300}")
    with pytest.raises(ConfigError, match=f"{named}: .*/circle/x: .*: Too many levels of symbolic"):
        taken(f"{circle}/x")
    with forbidden(tmp_path / "theirs") as theirs:
        shown = f"{named}: {theirs}/x/y: cannot be looked at: Permission denied"
        with pytest.raises(ConfigError, match=shown):
            taken(f"{theirs}/x/y")


@contextmanager
def forbidden(folder: Path) -> Iterator[Path]:
    """Have a folder that this user, if need be another one than root, may not search."""
    folder.mkdir(mode=0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if was_root:
            os.seteuid(0)
        folder.chmod(0o700)


def test_a_name_in_a_folder_that_may_not_be_searched_is_an_error_of_ours(short_path: Path) -> None:
    short_path.chmod(0o755)
    with forbidden(short_path / "theirs") as theirs:
        with pytest.raises(ConfigError, match=r"theirs/results\.json: Permission denied"):
            load(theirs)
        with (
            pytest.raises(ConfigError, match="theirs/Kconfig: cannot be looked at: Permission"),
            ab.kernel_of("--head", str(theirs)),
        ):
            pass


def test_a_path_with_a_character_that_none_can_have_is_an_error_of_ours() -> None:
    for look in (is_there, is_file, is_folder, lambda path: user_path(path, "--out")):
        with pytest.raises(ConfigError, match="no path can have a NUL character"):
            look(Path("a\0b"))


def test_a_list_of_paths_may_be_longer_than_a_name(tmp_path: Path) -> None:
    parts = [str(tmp_path / f"{number:04}.patch") for number in range(60)]

    assert user_paths(",".join(parts), "--head") == [Path(part) for part in parts]


def test_one_path_may_have_commas(home: Path) -> None:
    (home / "a,b.patch").touch()

    assert user_paths("~/a,b.patch", "--head") == [home / "a,b.patch"]
    assert user_paths("~/a,c.patch", "--head") == [home / "a", Path("c.patch")]


def test_what_is_at_a_path_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nothing")
    asked = [tmp_path / name for name in ("", "file", "file/x", "none", "dangling")]

    assert [is_there(path) for path in asked] == [True, True, False, False, False]
    assert [is_folder(path) for path in asked] == [True, False, False, False, False]
    assert [is_file(path) for path in asked] == [False, True, False, False, False]


def test_a_path_without_a_tilde_stays_as_it_is() -> None:
    assert user_path("a/~/b", "--out") == Path("a/~/b")


def test_a_file_that_cannot_be_written_is_an_error_of_ours(home: Path) -> None:
    stored_run(home / "run")
    stored_run(home / "base")

    for option in ("junit", "html"):
        with pytest.raises(ConfigError, match=f"--{option}: cannot write .*run: Is a directory"):
            compare("~/run", **{option: "~/run"})
