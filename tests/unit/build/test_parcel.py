"""Artifacts that travel: complete, as they were sent, under the key they were built with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zclab.build.cache import META, artifact_path, file_hash, get_or_build
from zclab.build.parcel import Named, lacking, pack, unpack
from zclab.errors import BuildError


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Named:
    """Build an artifact in one cache."""
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))

    def build(folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "tool").write_text("#!/bin/sh\n")
        (folder / "bin" / "tool").chmod(0o755)
        (folder / "bin" / "link").symlink_to("tool")

    built = get_or_build("tool", {"recipe": 1}, build)
    return Named(built.kind, built.key)


def test_an_artifact_arrives_in_another_cache_as_it_was(
    artifact: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = pack(artifact, tmp_path / "parcel")
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "theirs"))
    assert lacking([artifact]) == (artifact,)

    unpack(artifact, tmp_path / "parcel", digest)

    assert lacking([artifact]) == ()
    there = artifact_path(*artifact)
    assert there.is_relative_to(tmp_path / "theirs")
    assert os.access(there / "bin" / "tool", os.X_OK)
    assert (there / "bin" / "link").readlink() == Path("tool")
    rebuilt = get_or_build("tool", {"recipe": 1}, lambda _: pytest.fail("it was there"))
    assert (rebuilt.key, rebuilt.cached, (there / META).is_file()) == (artifact.key, True, True)


def test_a_parcel_that_was_cut_short_is_no_artifact(
    artifact: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = pack(artifact, tmp_path / "parcel")
    os.truncate(tmp_path / "parcel", 100)
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "theirs"))

    with pytest.raises(BuildError, match="arrived changed"):
        unpack(artifact, tmp_path / "parcel", digest)

    assert lacking([artifact]) == (artifact,)


def test_what_cannot_be_unpacked_leaves_nothing(
    artifact: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "theirs"))
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("no archive")

    with pytest.raises(BuildError, match="tar failed: "):
        unpack(artifact, rubbish, file_hash(rubbish))

    assert lacking([artifact]) == (artifact,)
