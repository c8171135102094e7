"""The cache: what it hands out is complete, and made of exactly the inputs it is named after."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.sources import as_nobody
from zclab.build import cache
from zclab.errors import BuildError, ConfigError

BUILDER = """
import sys, time
from pathlib import Path
from zclab.build.cache import get_or_build

room = Path(sys.argv[1])

def build(folder):
    with (room / "builds").open("a") as builds:
        builds.write("built\\n")
    (room / "started").touch()
    while not (room / "go").exists():
        time.sleep(0.01)
    (folder / "product").write_text("done")

def say(done, total, what):
    print(what, flush=True)

artifact = get_or_build("thing", {"a": 1}, build, progress=say)
print("cached" if artifact.cached else "made", (artifact.path / "product").read_text())
"""


KILLED = """
import os
from zclab.build.cache import get_or_build

def build(folder):
    (folder / "product").write_text("half")
    os.kill(os.getpid(), 9)

get_or_build("thing", {"a": 1}, build)
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build(folder: Path) -> None:
    (folder / "product").write_text("done")


def never(folder: Path) -> None:
    pytest.fail(f"built again, in {folder}")


def test_the_environment_chooses_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", "/big/disk")

    assert Path("/big/disk") == cache.cache_dir()

    monkeypatch.delenv("ZCLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")

    assert Path("/xdg/zclab") == cache.cache_dir()

    monkeypatch.delenv("XDG_CACHE_HOME")

    assert Path.home() / ".cache/zclab" == cache.cache_dir()


@pytest.mark.parametrize(
    "name", ["my disk", "a:b", "a,b", "a#b", "$b", "it's", "(1)", "a%b", "a\nb", "\udce4"]
)
def test_a_cache_that_make_cannot_work_in_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", f"{tmp_path}/{name}/cache")

    with pytest.raises(
        ConfigError, match=r"contains .*, which .* misread; set ZCLAB_CACHE to a folder"
    ):
        cache.get_or_build("thing", {}, never)

    assert list(tmp_path.iterdir()) == []


def test_a_relative_cache_is_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZCLAB_CACHE", "caf\u00e9/cache+1")

    assert cache.cache_dir() == tmp_path / "caf\u00e9/cache+1"


def test_a_cache_that_is_no_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "file/in/it", "dangling", "dangling/in"):
        monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / name))
        with pytest.raises(ConfigError, match="not a folder; set ZCLAB_CACHE to"):
            cache.cache_dir()
    for name, why in (("x" * 300, "File name too long"), ("loop", "Too many levels of symbolic")):
        monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / name))
        with pytest.raises(ConfigError, match=f"{why}.*; set ZCLAB_CACHE to"):
            cache.cache_dir()


@pytest.mark.parametrize(
    ("folder", "words"),
    [("/zclab-cache", "/: this user cannot write to it"), ("shut/in", "Permission denied")],
)
def test_a_cache_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, words: str
) -> None:
    (tmp_path / "shut").mkdir(mode=0)
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / folder))

    with as_nobody(), pytest.raises(ConfigError, match=f"{words}; set ZCLAB_CACHE to a folder"):
        cache.cache_dir()


def test_the_second_request_builds_nothing() -> None:
    first = cache.get_or_build("thing", {"a": 1}, build)
    second = cache.get_or_build("thing", {"a": 1}, never)

    assert (first.cached, second.cached) == (False, True)
    assert first.path == second.path
    assert (second.path / "product").read_text() == "done"
    assert second.inputs == {"a": 1}


