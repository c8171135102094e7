"""Source trees as people have them: whatever is in one, it is copied as it is or named."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.unit.sources import as_nobody, git, small_source
from zclab.build.series import NO_SERIES
from zclab.build.source import Tree, checkout, scan
from zclab.build.worktree import WorkTree
from zclab.errors import BuildError, ConfigError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return small_source(tmp_path / "my linux")


def snapshot(folder: Path) -> dict[str, object]:
    """Return all that can be seen of a tree, its repository included."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        s = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (s.st_mode, s.st_mtime_ns, s.st_ctime_ns, s.st_nlink, content)
    return found


def synced(source: Path, tmp_path: Path) -> Path:
    """Return a work tree of a source, which has stayed as it was."""
    before = snapshot(source)
    work = WorkTree(folder=tmp_path / "work")
    work.sync(checkout(source).open(), NO_SERIES, target="it")

    assert before == snapshot(source)
    return work.tree


def repository(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inner.c").write_text("inner\n")
    (folder / ".gitignore").write_text("*.o\n")
    (folder / "inner.o").touch()
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "inner")
    return folder


@pytest.mark.parametrize("tracked", [True, False])
def test_a_repository_within_is_part_of_the_tree(
    source: Path, tmp_path: Path, *, tracked: bool
) -> None:
    """As a submodule is, with what is not committed in it."""
    git(source, "init")
    inner = repository(source / "drivers/sub")
    if tracked:
        git(source, "add", ".")
    (inner / "new.c").write_text("new\n")
    tree = synced(source, tmp_path)

    assert (tree / "drivers/sub/inner.c").read_text() == "inner\n"
    assert (tree / "drivers/sub/new.c").read_text() == "new\n"
    assert not (tree / "drivers/sub/inner.o").exists()
    assert not (tree / "drivers/sub/.git").exists()


def test_a_submodule_that_is_not_there_is_left_out(source: Path, tmp_path: Path) -> None:
    other = repository(tmp_path / "other")
    git(source, "init")
    git(source, "-c", "protocol.file.allow=always", "submodule", "add", str(other), "sub")
    (source / "sub/mine.c").write_text("mine\n")

    assert (synced(source, tmp_path) / "sub/mine.c").exists()

    git(source, "submodule", "deinit", "--force", "sub")

    assert not list((synced(source, tmp_path)).glob("sub/*"))


