"""Series: what they touch, and what is said where they are wrong or do not apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.series import NO_SERIES, apply_series, read_series, touched_files
from zclab.errors import BuildError, ConfigError

ROOT = Path(__file__).parents[2]

CHANGE = """\
From 0123456789 Mon Sep 17 00:00:00 2001
From: A Developer <dev@example.org>
Subject: [PATCH 1/2] net: say two

---
 net/one.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/net/one.c b/net/one.c
index 1111111..2222222 100644
--- a/net/one.c
+++ b/net/one.c
@@ -1,3 +1,3 @@
 first
--- one
+-- two
 last
--\x20
2.39.5
"""

ADDITION = """\
Subject: [PATCH 2/2] net: add another

diff --git a/net/new.c b/net/new.c
new file mode 100644
--- /dev/null
+++ b/net/new.c
@@ -0,0 +1 @@
+new
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "1.patch").write_text(CHANGE)
    (folder / "2.patch").write_text(ADDITION)
    (folder / "series").write_text("# the series\n1.patch\n\n2.patch -p1  # new file\n")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "net").mkdir(parents=True)
    (tree / "net/one.c").write_text("first\n-- one\nlast\n")
    return tree


def test_a_series_knows_its_patches_and_their_files(folder: Path) -> None:
    series = read_series(folder)

    assert [patch.path.name for patch in series.patches] == ["1.patch", "2.patch"]
    assert {"net/one.c", "net/new.c"} == series.touched
    assert series.touching("net/one.c") == ("1.patch",)


def test_lines_of_a_hunk_that_look_like_headers_are_not_files() -> None:
    """A removed line ``-- one`` reads ``--- one`` in a patch."""
    assert touched_files(CHANGE) == ("net/one.c",)


def test_a_time_after_a_name_is_not_part_of_it() -> None:
    assert touched_files("--- a/net/x.c\t2026-11-22\n+++ b/net/x.c\t2026-11-23\n") == ("net/x.c",)


def test_a_rename_touches_both_names() -> None:
    renamed = "diff --git a/x.c b/y.c\nrename from net/x.c\nrename to net/y.c\n"

    assert touched_files(renamed) == ("net/x.c", "net/y.c")


def test_the_hash_is_over_content_and_order(folder: Path) -> None:
    before = read_series(folder).hash
    (folder / "series").write_text("1.patch\n2.patch\n")

    assert before == read_series(folder).hash

    (folder / "series").write_text("2.patch\n1.patch\n")

    assert before != read_series(folder).hash


def test_no_series_is_a_series_without_patches(tree: Path) -> None:
    assert read_series(None) == NO_SERIES

    apply_series(read_series(None), tree, target="that tree")


def test_a_missing_patch_is_named_with_its_line(folder: Path) -> None:
    (folder / "2.patch").unlink()

    with pytest.raises(ConfigError, match=r"series:4: 2\.patch: No such file.*add the patch"):
        read_series(folder)


def test_a_missing_series_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"series: cannot read the series: No such file"):
        read_series(tmp_path)


def test_a_patch_without_changes_is_an_error(folder: Path) -> None:
    (folder / "1.patch").write_text("Subject: nothing\n")

    with pytest.raises(ConfigError, match=r"series:2: 1\.patch: no change to any file"):
        read_series(folder)


def test_a_series_applies_in_order(folder: Path, tree: Path) -> None:
    apply_series(read_series(folder), tree, target="that tree")

    assert (tree / "net/one.c").read_text() == "first\n-- two\nlast\n"
    assert (tree / "net/new.c").read_text() == "new\n"
    assert list(tree.rglob("*.orig")) == []


def test_an_offset_is_fine(folder: Path, tree: Path) -> None:
    (tree / "net/one.c").write_text("more\n" * 9 + "first\n-- one\nlast\n")
    apply_series(read_series(folder), tree, target="that tree")

    assert "-- two" in (tree / "net/one.c").read_text()


@pytest.mark.parametrize("text", ["first\n-- other\nlast\n", "changed\n-- one\nlast\n"])
def test_fuzz_is_not(folder: Path, tree: Path, text: str) -> None:
    """A patch that does not apply is named, with file, hunk and remedy."""
    (tree / "net/one.c").write_text(text)

    with pytest.raises(BuildError) as caught:
        apply_series(read_series(folder), tree, target="linux-source-6.12 6.12.9")

    for words in (
        "patches/1.patch: does not apply to linux-source-6.12 6.12.9: ",
        "net/one.c, hunk 1, at line 1:",
        "  +-- two",
        "git am",
    ):
        assert words in str(caught.value)


def test_an_error_says_what_the_series_was_made_for(folder: Path, tree: Path) -> None:
    listed = folder / "series"
    listed.write_text(f"# base: 6.12.7-1\n{listed.read_text()}")
    (tree / "net/one.c").write_text("other\n")

    assert read_series(folder).base == "6.12.7-1"
    with pytest.raises(BuildError, match=r"apply to 6\.12\.9-1 \(the series is for 6\.12\.7-1\)"):
        apply_series(read_series(folder), tree, target="6.12.9-1")


def test_a_patch_to_a_file_that_is_gone_names_the_file(folder: Path, tree: Path) -> None:
    (tree / "net/one.c").unlink()

    with pytest.raises(BuildError, match=r"1\.patch: .*net/one\.c: no such file in that tree"):
        apply_series(read_series(folder), tree, target="that tree")


@pytest.mark.parametrize("name", ["emulator-patches"])
def test_the_series_of_this_repository_can_be_read(name: str) -> None:
    assert read_series(ROOT / name).patches
