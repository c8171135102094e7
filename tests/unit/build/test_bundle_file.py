"""Bundles as files: what is written is what arrives, and nothing else is taken."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from zclab.build import unbundle
from zclab.build.bundle import MANIFEST, MOST_BYTES, files_in, write
from zclab.build.cache import META, artifact_path, file_hash, get_or_build, key_of
from zclab.build.clean import clean
from zclab.build.parcel import Named
from zclab.build.unbundle import adopt, read_manifest, unpacked
from zclab.errors import BuildError, ConfigError, ZclabError

ABOUT = {"run": "20261130-1-vhost-abcd"}
ROUNDS = 400

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a bundle of an emulator, a kernel and the firmware, and have an empty cache since."""
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    (tmp_path / "bios.bin").write_bytes(bytes(range(256)))
    firmware = {"bios.bin": tmp_path / "bios.bin"}
    artifacts = [
        *(built(kind, content) for kind, content in (("emulator", "qemu"), ("kernel", "bzImage"))),
        (Named("firmware", key_of(firmware)), firmware),
    ]
    write(tmp_path / "a.zclab", artifacts, about=ABOUT, zclab="0123456789ab")
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "theirs"))
    return tmp_path / "a.zclab"


def built(kind: str, text: str) -> tuple[Named, dict[str, Path]]:
    def build(folder: Path) -> None:
        (folder / "include").mkdir()
        (folder / "include" / "plugin.h").write_text(text * 1000)
        (folder / "tool").write_text(text)
        (folder / "tool").chmod(0o755)
        (folder / "build.log").write_text(f"built in {folder}")

    artifact = get_or_build(kind, {"recipe": 1}, build)
    return Named(kind, artifact.key), files_in(artifact.path)


