"""Cleaning the cache: what has a name of the list goes, and nothing else ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zclab.build import cache
from zclab.build.clean import KINDS, clean, listed
from zclab.build.ownership import FOLDERS, SHARED, TAG
from zclab.errors import ConfigError, ZclabError

LARGE = 100_000
THEIRS = (
    *("file", "src/a", "apt/archives/mine.deb", "logs/my.log", "locks/mine"),
    *("work/thesis/a", "work/proj/files.json", "artifacts/kernel/a"),
)
DAY_S = 24 * 3600

HOLDER = """
import sys
from zclab.build.cache import locked

with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Make a file of the user's, outside of the cache."""
    file = tmp_path / "home" / "file"
    file.parent.mkdir()
    file.write_bytes(b"x" * LARGE)
    return file


def artifact(kind: str, number: int = 0) -> Path:
    def fill(folder: Path) -> None:
        (folder / "product").write_bytes(b"x" * LARGE)

    return cache.get_or_build(kind, {"n": number}, fill).path


def work_tree(place: str) -> Path:
    folder = cache.cache_dir() / "work" / place
    with cache.locked(place):
        (folder / "tree").mkdir(parents=True)
        (folder / "tree" / "file.c").write_bytes(b"x" * LARGE)
        (folder / "files.json").write_text("{}")
    return folder


def aged(folder: Path, days: int) -> None:
    then = time.time() - days * DAY_S - 60
    for path in (folder, *folder.iterdir()):
        os.utime(path, (then, then))


def names() -> list[str]:
    return [line.name for line in listed()]


def test_one_kind_goes_or_everything(own_cache: Path) -> None:
    artifact("kernel")
    kept = artifact("emulator")
    (own_cache / "apt").mkdir()
    (own_cache / "apt" / "lists").write_bytes(b"x" * LARGE)

    assert [line.disk_bytes >= LARGE for line in listed()] == [True, True, True, False]
    assert clean("kernel").freed >= LARGE
    assert names() == ["emulator", "apt", "locks"]
    assert kept.is_dir()

    cleaned = clean("all")

    assert (cleaned.freed >= 2 * LARGE, cleaned.left) == (True, ())
    assert not own_cache.exists()
    assert clean("all").freed == 0


@pytest.mark.parametrize(
    "name",
    [
        *("{home}", "..", "../../home", ".", "", "/", "work/..", "work/../../home", "kernels"),
        *("*", "kern*", "ker?el", "[k]ernel", "work/*", "KERNEL", " kernel", "kernel ", "kernel\n"),
        *("./kernel", "kernel/", "artifacts", "artifacts/kernel", "work/kernel-default-x/.."),
        *("kernel,emulator", "~", "$HOME", "-", "--kind=kernel", "kernel\0", "\udcff", "x" * 5000),
    ],
)
def test_what_is_no_name_of_the_list_removes_nothing(name: str, precious: Path) -> None:
    held = artifact("kernel")
    work_tree("kernel-default-x")

    with pytest.raises(ConfigError, match=r"--kind: found .*, allowed: all, kernel, emulator"):
        clean(name.format(home=precious.parent))

    assert held.is_dir()
    assert precious.exists()
    assert "work/kernel-default-x" in names()


def test_a_typo_is_told_what_it_may_mean() -> None:
    with pytest.raises(ConfigError, match="'kernels', did you mean 'kernel'"):
        clean("kernels")


@pytest.mark.parametrize("name", [*KINDS, *FOLDERS, "work", "locks", "leftovers"])
def test_a_name_of_what_is_not_there_frees_nothing(name: str) -> None:
    """A script that cleans need not know what was built."""
    assert clean(name).freed == 0


def test_every_name_that_is_listed_can_be_removed(own_cache: Path) -> None:
    artifact("kernel")
    artifact("thing-of-another-version")
    work_tree("kernel-default-x")
    work_tree("kernel-default-checkout-0123456789ab")
    for name in FOLDERS:
        (own_cache / name).mkdir()
    leftover = own_cache / "verify-abcd_123"
    leftover.mkdir()
    aged(leftover, 2)
    there = names()

    for name in there:
        assert name in names()
        clean(name)
        assert name not in [other for other in names() if other != "locks"]

    assert "leftovers" in there
    assert {path.name for path in own_cache.rglob("*")} <= {"locks", TAG, *there}


def test_work_trees_go_together_or_one_by_one() -> None:
    for place in ("kernel-a", "kernel-b", "kernel-c"):
        work_tree(place)

    assert clean("work/kernel-a").freed >= LARGE
    assert names() == ["work/kernel-b", "work/kernel-c", "locks"]

    clean("work")

    assert names() == ["locks"]


def test_only_what_nobody_wanted_for_some_days_goes() -> None:
    old, new = work_tree("kernel-old"), work_tree("kernel-new")
    aged(old, 30)
    aged(artifact("kernel", 1), 10)
    wanted = artifact("kernel", 2)

    assert {line.name: line.days for line in listed(older_than_days=1)} == {
        "kernel": 10,
        "work/kernel-old": 30,
    }

    clean("work", older_than_days=30)
    clean("kernel", older_than_days=10)

    assert (old.exists(), new.exists()) == (False, True)
    assert cache.newest("kernel", "product") == wanted / "product"


