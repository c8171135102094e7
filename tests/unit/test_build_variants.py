"""Variants of a series: what is in them, and that nothing else is changed or lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.series import read_series
from zclab.build.variants import first_patches, patch_names, with_more
from zclab.errors import ConfigError

PATCH = "--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n"


def patch(path: Path, name: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PATCH.format(name=name))
    return path


@pytest.fixture
def series(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    patch(folder / "bugfix" / "all" / "one.patch", "one.c")
    patch(folder / "0001-two.patch", "two.c")
    patch(folder / "three.patch", "three.c")
    (folder / "config").mkdir()
    (folder / "config" / "mp.config").write_text("CONFIG_MP=y\n")
    (folder / "dangling").symlink_to("/no/such/file")
    (folder / "series").write_text(
        "# base: 6.12.1\n\nbugfix/all/one.patch\n0001-two.patch -p1\n# why\nthree.patch\n"
    )
    return folder


def test_the_first_patches_are_as_the_series_has_them(series: Path, tmp_path: Path) -> None:
    """Options of a line, comments and folders included."""
    assert patch_names(series) == ["bugfix/all/one.patch", "0001-two.patch", "three.patch"]

    first_patches(series, 2, tmp_path / "cut")

    assert (tmp_path / "cut" / "series").read_text() == (
        "# base: 6.12.1\n\nbugfix/all/one.patch\n0001-two.patch -p1\n# why\n"
    )
    assert (tmp_path / "cut" / "config" / "mp.config").is_file()


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_cut_series_can_be_read(count: int, series: Path, tmp_path: Path) -> None:
    first_patches(series, count, tmp_path / "cut")

    cut, whole = read_series(tmp_path / "cut"), read_series(series)
    assert [one.touched for one in cut.patches] == [one.touched for one in whole.patches[:count]]
    assert cut.base == "6.12.1"


def test_patches_of_one_name_are_all_applied(series: Path, tmp_path: Path) -> None:
    """Those that are named like one of the series, or like each other, or have blanks."""
    more = [
        patch(tmp_path / "a" / "0001-two.patch", "four.c"),
        patch(tmp_path / "b" / "0001-two.patch", "five.c"),
        patch(tmp_path / "my fix #6 -p0.patch", "six.c"),
    ]

    with_more(series, more, tmp_path / "all")

    assert [one.touched for one in read_series(tmp_path / "all").patches] == [
        (f"{name}.c",) for name in ("one", "two", "three", "four", "five", "six")
    ]
    assert "two.c" in (series / "0001-two.patch").read_text()


def test_a_patch_of_the_series_is_there_twice(series: Path, tmp_path: Path) -> None:
    again = patch(tmp_path / "renamed.patch", "two.c")

    with pytest.raises(ConfigError, match=r"0001-two.patch, .*renamed.patch: one and the same"):
        with_more(series, [again], tmp_path / "all")


def test_a_patch_that_cannot_be_read_is_named(series: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"^{tmp_path}: cannot read the patch: Is a directory"):
        with_more(series, [tmp_path], tmp_path / "all")


def test_a_variant_of_a_variant_has_all_of_it(series: Path, tmp_path: Path) -> None:
    with_more(series, [patch(tmp_path / "a.patch", "four.c")], tmp_path / "more")
    with_more(tmp_path / "more", [patch(tmp_path / "b.patch", "five.c")], tmp_path / "all")
    first_patches(tmp_path / "all", 5, tmp_path / "cut")

    assert [one.touched for one in read_series(tmp_path / "cut").patches][3:] == [
        ("four.c",),
        ("five.c",),
    ]