def test_the_key_is_over_names_values_and_file_contents(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    same = tmp_path / "same"
    same.write_text("one")
    key = cache.key_of({"a": 1, "file": file})

    assert key == cache.key_of({"file": same, "a": 1})
    assert key != cache.key_of({"a": 2, "file": file})
    assert key != cache.key_of({"b": 1, "file": file})

    file.write_text("two")

    assert key != cache.key_of({"a": 1, "file": file})


def test_an_input_that_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be a object"):
        cache.key_of({"a": object()})


def test_a_build_that_fails_leaves_nothing(own_cache: Path) -> None:
    def half(folder: Path) -> None:
        (folder / "product").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get_or_build("thing", {"a": 1}, half)

    assert list((own_cache / "artifacts" / "thing").iterdir()) == []
    assert not cache.get_or_build("thing", {"a": 1}, build).cached


def test_what_a_killed_build_left_is_not_taken_for_an_artifact(own_cache: Path) -> None:
    killed = subprocess.run((sys.executable, "-c", KILLED), check=False)

    assert killed.returncode == -9
    assert list((own_cache / "artifacts" / "thing").glob("*/product"))

    artifact = cache.get_or_build("thing", {"a": 1}, build)

    assert not artifact.cached
    assert (artifact.path / "product").read_text() == "done"
    assert [artifact.path] == list((own_cache / "artifacts" / "thing").iterdir())


def test_two_builds_at_once_build_once(tmp_path: Path) -> None:
    """The second process waits, says so, and takes what the first one made."""
    argv = (sys.executable, "-c", BUILDER, str(tmp_path))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        while not (tmp_path / "started").exists():
            assert first.poll() is None
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as second:
            assert second.stdout
            said = second.stdout.readline()
            (tmp_path / "go").touch()
            first_said, _ = first.communicate()
            second_said, _ = second.communicate()

    assert "waiting for another zclab" in said
    assert first_said == "made done\n"
    assert second_said == "cached done\n"
    assert (tmp_path / "builds").read_text() == "built\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_where_and_what_to_do(own_cache: Path, number: int) -> None:
    def full(folder: Path) -> None:
        raise OSError(number, "No space left on device", str(folder))

    with pytest.raises(BuildError) as caught:
        cache.get_or_build("thing", {}, full)

    for words in (str(own_cache / "artifacts" / "thing"), "MiB free", "invoke clean"):
        assert words in str(caught.value)


def test_another_oserror_stays_what_it_is() -> None:
    def broken(_: Path) -> None:
        raise PermissionError(errno.EACCES, "denied")

    with pytest.raises(PermissionError):
        cache.get_or_build("thing", {}, broken)


def test_a_lock_file_that_was_removed_is_no_lock(own_cache: Path) -> None:
    """Who waited for it would hold it beside the one who has made it anew."""
    with cache.locked("place"):
        (own_cache / "locks" / "place").unlink()
        with cache.try_locked("place") as ours:
            assert ours
            with cache.try_locked("place") as theirs:
                assert not theirs


@pytest.mark.parametrize("shut", ["locks", "artifacts"])
def test_what_another_user_left_in_the_cache_is_named(
    monkeypatch: pytest.MonkeyPatch, shut: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("ZCLAB_CACHE", folder)
        Path(folder).chmod(0o777)
        (Path(folder) / shut).mkdir(mode=0o555)

        with (
            as_nobody(),
            pytest.raises(BuildError, match=f"{shut}/thing.*: does it belong to another user"),
        ):
            cache.get_or_build("thing", {}, never)


def test_prune_keeps_what_was_wanted_last() -> None:
    for number in range(3):
        cache.get_or_build("thing", {"n": number}, build)
    cache.get_or_build("thing", {"n": 0}, never)
    cache.prune("thing", keep=2)

    assert cache.get_or_build("thing", {"n": 0}, never).cached
    assert cache.get_or_build("thing", {"n": 2}, never).cached
    assert not cache.get_or_build("thing", {"n": 1}, build).cached


def test_prune_leaves_what_is_no_artifact(own_cache: Path, tmp_path: Path) -> None:
    for number in range(2):
        cache.get_or_build("thing", {"n": number}, build)
    theirs = own_cache / "artifacts" / "thing" / "theirs"
    theirs.mkdir()
    (own_cache / "artifacts" / "thing" / ("0" * 32)).symlink_to(tmp_path)
    cache.prune("thing", keep=0)

    assert theirs.is_dir()
    assert tmp_path.is_dir()
    assert len(list(theirs.parent.iterdir())) == 2