def test_what_another_zclab_is_busy_with_is_left() -> None:
    busy, idle = work_tree("kernel-busy"), work_tree("kernel-idle")
    argv = (sys.executable, "-c", HOLDER, "kernel-busy")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        cleaned = clean("all")
        with cache.try_locked("kernel-busy") as ours:
            held = not ours
        holder.communicate()

    assert (busy.exists(), idle.exists(), held) == (True, False, True)
    assert cleaned.left[0] == f"{busy}: another zclab is busy with it"


def test_links_are_not_followed(own_cache: Path, precious: Path) -> None:
    held = artifact("kernel")
    (own_cache / "artifacts" / "plugin").symlink_to(precious.parent)
    (held / "inside").symlink_to(precious.parent)
    (own_cache / "work").symlink_to(precious.parent)
    (own_cache / "debs").symlink_to(precious.parent)
    (own_cache / "locks" / "gone").symlink_to("/no/such/file")

    cleaned = clean("all")

    assert precious.read_bytes() == b"x" * LARGE
    assert not held.exists()
    assert LARGE <= cleaned.freed < 2 * LARGE
    assert [line.partition(":")[0] for line in cleaned.left] == [
        str(own_cache / name) for name in ("artifacts/plugin", "work", "debs", "locks/gone")
    ]
    assert [line.link for line in listed() if line.name == "work"] == [str(precious.parent)]


def test_what_others_keep_in_the_same_folder_stays(own_cache: Path) -> None:
    """ZCLAB_CACHE may be a folder that is not ours alone."""
    theirs = [own_cache / name for name in THEIRS]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("theirs")
    (own_cache / "debs").mkdir()
    for build in (lambda: None, lambda: artifact("kernel")):
        build()

        left = clean("all").left

        assert sorted(path for path in own_cache.rglob("*") if path.is_file()) == sorted(theirs)
        assert (own_cache / "debs").is_dir()
        assert [line.partition(":")[0] for line in left] == [
            str(own_cache / name) for name in ("work", "apt", "debs", "logs", "locks/mine")
        ]
        assert all("not made by zclab" in line for line in left)


def test_a_mark_of_another_program_is_not_ours(own_cache: Path) -> None:
    (own_cache / "apt").mkdir(parents=True)
    (own_cache / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# by cargo\n")
    artifact("kernel")

    clean("all")

    assert sorted(path.name for path in own_cache.iterdir()) == [TAG, "apt"]


def test_an_empty_folder_of_the_users_that_is_only_looked_at_stays(own_cache: Path) -> None:
    own_cache.mkdir()

    clean("all")

    assert own_cache.is_dir()


def test_a_cache_of_before_the_marks_is_told_and_marked(own_cache: Path) -> None:
    artifact("kernel")
    work_tree("kernel-default-x")
    (own_cache / "apt").mkdir()
    (own_cache / "verify-abcd_123").mkdir()
    (own_cache / TAG).unlink()

    assert names() == ["kernel", "work/kernel-default-x", "apt", "locks"]

    artifact("emulator")

    assert (own_cache / TAG).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")

    (own_cache / TAG).unlink()
    aged(own_cache / "verify-abcd_123", 2)

    assert clean("all").left == ()
    assert not own_cache.exists()


@pytest.mark.parametrize("theirs", ["file", "locks/mine", "work/proj/files.json"])
def test_a_folder_without_a_mark_with_other_things_is_not_taken_for_ours(
    theirs: str, own_cache: Path
) -> None:
    artifact("kernel")
    (own_cache / TAG).unlink()
    (own_cache / theirs).parent.mkdir(parents=True, exist_ok=True)
    (own_cache / theirs).write_text("theirs")
    (own_cache / "apt").mkdir()

    clean("all")

    assert (own_cache / theirs).read_text() == "theirs"
    assert (own_cache / "apt").is_dir()
    assert not (own_cache / SHARED).exists()


def test_to_ask_for_the_cache_writes_nothing(own_cache: Path) -> None:
    cache.cache_dir()
    names()

    assert not own_cache.exists()


def test_the_bytes_that_are_freed_have_no_other_name() -> None:
    """A work tree begins as hard links to its source."""
    source = artifact("kernel-source")
    tree = work_tree("kernel-x")
    os.link(source / "product", tree / "tree" / "product")

    assert LARGE <= clean("work").freed < 2 * LARGE
    assert clean("kernel-source").freed >= LARGE


def test_what_cannot_be_removed_is_named(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact("kernel")

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("zclab.build.clean.remove_tree", refused)

    with pytest.raises(
        ZclabError, match=f"^{own_cache}/artifacts/kernel/.*: cannot be removed: Per"
    ):
        clean("kernel")
