"""Artifacts on their way to another machine's cache, where they have the same key.

A key is a hash over what an artifact was made from, so it says nothing about the bytes that have
arrived: a parcel has a hash of its own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from zclab.build.cache import artifact_path, ensure, file_hash
from zclab.errors import BuildError

DEADLINE_S = 600


class Named(NamedTuple):
    """An artifact by its name."""

    kind: str
    key: str

    @classmethod
    def of(cls, path: Path) -> Named:
        """Return the artifact of this cache that a file is in."""
        kind, key, *_ = path.relative_to(artifact_path("", "")).parts
        return cls(kind, key)


def lacking(wanted: Iterable[Named]) -> tuple[Named, ...]:
    """Return those of some artifacts that are not in this machine's cache."""
    return tuple(one for one in wanted if not artifact_path(*one).is_dir())


def pack(artifact: Named, parcel: Path) -> str:
    """Write an artifact of this cache to a file, and return the hash of that."""
    source = artifact_path(*artifact)
    _tar("--create", "--use-compress-program=gzip -1", "--file", str(parcel), ".", folder=source)
    return file_hash(parcel)


def unpack(artifact: Named, parcel: Path, digest: str) -> None:
    """Put an artifact that has arrived into this cache, complete or not at all.

    Raises BuildError where the parcel is not what was sent.
    """
    if file_hash(parcel) != digest:
        raise BuildError(f"{artifact.kind} {artifact.key}: arrived changed")

    def fill(folder: Path) -> None:
        _tar("--extract", "--gzip", "--file", str(parcel), folder=folder)

    ensure(*artifact, fill)


def _tar(*options: str, folder: Path) -> None:
    done = subprocess.run(
        ("tar", f"--directory={folder}", *options),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_S,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{folder}: tar failed: {done.stderr.strip()[-500:]}")