def rewritten(file: Path, change: Callable[[Members], object]) -> Path:
    """Write a bundle anew, with other members, as somebody would who means no good."""
    with tarfile.open(file) as archive:
        members = [(one, (archive.extractfile(one) or io.BytesIO()).read()) for one in archive]
    change(members)
    other = file.with_name("other.zclab")
    with tarfile.open(other, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return other


def put_manifest(members: Members, change: Callable[[dict[str, Any]], object]) -> None:
    member, content = members[0]
    manifest = json.loads(content)
    change(manifest)
    content = json.dumps(manifest).encode()
    member.size = len(content)
    members[0] = (member, content)


def nothing_was_taken(tmp_path: Path) -> bool:
    return not list((tmp_path / "theirs").glob("artifacts/*/[!.]*")) and not (
        list((tmp_path / "theirs").glob("artifacts/*/.unfinished-*"))
    )


def test_an_artifact_arrives_under_the_key_that_it_was_built_with(
    ours: Path, tmp_path: Path
) -> None:
    bundle = unpacked(ours)
    emulator, kernel, firmware = bundle.manifest.artifacts

    assert [adopt(bundle, one) for one in (emulator, kernel)] == ["new", "new"]

    assert bundle.manifest.about == ABOUT
    assert (bundle.path("firmware", firmware.key) / "bios.bin").read_bytes() == bytes(range(256))
    there = artifact_path("emulator", emulator.key)
    assert there.is_relative_to(tmp_path / "theirs")
    assert os.access(there / "tool", os.X_OK)
    assert not os.access(there / "include" / "plugin.h", os.X_OK)
    rebuilt = get_or_build("kernel", {"recipe": 1}, lambda _: pytest.fail("it was there"))
    assert (rebuilt.key, rebuilt.inputs) == (kernel.key, {"recipe": 1})
    assert adopt(bundle, kernel) == "there"


def test_a_cache_keeps_its_own_artifact_of_equal_inputs_and_says_that_it_is_another(
    ours: Path,
) -> None:
    """Two builds never have equal logs; those do not count."""
    bundle = unpacked(ours)
    emulator, kernel, _ = bundle.manifest.artifacts
    built("emulator", "qemu")
    built("kernel", "another")

    assert adopt(bundle, emulator) == "there"
    assert adopt(bundle, kernel) == "other"
    assert (artifact_path("kernel", kernel.key) / "tool").read_text() == "another"
    assert (bundle.path("kernel", kernel.key) / "tool").read_text() == "bzImage"
    assert unbundle.differing(kernel) == ("include/plugin.h", "tool")


def test_what_the_bundle_lacks_is_named(ours: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.zclab: has no plugin 0000"):
        unpacked(ours).path("plugin", "0" * 32)


def test_equal_contents_make_equal_bundles_and_any_tar_can_list_them(
    ours: Path, tmp_path: Path
) -> None:
    bundle = unpacked(ours)
    again = tmp_path / "again.zclab"
    key = write(
        again,
        [
            (Named(one.kind, one.key), files_in(bundle.path(one.kind, one.key)))
            for one in bundle.manifest.artifacts
        ],
        about=ABOUT,
        zclab="0123456789ab",
    )

    assert key == bundle.key
    assert file_hash(again) == file_hash(ours)
    with tarfile.open(ours) as archive:
        assert archive.getnames()[0] == MANIFEST
        assert {member.type for member in archive} == {tarfile.REGTYPE}


@pytest.mark.usefixtures("ours")
def test_a_bundle_of_any_size_ends_where_its_last_file_does(tmp_path: Path) -> None:
    """A tar archive fills its last record, with two blocks of zeros at least."""
    blocks = tarfile.RECORDSIZE // tarfile.BLOCKSIZE
    for number in range(blocks):
        file, firmware = tmp_path / f"{number}.zclab", {"a": tmp_path / "a"}
        firmware["a"].write_bytes(b"x" * number * tarfile.BLOCKSIZE)
        write(file, [(Named("firmware", key_of(firmware)), firmware)], about={}, zclab="")
        assert unpacked(file).manifest.artifacts[0].files[0].name == "a"


def test_a_file_that_is_there_is_not_overwritten(ours: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.zclab exists; name a new file"):
        write(ours, [], about={}, zclab="")
    with pytest.raises(ConfigError, match=r"nowhere/a: cannot be made: No such file"):
        write(tmp_path / "nowhere" / "a", [built("kernel", "a")], about={}, zclab="")


def test_a_link_cannot_go_into_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(BuildError, match="link: only files can go into a bundle"):
        files_in(tmp_path)


def test_a_bundle_of_a_later_zclab_is_refused_with_the_commit_that_reads_it(ours: Path) -> None:
    later = rewritten(
        ours, lambda found: put_manifest(found, lambda one: one.update(schema=2, more=[]))
    )

    says = r"schema 2, and this zclab reads 1: check out .* commit '0123456789ab', or a later one"
    with pytest.raises(ConfigError, match=says):
        unpacked(later)
    with pytest.raises(ConfigError, match=says):
        read_manifest(later)


def _other_name(name: str) -> Callable[[Members], object]:
    return lambda found: setattr(found[1][0], "name", name)


def _other_type(kind: bytes) -> Callable[[Members], object]:
    def change(members: Members) -> None:
        member, _ = members[1]
        member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    return change


def _manifest(change: Callable[[Any], object]) -> Callable[[Members], object]:
    return lambda found: put_manifest(found, change)


def _first_file(manifest: dict[str, Any]) -> dict[str, Any]:
    file: dict[str, Any] = manifest["artifacts"][0]["files"][0]
    return file


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_other_name("../../../.bashrc"), r"should come next, not '\.\./\.\./"),
        (_other_name("/etc/passwd"), r"should come next, not '/etc/passwd'"),
        (_other_name("x" * 300), r"should come next, not '\S*PaxHeader"),
        *((_other_type(kind), r"should come next, not") for kind in (b"1", b"2", b"3", b"5", b"6")),
        (lambda found: found.pop(2), r"should come next, not"),
        (lambda found: found.pop(), "bios.bin should come next, but: end of"),
        (lambda found: found.append(found[1]), "more in it than its manifest says"),
        (lambda found: found.pop(0), "manifest.json should come next, not 'emulator/"),
        (_manifest(lambda one: one["artifacts"][0].update(kind="../..")), r"kind: should be"),
        (_manifest(lambda one: one["artifacts"][0].update(key="..")), r"key: String should match"),
        (_manifest(lambda one: one["artifacts"][0].update(key="0" * 32)), "should come next, not"),
        (_manifest(lambda one: _first_file(one).update(name="../x")), r"name: String should match"),
        (_manifest(lambda one: _first_file(one).update(name="/x")), r"name: String should match"),
        (_manifest(lambda one: _first_file(one).update(name="a/.x")), r"name: String should"),
        (_manifest(lambda one: _first_file(one).update(name="tool")), "a name that is there twice"),
        (_manifest(lambda one: _first_file(one).update(name="tool/a")), "name that is there twice"),
        (_manifest(lambda one: _first_file(one).update(size=1)), r"bytes, not 1"),
        (_manifest(lambda one: _first_file(one).update(size=MOST_BYTES)), "at most 8.0 GiB"),
        (_manifest(lambda one: _first_file(one).update(size=1 << 60)), "size: Input|size: should"),
        (_manifest(lambda one: _first_file(one).update(sha256="0" * 64)), "not what its hash says"),
        (_manifest(lambda one: one["artifacts"].append(one["artifacts"][0])), "there twice"),
        (_manifest(lambda one: one.update(artifacts=[])), "at least 1 item"),
        (_manifest(lambda one: one.update(schema=0)), "schema: should be 1"),
        (_manifest(lambda one: one.update(extra=1)), "extra: Extra inputs"),
    ],
)
def test_what_is_no_plain_file_of_the_manifest_is_refused_before_anything_is_taken(
    ours: Path, tmp_path: Path, change: Callable[[Members], object], says: str
) -> None:
    with pytest.raises(ConfigError, match=f"other\\.zclab: (.|\n)*{says}"):
        unpacked(rewritten(ours, change))

    assert nothing_was_taken(tmp_path)
    assert not (tmp_path.parent / ".bashrc").exists()


