"""Bisection: which kernels there are to try, and which of them is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zclab.build.kernel import PATCHES
from zclab.build.series import read_series
from zclab.build.source import checkout
from zclab.documents.labs import load_lab
from zclab.errors import ConfigError
from zclab.experiment.bench import Options, planned, virtual_options
from zclab.experiment.bisection import bisect, commit_steps, first_bad, series_steps, steps_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("count", [2, 3, 8, 13])
def test_the_first_bad_step_is_found_wherever_it_is(count: int) -> None:
    for culprit in range(1, count):
        asked: list[int] = []

        def is_bad(step: int, culprit: int = culprit, asked: list[int] = asked) -> bool:
            asked.append(step)
            return step >= culprit

        assert first_bad(count, is_bad) == culprit
        assert len(asked) <= (count - 1).bit_length()


def test_a_step_of_a_series_has_its_first_patches(tmp_path: Path) -> None:
    steps = series_steps(PATCHES, "0", "3")

    names = [patch.path.name for patch in read_series(PATCHES).patches]
    kernel = steps[2].kernel(tmp_path / "kernel")
    assert [step.name for step in steps] == ["no patch", *names[:3]]
    assert [patch.path.name for patch in read_series(Path(kernel.series)).patches] == names[:2]


def test_all_steps_of_a_series_can_have_one_folder(tmp_path: Path) -> None:
    steps = series_steps(PATCHES, "0", "3")
    for count in (3, 0, 2):
        kernel = steps[count].kernel(tmp_path / "kernel")

        assert len(read_series(Path(kernel.series)).patches) == count


@pytest.mark.parametrize(("good", "bad"), [("1", "99"), ("x", "2"), ("2", "2"), ("-1", "2")])
def test_steps_that_are_none_are_refused(good: str, bad: str) -> None:
    with pytest.raises(ConfigError, match=r"--good|--bad"):
        series_steps(PATCHES, good, bad)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    for number in range(4):
        (folder / "Makefile").write_text("all:\n")
        (folder / "sub" / "file").write_text(str(number))
        (folder / f"only-{number}").write_text("x")
        (folder / f"only-{number - 1}").unlink(missing_ok=True)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "-m", f"change {number}: [/x] ü")
    return folder


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    argv = ("git", "-C", str(folder), *who, *words)
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def test_a_step_of_a_git_tree_has_what_was_committed(tree: Path, tmp_path: Path) -> None:
    steps = commit_steps(tree, "HEAD~2", "HEAD")

    kernel = steps[1].kernel(tmp_path / "kernel")
    assert [step.name.partition(" ")[2] for step in steps] == [
        f"change {number}: [/x] ü" for number in (1, 2, 3)
    ]
    assert (kernel.source, kernel.series) == (str(tmp_path / "kernel"), "none")
    assert contents(tmp_path / "kernel") == {"Makefile": "all:\n", "only-2": "x", "sub/file": "2"}


def test_all_steps_have_one_folder_and_change_only_what_differs(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kernel"
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    steps = commit_steps(tree, "HEAD~3", "HEAD")
    steps[0].kernel(folder)
    same = (folder / "Makefile").stat()
    place = checkout(folder).place

    for number in (3, 1, 2):
        steps[number].kernel(folder)

        assert contents(folder) == {
            "Makefile": "all:\n",
            f"only-{number}": "x",
            "sub/file": str(number),
        }
        assert set(checkout(folder).open().files) == set(contents(folder))
    now = (folder / "Makefile").stat()
    assert (now.st_mtime_ns, now.st_ino) == (same.st_mtime_ns, same.st_ino)
    assert checkout(folder).place == place
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


def test_a_file_that_is_committed_and_ignored_is_part_of_a_step(tree: Path, tmp_path: Path) -> None:
    (tree / ".gitignore").write_text("*.bin\n")
    (tree / "blob.bin").write_text("blob")
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "-m", "blob")

    commit_steps(tree, "HEAD~1", "HEAD")[1].kernel(tmp_path / "kernel")

    assert "blob.bin" in checkout(tmp_path / "kernel").open().files


def test_a_git_hook_s_repository_is_not_bisected(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    git(other, "commit", "--quiet", "--allow-empty", "-m", "theirs, too")
    before = (other / ".git" / "index").read_bytes()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))

    steps = commit_steps(tree, "HEAD~1", "HEAD")
    steps[1].kernel(tmp_path / "kernel")

    assert [step.name.partition(" ")[2] for step in steps] == [
        f"change {number}: [/x] ü" for number in (2, 3)
    ]
    assert contents(tmp_path / "kernel")["sub/file"] == "3"
    assert (other / ".git" / "index").read_bytes() == before


def test_the_good_commit_has_to_be_an_ancestor_of_the_bad_one(tree: Path) -> None:
    git(tree, "checkout", "--quiet", "-b", "side", "HEAD~2")
    git(tree, "commit", "--quiet", "--allow-empty", "-m", "elsewhere")

    for good, bad in (("side", "main"), ("main", "main~1")):
        with pytest.raises(ConfigError, match=f"--good {good} --bad {bad}: .* is no ancestor of"):
            commit_steps(tree, good, bad)
    with pytest.raises(ConfigError, match="--good main --bad main: no commit in between"):
        commit_steps(tree, "main", "main")


@pytest.mark.parametrize("text", ["", "nothing", "--all", "-1", "HEAD:Makefile", "HEAD~99", "a b"])
def test_what_is_no_commit_is_refused(text: str, tree: Path) -> None:
    with pytest.raises(
        ConfigError, match=f"^--good: found '{text}'(: no such commit in|, allowed: a commit of) "
    ):
        commit_steps(tree, text, "HEAD")
    with pytest.raises(
        ConfigError, match=f"^--bad: found '{text}'(: no such commit in|, allowed: a commit of) "
    ):
        commit_steps(tree, "HEAD~1", text)


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ConfigError, match=f"--source {folder}: git failed: fatal: "):
            commit_steps(folder, "HEAD~1", "HEAD")


def test_what_was_kept_for_the_steps_goes_with_them(tree: Path, tmp_path: Path) -> None:
    steps = commit_steps(tree, "HEAD~1", "HEAD")
    with steps_folder() as folder:
        steps[0].kernel(folder)
        work = tmp_path / "cache" / "work" / f"kernel-default-{checkout(folder).place}"
        (work / "tree").mkdir(parents=True)

    assert not folder.exists()
    assert list((tmp_path / "cache" / "work").iterdir()) == []
    assert list((tmp_path / "cache" / "checkouts").iterdir()) == []


@pytest.mark.parametrize(
    ("metric", "workloads", "problem"),
    [
        ("speed", ["TCP_RR"], "--metric: found 'speed', allowed: throughput_mbps, "),
        (
            "throughput_mbps",
            ["TCP_RR"],
            "--metric throughput_mbps: none of .* of TCP_STREAM$",
        ),
        ("cpu_nic_s", ["TCP_RR", "UDP_RR"], "--metric cpu_nic_s: 2 of the modes and workloads "),
    ],
)
def test_a_metric_that_one_cell_has_is_asked_for_before_anything_is_made(
    metric: str,
    workloads: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = planned(load_lab("emulated"), Options(modes=["vhost"], workloads=workloads))
    virtual = virtual_options(jobs=1, profile=False, copy_bytes=8)

    with pytest.raises(ConfigError, match=problem):
        bisect(plan, virtual, series_steps(PATCHES, "0", "1"), metric=metric, out_dir="")

    assert list(tmp_path.iterdir()) == []