def test_a_worktree_of_git_is_a_source(source: Path, tmp_path: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    git(source, "commit", "-m", "first")
    git(source, "worktree", "add", str(tmp_path / "other"))

    assert set(checkout(tmp_path / "other").open().files) == set(checkout(source).open().files)


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("name", [b"caf\xe9.c", b"two\nlines.c", b"r\re.c", b'q"u\\o te.c', b"-n"])
def test_a_name_can_be_any_bytes(
    source: Path, tmp_path: Path, name: bytes, *, tracked: bool
) -> None:
    file = source / os.fsdecode(name)
    file.write_text("any\n")
    git(source, "init")
    if tracked:
        git(source, "add", ".")
    first = checkout(source).id

    assert (synced(source, tmp_path) / file.name).read_text() == "any\n"
    assert first == checkout(source).id


def test_what_make_would_take_for_a_built_tree_is_left_out(source: Path, tmp_path: Path) -> None:
    git(source, "init")
    products = (
        ".config",
        "include/config/auto.conf",
        "include/generated/autoconf.h",
        "arch/x86/include/generated/asm/x.h",
        "build/Makefile",
    )
    for name in products:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    (source / "arch/x86/configs").mkdir()
    (source / "arch/x86/configs/.config").touch()
    git(source, "add", "--force", ".")
    tree = synced(source, tmp_path)

    assert not [name for name in products if (tree / name).exists()]
    assert (tree / "arch/x86/configs/.config").exists()


@pytest.mark.parametrize("repository", [True, False])
@pytest.mark.parametrize("ignored", ["*.o\n/*\n!/debian/\n", "*.o\n/*\n!/net/\n", "Makefile\n"])
def test_a_tree_that_ignores_itself_is_taken_whole(
    ignored: str, source: Path, *, repository: bool
) -> None:
    """Debian's kernel source does: its .gitignore is for a repository that has debian/ alone."""
    (source / ".gitignore").write_text(ignored)
    if repository:
        git(source, "init")
        git(source, "add", ".")

    assert {"Makefile", "net/one.c"} <= set(checkout(source).open().files)


def test_a_makefile_that_git_ignores_but_tracks_makes_no_difference(source: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    (source / ".gitignore").write_text("*.o\nMakefile\n")

    files = checkout(source).open().files

    assert "Makefile" in files
    assert "net/one.o" not in files


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_tree_of_another_user_is_a_source(source: Path) -> None:
    """There, git says "dubious ownership" where it looks for the repository itself."""
    git(source, "init")
    git(source, "add", ".")
    for path in (source, *source.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)

    assert "net/one.c" in checkout(source).open().files


def test_a_repository_that_is_broken_is_named(source: Path) -> None:
    (source / ".git").write_text("gitdir: /nowhere\n")

    with pytest.raises(
        ConfigError, match="my linux: git cannot list the files of this source tree"
    ):
        checkout(source)


def test_a_program_that_the_tree_names_is_not_run(source: Path, tmp_path: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git(source, "config", "core.fsmonitor", str(hook))
    synced(source, tmp_path)

    assert not (tmp_path / "ran").exists()


def test_what_is_neither_file_nor_symlink_is_named(source: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    (source / "net/one.c").unlink()
    os.mkfifo(source / "net/one.c")

    with pytest.raises(ConfigError, match=r"net/one\.c: cannot be read: neither a file nor a sym"):
        checkout(source)


def test_what_cannot_be_read_is_named(source: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        scan(source, ["x" * 300], {})

    (source / "net/one.c").chmod(0)
    with as_nobody(), pytest.raises(ConfigError, match=r"net/one\.c: cannot be read: Perm.*ignore"):
        scan(source, ["net/one.c"], {})


def test_a_source_that_cannot_be_read_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: File name too long"):
        checkout(tmp_path / ("x" * 300))

    source.chmod(0)
    with as_nobody(), pytest.raises(ConfigError, match="my linux: cannot be read: Permission"):
        checkout(source)


def test_a_socket_that_git_does_not_track_is_left_out(source: Path, tmp_path: Path) -> None:
    git(source, "init")
    os.mkfifo(source / "fifo")

    assert not (synced(source, tmp_path) / "fifo").exists()


@pytest.mark.parametrize("target", ["/nowhere", "loop", ".", "net/one.c", "../.."])
def test_a_symlink_stays_one(source: Path, tmp_path: Path, target: str) -> None:
    (source / "loop").symlink_to(target)

    assert Path(target) == (synced(source, tmp_path) / "loop").readlink()


def test_what_is_behind_a_symlink_is_not_the_tree_s(source: Path, tmp_path: Path) -> None:
    """A folder that git tracks was moved away, and a symlink put in its place."""
    git(source, "init")
    git(source, "add", ".")
    (source / "net").rename(tmp_path / "elsewhere")
    (source / "net").symlink_to(tmp_path / "elsewhere")
    before = snapshot(tmp_path / "elsewhere")
    tree = synced(source, tmp_path)

    assert (tree / "net").is_symlink()
    assert before == snapshot(tmp_path / "elsewhere")


def test_a_symlink_that_becomes_a_folder_is_not_followed(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "a.c").write_text("mine\n")
    (source / "sub").symlink_to(mine)
    synced(source, tmp_path)
    (source / "sub").unlink()
    (source / "sub").mkdir()
    (source / "sub/a.c").write_text("the tree's\n")

    assert (synced(source, tmp_path) / "sub/a.c").read_text() == "the tree's\n"
    assert (mine / "a.c").read_text() == "mine\n"


def test_a_file_becomes_a_folder_and_a_file_again(source: Path, tmp_path: Path) -> None:
    git(source, "init")
    git(source, "add", ".")
    for _ in range(2):
        (source / "net/one.c").unlink()
        (source / "net/one.c").mkdir()
        for name in "abcdefgh":
            (source / "net/one.c" / name).write_text("in it\n")

        assert (synced(source, tmp_path) / "net/one.c/a").read_text() == "in it\n"

        for name in "abcdefgh":
            (source / "net/one.c" / name).unlink()
        (source / "net/one.c").rmdir()
        (source / "net/one.c").write_text("one\n")

        assert (synced(source, tmp_path) / "net/one.c").read_text() == "one\n"


def test_a_folder_that_becomes_a_file_takes_what_was_in_it_along(
    source: Path, tmp_path: Path
) -> None:
    git(source, "init")
    git(source, "add", ".")
    synced(source, tmp_path)
    (source / "net/one.c").unlink()
    (source / "net/other.c").unlink()
    (source / "net/one.o").unlink()
    (source / "net").rmdir()
    (source / "net").write_text("a file\n")

    assert (synced(source, tmp_path) / "net").read_text() == "a file\n"


@pytest.mark.parametrize("change", ["edited", "deleted", "fifo"])
def test_a_tree_that_changes_meanwhile_is_not_taken_for_what_it_was(
    source: Path, tmp_path: Path, change: str
) -> None:
    """The kernel would be kept under the key of another."""
    tree = checkout(source).open()
    (source / "net/one.c").unlink()
    if change == "edited":
        (source / "net/one.c").write_text("two\n")
    elif change == "fifo":
        os.mkfifo(source / "net/one.c")
    work = WorkTree(folder=tmp_path / "work")

    with pytest.raises(BuildError, match=r"net/one\.c: changed during the copy; build again"):
        work.sync(tree, NO_SERIES, target="it")

    (source / "net/one.c").unlink(missing_ok=True)
    (source / "net/one.c").write_text("two\n")

    assert (synced(source, tmp_path) / "net/one.c").read_text() == "two\n"


def test_what_is_remembered_can_be_spoilt(source: Path, tmp_path: Path) -> None:
    before = checkout(source).id
    synced(source, tmp_path)
    remembered = next((tmp_path / "cache/checkouts").iterdir())
    for text in ("", "{", "[]"):
        remembered.write_text(text)
        (tmp_path / "work/files.json").write_text(text)

        assert before == checkout(source).id
        assert (synced(source, tmp_path) / "net/one.c").read_text() == "one\n"


def test_a_source_that_cannot_be_hard_linked_is_copied(source: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no other file system than that of the temporary folder")
        tree = Tree(folder=source, files=checkout(source).open().files, private=True)
        work = WorkTree(folder=Path(other) / "work")
        work.sync(tree, NO_SERIES, target="it")

        assert (work.tree / "net/one.c").read_text() == "one\n"


def test_a_sync_that_changes_nothing_writes_nothing(source: Path, tmp_path: Path) -> None:
    """Not even its record of 10 MB, nor that of the scan."""
    synced(source, tmp_path)
    before = snapshot(tmp_path / "cache"), snapshot(tmp_path / "work/tree")
    recorded = (tmp_path / "work/files.json").stat()
    synced(source, tmp_path)

    assert before == (snapshot(tmp_path / "cache"), snapshot(tmp_path / "work/tree"))
    assert (tmp_path / "work/files.json").stat().st_ino == recorded.st_ino