def test_inputs_that_are_not_those_of_the_key_are_refused(ours: Path, tmp_path: Path) -> None:
    """Otherwise a bundle could put any kernel where this machine looks for its own."""

    def change(members: Members) -> None:
        place = next(n for n, (one, _) in enumerate(members) if one.name.endswith(META))
        content = b'{"recipe": 2}'
        members[place][0].size = len(content)
        members[place] = (members[place][0], content)
        forged = tmp_path / "forged"
        forged.write_bytes(content)

        def put(manifest: dict[str, Any]) -> None:
            for file in manifest["artifacts"][0]["files"]:
                if file["name"] == META:
                    file.update(size=len(content), sha256=file_hash(forged))

        put_manifest(members, put)

    with pytest.raises(ConfigError, match=r"emulator \w+ is not what its key says"):
        unpacked(rewritten(ours, change))

    assert nothing_was_taken(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"no archive", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b"]
)
def test_what_is_no_bundle_is_named_with_what_to_do(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x").write_bytes(text)

    with pytest.raises(ConfigError, match=r"x: no bundle, or damaged: .* copy it again"):
        unpacked(tmp_path / "x")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "x", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=f"{path}: {why}.*: name a file of `invoke bundle`"):
            read_manifest(path)


def test_a_manifest_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    member = tarfile.TarInfo(MANIFEST)
    member.size = 1 << 40
    (tmp_path / "x").write_bytes(gzip.compress(member.tobuf(tarfile.GNU_FORMAT)))

    with pytest.raises(ConfigError, match=r"manifest\.json has 1099511627776 bytes"):
        unpacked(tmp_path / "x")


def test_every_damaged_bundle_ends_in_an_error_of_ours_or_is_whole(
    ours: Path, tmp_path: Path
) -> None:
    """Both the archive as it travels, and what is in it, cut, doubled and with bits turned over."""
    rng = Random(1)  # noqa: S311 - the same inputs in each run
    whole, other = ours.read_bytes(), tmp_path / "other.zclab"
    plain = gzip.decompress(whole)
    refused = []
    for number in range(ROUNDS):
        inside = number % 2
        damaged = bytearray(plain if inside else whole)
        at = rng.randrange(len(damaged))
        match rng.randrange(4):
            case 0:
                del damaged[at:]
            case 1:
                damaged[at] ^= 1 << rng.randrange(8)
            case 2:
                del damaged[at : at + rng.randrange(1, 2000)]
            case 3:
                damaged[at:at] = damaged[at : at + rng.randrange(1, 2000)]
        other.write_bytes(gzip.compress(damaged, 1) if inside else damaged)
        try:
            bundle = unpacked(other)
        except ZclabError as exc:
            refused.append(str(exc))
            continue
        for content in bundle.manifest.artifacts:
            for file in content.files:
                path = bundle.path(content.kind, content.key) / file.name
                assert file_hash(path) == file.sha256
        clean("bundle")
    assert len(refused) > ROUNDS / 2
    assert all(one.startswith(str(other)) for one in refused)
    assert nothing_was_taken(tmp_path)
