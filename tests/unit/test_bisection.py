"""Bisection: which kernels there are to try, and which of them is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zclab.bisection import commit_steps, first_bad, series_steps
from zclab.build.kernel import PATCHES
from zclab.build.series import read_series
from zclab.errors import ConfigError


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


@pytest.mark.parametrize(("good", "bad"), [("1", "99"), ("x", "2"), ("2", "2"), ("-1", "2")])
def test_steps_that_are_none_are_refused(good: str, bad: str) -> None:
    with pytest.raises(ConfigError, match=r"--good|--bad"):
        series_steps(PATCHES, good, bad)


def test_a_step_of_a_git_tree_has_what_was_committed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    git = ("git", "-C", str(tree), "-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run((*git, "init", "--quiet"), check=True)
    for number in range(3):
        (tree / "file").write_text(str(number))
        subprocess.run((*git, "add", "file"), check=True)
        subprocess.run((*git, "commit", "--quiet", "-m", f"change {number}"), check=True)

    steps = commit_steps(tree, "HEAD~2", "HEAD")

    kernel = steps[1].kernel(tmp_path / "kernel")
    assert [step.name.partition(" ")[2] for step in steps] == ["change 0", "change 1", "change 2"]
    assert (Path(kernel.source) / "file").read_text() == "1"
    with pytest.raises(ConfigError, match="no commit in between"):
        commit_steps(tree, "HEAD", "HEAD")
