"""Variants of a series: what is in them, and that nothing else is changed or lost."""

from __future__ import annotations

import gzip
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
    """With the options of their lines, and with fragments."""
    (series / "0001-two.patch").write_text("--- two.c\n+++ two.c\n@@ -1 +1 @@\n-b\n+a\n")
    listed = series / "series"
    listed.write_text(listed.read_text().replace("-p1", "-R -p0"))

    assert patch_names(series) == ["bugfix/all/one.patch", "0001-two.patch", "three.patch"]

    first_patches(series, 2, tmp_path / "cut")

    cut, whole = read_series(tmp_path / "cut"), read_series(series)
    assert [(one.path.name, one.strip, one.reverse) for one in cut.patches] == [
        ("one.patch", 1, False),
        ("0001-two.patch", 0, True),
    ]
    assert (tmp_path / "cut" / "config" / "mp.config").is_file()

    first_patches(series, 3, tmp_path / "cut")

    assert read_series(tmp_path / "cut").hash == whole.hash


@pytest.mark.parametrize("form", ["format-patch", "mailbox", "file", "compressed"])
def test_every_form_of_a_series_has_variants(form: str, series: Path, tmp_path: Path) -> None:
    texts = [PATCH.format(name=f"{name}.c") for name in ("one", "two")]
    if form == "mailbox":
        line = "From 01 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] x\n\n---\n"
        series = tmp_path / "v2.mbx"
        series.write_text("\n".join(line + text for text in texts))
    elif form == "file":
        series = series / "series"
    else:
        for path in (series / "series", series / "three.patch", series / "0001-two.patch"):
            path.unlink()
        for number, text in enumerate(texts, 1):
            (series / f"{number:04}-x.patch").write_text(text)
    if form == "compressed":
        (series / "0002-x.patch.gz").write_bytes(gzip.compress(texts[1].encode()))
        (series / "series").write_text("0001-x.patch\n0002-x.patch.gz\n")

    assert len(patch_names(series)) == len(read_series(series).patches) >= 2

    first_patches(series, 2, tmp_path / "cut")
    with_more(tmp_path / "cut", [patch(tmp_path / "more.patch", "more.c")], tmp_path / "more")

    assert [one.touched for one in read_series(tmp_path / "more").patches] == [
        ("one.c",),
        ("two.c",),
        ("more.c",),
    ]


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


def test_a_patch_that_is_none_is_named(series: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.patch").touch()
    (tmp_path / "empty").touch()
    for name, words in (
        ("none.patch", "cannot read the series: No such file"),
        ("empty.patch", ".* is it a patch"),
        ("empty", "no patch in it"),
    ):
        with pytest.raises(ConfigError, match=f"{name}: {words}"):
            with_more(series, [tmp_path / name], tmp_path / "all")


def test_a_variant_of_a_variant_has_all_of_it(series: Path, tmp_path: Path) -> None:
    with_more(series, [patch(tmp_path / "a.patch", "four.c")], tmp_path / "more")
    with_more(tmp_path / "more", [patch(tmp_path / "b.patch", "five.c")], tmp_path / "all")
    first_patches(tmp_path / "all", 5, tmp_path / "cut")

    assert [one.touched for one in read_series(tmp_path / "cut").patches][3:] == [
        ("four.c",),
        ("five.c",),
    ]
