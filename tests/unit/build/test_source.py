"""Sources and work trees: the user's tree stays untouched, and only changes are written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.sources import git, small_source
from zclab.build.series import NO_SERIES, read_series
from zclab.build.source import Tree, checkout, scan
from zclab.build.worktree import WorkTree
from zclab.errors import BuildError, ConfigError

PATCH = """\
--- a/net/one.c
+++ b/net/one.c
@@ -1 +1 @@
-one
+two
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return small_source(tmp_path / "linux")


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "series").write_text("1.patch\n")
    (folder / "1.patch").write_text(PATCH)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, int]]:
    status = {str(path): path.lstat() for path in folder.rglob("*")}
    return {name: (s.st_mtime_ns, s.st_ctime_ns, s.st_nlink) for name, s in status.items()}


def times(work: WorkTree) -> dict[str, int]:
    files = (path for path in work.tree.rglob("*") if path.is_file())
    return {str(path.relative_to(work.tree)): path.lstat().st_mtime_ns for path in files}


@pytest.mark.parametrize("repository", [True, False])
def test_a_checkout_is_what_git_does_not_ignore(source: Path, *, repository: bool) -> None:
    if repository:
        git(source, "init")
        git(source, "add", "net/one.c")
    files = checkout(source).open().files

    assert {".gitignore", "Makefile", "link", "net/one.c", "net/other.c", "script"} == set(files)


@pytest.mark.parametrize("repository", [True, False])
def test_a_checkout_is_never_written_to(source: Path, tmp_path: Path, *, repository: bool) -> None:
    if repository:
        git(source, "init")
        git(source, "add", ".")
        os.utime(source / "net/one.c")  # git would like to refresh its index now
    before = state(source)
    WorkTree(folder=tmp_path / "work").sync(checkout(source).open(), NO_SERIES, target="it")

    assert before == state(source)


def test_every_change_is_another_version(source: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    git(source, "commit", "-m", "first")
    seen = [checkout(source).id]
    (source / "net/one.c").write_text("uncommitted\n")
    seen.append(checkout(source).id)
    (source / "net/new.c").write_text("untracked\n")
    seen.append(checkout(source).id)
    (source / "net/other.c").unlink()
    seen.append(checkout(source).id)
    (source / "script").chmod(0o644)
    seen.append(checkout(source).id)

    assert len(seen) == len(set(seen))


def test_what_makes_no_difference_is_the_same_version(source: Path) -> None:
    before = checkout(source).id
    (source / "net/two.o").write_text("ignored\n")
    os.utime(source / "net/one.c")

    assert before == checkout(source).id


def test_a_file_that_looks_the_same_is_not_read_again(source: Path) -> None:
    remembered: dict[str, tuple[str, str]] = {}
    scan(source, ["net/one.c"], remembered)
    remembered["net/one.c"] = (remembered["net/one.c"][0], "remembered")

    assert scan(source, ["net/one.c"], remembered) == {"net/one.c": "remembered"}


def test_a_folder_without_a_makefile_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no source tree here"):
        checkout(tmp_path)


@pytest.mark.parametrize("private", [True, False])
def test_a_sync_writes_only_what_differs(
    source: Path, patches: Path, tmp_path: Path, *, private: bool
) -> None:
    """Back and forth between series and no series, only the patched file gets a newer time."""
    tree = Tree(folder=source, files=checkout(source).open().files, private=private)
    work = WorkTree(folder=tmp_path / "work")
    work.sync(tree, NO_SERIES, target="it")
    plain = times(work)

    assert work.sync(tree, read_series(patches), target="it") == {"net/one.c"}
    assert (work.tree / "net/one.c").read_text() == "two\n"
    assert (source / "net/one.c").read_text() == "one\n"
    patched = times(work)

    assert work.sync(tree, NO_SERIES, target="it") == {"net/one.c"}
    assert (work.tree / "net/one.c").read_text() == "one\n"
    again = times(work)
    assert plain["net/one.c"] < patched["net/one.c"] < again["net/one.c"]
    for other in ("net/other.c", "script", "Makefile"):
        assert plain[other] == patched[other] == again[other]


def test_a_sync_keeps_what_the_build_made_and_drops_what_left(source: Path, tmp_path: Path) -> None:
    work = WorkTree(folder=tmp_path / "work")
    work.sync(checkout(source).open(), NO_SERIES, target="it")
    work.build.mkdir()
    (work.build / "made.o").touch()
    (source / "net/other.c").unlink()
    work.sync(checkout(source).open(), NO_SERIES, target="it")

    assert (work.build / "made.o").exists()
    assert not (work.tree / "net/other.c").exists()
    assert os.access(work.tree / "script", os.X_OK)
    assert Path("net/one.c") == (work.tree / "link").readlink()


def test_a_series_that_does_not_apply_changes_nothing(
    source: Path, patches: Path, tmp_path: Path
) -> None:
    work = WorkTree(folder=tmp_path / "work")
    work.sync(checkout(source).open(), NO_SERIES, target="it")
    before = times(work)
    (patches / "1.patch").write_text(PATCH.replace("-one", "-none"))

    with pytest.raises(BuildError, match=r"1\.patch: does not apply"):
        work.sync(checkout(source).open(), read_series(patches), target="it")

    assert before == times(work)


@pytest.mark.parametrize("name", ["build", "build/new.c", "build/deep/new.c"])
def test_a_series_with_files_in_the_place_of_the_builds_is_refused(
    name: str, source: Path, patches: Path, tmp_path: Path
) -> None:
    added = f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+new\n"
    (patches / "2.patch").write_text(added)
    (patches / "3.patch").write_text(added.replace("build", "tools/build", 1))
    work = WorkTree(folder=tmp_path / "work")

    (patches / "series").write_text("3.patch\n1.patch\n2.patch\n")
    with pytest.raises(ConfigError, match=rf"2\.patch: changes {name}, but `build` is zclab"):
        work.sync(checkout(source).open(), read_series(patches), target="it")
    assert not work.folder.exists()

    (patches / "series").write_text("3.patch\n1.patch\n")
    work.sync(checkout(source).open(), read_series(patches), target="it")
    assert (work.tree / "tools" / name).exists()


def test_an_interrupted_sync_is_made_good(
    source: Path, patches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it had written counts as unknown, even when the next sync goes back."""
    work = WorkTree(folder=tmp_path / "work")
    tree = checkout(source).open()
    work.sync(tree, NO_SERIES, target="it")
    with monkeypatch.context() as patched:
        patched.setattr("zclab.build.worktree.shutil.copymode", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            work.sync(tree, read_series(patches), target="it")
    assert (work.tree / "net/one.c").read_text() == "two\n"

    work.sync(tree, NO_SERIES, target="it")

    assert (work.tree / "net/one.c").read_text() == "one\n"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
