"""Images: what is asked of mmdebstrap, and whose the files in them are."""

from __future__ import annotations

import gzip
import io
import os
import random
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from zclab.build import image
from zclab.build.apt import KEYRING, SUITE


class FakeApt:
    """What mmdebstrap is told of the archive."""

    suite = SUITE
    keyring = KEYRING
    mirror = "http://mirror.example/debian"


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an mmdebstrap on the PATH that writes down where it may unpack; return that file."""
    program, said = tmp_path / "bin" / "mmdebstrap", tmp_path / "said"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$TMPDIR" > {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return said


@pytest.mark.parametrize(
    ("user_id", "tmpdir", "wanted"),
    [(0, "/mine", "{folder}"), (1000, None, "/var/tmp"), (1000, "/mine", "/mine")],  # noqa: S108
)
def test_mmdebstrap_unpacks_where_the_ids_it_works_under_can_go(  # noqa: PLR0917
    user_id: int,
    tmpdir: str | None,
    wanted: str,
    mmdebstrap: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not below a home directory of mode 700, unless root does it."""
    monkeypatch.setattr(os, "geteuid", lambda: user_id)
    monkeypatch.delenv("TMPDIR", raising=False)
    if tmpdir:
        monkeypatch.setenv("TMPDIR", tmpdir)

    image._mmdebstrap(FakeApt(), "apt", image.RECIPES / "host", tmp_path)

    assert mmdebstrap.read_text().strip() == wanted.format(folder=tmp_path)


@pytest.fixture
def of_an_ordinary_user(tmp_path: Path) -> Path:
    """Return a folder as git checks it out under the umask 002 that Debian gives its users."""
    folder = tmp_path / "overlay"
    (folder / "etc" / "ssh").mkdir(parents=True)
    (folder / "etc" / "rc").write_text("#!/bin/sh\n")
    (folder / "etc" / "motd").write_text("hello\n")
    (folder / "etc" / "link").symlink_to("rc")
    for path, mode in (("etc", 0o775), ("etc/ssh", 0o775), ("etc/rc", 0o775), ("etc/motd", 0o664)):
        (folder / path).chmod(mode)
    return folder


def test_what_a_user_checked_out_is_roots_in_the_host_image(
    of_an_ordinary_user: Path, tmp_path: Path
) -> None:
    image._tar_as_root(of_an_ordinary_user, tmp_path / "overlay.tar")

    with tarfile.open(tmp_path / "overlay.tar") as archive:
        members = {m.name: m for m in archive.getmembers()}
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    del members["etc/link"]  # a symbolic link's mode says nothing
    assert {name: oct(m.mode) for name, m in members.items()} == {
        "etc": "0o755",
        "etc/ssh": "0o755",
        "etc/rc": "0o755",
        "etc/motd": "0o644",
    }


def test_what_a_user_checked_out_is_roots_in_the_guest_image(
    of_an_ordinary_user: Path, tmp_path: Path
) -> None:
    """An SSH server takes no keys from a directory that a group may write to."""
    image._initramfs(of_an_ordinary_user, tmp_path / "guest.cpio.gz", tmp_path)

    found = newc_members(gzip.decompress((tmp_path / "guest.cpio.gz").read_bytes()))
    assert found == {
        "etc": ("0o40755", 0, 0),
        "etc/link": ("0o120777", 0, 0),
        "etc/motd": ("0o100644", 0, 0),
        "etc/rc": ("0o100755", 0, 0),
        "etc/ssh": ("0o40755", 0, 0),
    }


def newc_members(archive: bytes) -> dict[str, tuple[str, int, int]]:
    """Return mode, user and group of each file in a cpio archive of the format newc."""
    found, at = {}, 0
    while True:
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, user, group, size, name_size = (fields[n] for n in (1, 2, 3, 6, 11))
        name = archive[at + 110 : at + 110 + name_size - 1].decode()
        if name == "TRAILER!!!":
            return found
        found[name] = (oct(mode), user, group)
        at = (at + 110 + name_size + 3) // 4 * 4
        at = (at + size + 3) // 4 * 4


@pytest.mark.skipif(shutil.which("sqfstar") is None, reason="squashfs-tools is not installed")
def test_files_that_begin_alike_are_packed_as_they_are(tmp_path: Path) -> None:
    """With its search for duplicates, sqfstar 4.5.1 damaged one file of seven here."""
    draw = random.Random(1)  # noqa: S311
    files: dict[str, bytes] = {}
    for number in range(40):
        block = draw.randbytes(128 << 10)
        for name, tail in (("status-old", 86_971), ("status", 87_014)):
            files[f"{number}-{name}"] = block + draw.randbytes(tail)
    tar, squashed, unpacked = tmp_path / "root.tar", tmp_path / "squashed", tmp_path / "unpacked"
    with tarfile.open(tar, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

    image._squash(tar, squashed, tmp_path)

    subprocess.run(
        ("unsquashfs", "-quiet", "-dest", unpacked, squashed), check=True, capture_output=True
    )
    assert {path.name for path in unpacked.iterdir()} == set(files)
    damaged = [name for name, data in files.items() if (unpacked / name).read_bytes() != data]
    assert damaged == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_build_of_an_image_that_is_killed_leaves_no_mount_and_no_process(tmp_path: Path) -> None:
    mounted, ready = tmp_path / "proc", tmp_path / "ready"
    mounted.mkdir()
    script = f"mount -t tmpfs none {mounted} && touch {ready} && flock {ready} sleep 1000"
    with subprocess.Popen(image._fenced(("sh", "-c", script))) as build:
        deadline = time.monotonic() + 30
        while not _is_locked(ready):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        build.kill()

    assert str(mounted) not in Path("/proc/self/mounts").read_text()
    subprocess.run(("flock", "--timeout=30", ready, "true"), check=True)  # sleep is gone


def _is_locked(path: Path) -> bool:
    """Return whether the file is there and somebody has it locked."""
    tried = ("flock", "--nonblock", path, "true")
    return path.exists() and subprocess.run(tried, check=False).returncode == 1
