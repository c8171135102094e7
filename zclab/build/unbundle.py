"""Reading bundles, which anybody may have made or damaged.

The reader knows from the manifest which file comes next, how long it is, and its hash. It takes
nothing else: no other name, no link, no device, not a byte more.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zclab.build.bundle import MANIFEST, SCHEMA, Content, Kind, Manifest, Packed, bundle_key
from zclab.build.cache import META, artifact_path, ensure, file_hash, key_of, prune, remembered
from zclab.errors import ConfigError
from zclab.outside import explain, quoted
from zclab.progress import Progress, silent
from zclab.units import MIB

KIND = "bundle"
MOST_MANIFEST_BYTES = 16 * MIB
MOST_FILLING = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE
"""The zeros at a tar archive's end: two blocks, and what fills the last record."""
LOGS = ("build.log",)
"""What two builds of the same inputs need not have in common."""

_KEPT_BUNDLES = 4
_CHUNK = MIB
_BAD_HEADER = (tarfile.HeaderError, ValueError)
_BAD_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)

Adopted = Literal["new", "there", "other"]
"""An artifact of a bundle was not in the cache, was there, or another one of its key was there."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that has been unpacked; ``key`` is a hash over all that is in it."""

    file: Path
    key: str
    folder: Path
    manifest: Manifest

    def path(self, kind: Kind, key: str) -> Path:
        """Return the folder of an artifact; ConfigError where the bundle has it not."""
        if not any((one.kind, one.key) == (kind, key) for one in self.manifest.artifacts):
            raise ConfigError(f"{self.file}: has no {kind} {key}, which it is about")
        return self.folder / kind / key

    def place(self, content: Content) -> Path:
        """Return the folder of one of its artifacts."""
        return self.folder / content.kind / content.key


def read_manifest(file: Path) -> Manifest:
    """Return what a bundle says is in it; nothing else is looked at.

    Raises ConfigError for a file that is no bundle, or is one of a later zclab.
    """
    with _opened(file) as stream:
        return _manifest(file, _text(file, stream))


def unpacked(file: Path, progress: Progress = silent) -> Bundle:
    """Return a bundle with its files in the cache: all of them, each as its hash says, or none.

    Raises ConfigError for a file that is no bundle, is damaged, or has something else in it.
    """
    with _opened(file) as stream:
        text = _text(file, stream)
        manifest = _manifest(file, text)

        def fill(folder: Path) -> None:
            for number, content in enumerate(manifest.artifacts):
                what = f"unpacking {content.kind} {content.key}"
                progress(number, len(manifest.artifacts), what)
                for packed in content.files:
                    _extract(file, stream, content, packed, folder)
                _check_key(file, content, folder)
            if len(rest := stream.read(MOST_FILLING + 1)) > MOST_FILLING or any(rest):
                raise _no_bundle(file, "it has more in it than its manifest says")
            (folder / META).write_bytes(text)

        key = bundle_key(text)
        if not ensure(KIND, key, fill, progress=progress):
            prune(KIND, keep=_KEPT_BUNDLES)
    return Bundle(file=file, key=key, folder=artifact_path(KIND, key), manifest=manifest)


def adopt(bundle: Bundle, content: Content) -> Adopted:
    """Have an artifact of a bundle in the cache under its own key, unless that is there."""
    folder = bundle.place(content)

    def fill(new: Path) -> None:
        shutil.copytree(folder, new, copy_function=os.link, dirs_exist_ok=True)

    if not ensure(content.kind, content.key, fill):
        return "new"
    return "other" if differing(content) else "there"


def differing(content: Content) -> tuple[str, ...]:
    """Return the files of an artifact that this cache has not, or otherwise; logs do not count."""
    there = artifact_path(content.kind, content.key)
    return tuple(
        file.name
        for file in content.files
        if file.name not in LOGS
        and not ((there / file.name).is_file() and file_hash(there / file.name) == file.sha256)
    )


@contextmanager
def _opened(file: Path) -> Iterator[gzip.GzipFile]:
    try:
        raw = file.open("rb")
    except OSError as exc:
        raise ConfigError(f"{file}: {exc.strerror}: name a file of `invoke bundle`") from exc
    with raw, gzip.GzipFile(fileobj=raw) as stream:
        try:
            yield stream
        except _BAD_GZIP as exc:
            raise _no_bundle(file, str(exc)) from exc


def _text(file: Path, stream: gzip.GzipFile) -> bytes:
    """Return the manifest as it is written."""
    member = _header(file, stream, MANIFEST)
    if not 0 < member.size <= MOST_MANIFEST_BYTES:
        raise _no_bundle(file, f"its {MANIFEST} has {member.size} bytes")
    return b"".join(_pieces(stream, member.size))


def _manifest(file: Path, text: bytes) -> Manifest:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise _no_bundle(file, f"{MANIFEST}: {exc}") from exc
    match found:
        case {"schema": int(schema)} if schema > SCHEMA:
            maker = quoted(str(found.get("zclab", "unknown")))
            raise ConfigError(
                f"{file}: a bundle of schema {schema}, and this zclab reads {SCHEMA}: check out "
                f"the zclab that made it, commit {maker}, or a later one"
            )
    return explain(file, Manifest, text.decode(errors="replace"))


def _header(file: Path, stream: gzip.GzipFile, name: str) -> tarfile.TarInfo:
    """Read the header of the next member, which has to be the file ``name``."""
    block = stream.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise EOFError(f"it ends before {name}")
    try:
        member = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except _BAD_HEADER as exc:
        raise _no_bundle(file, f"{name} should come next, but: {exc}") from exc
    if member.name != name or member.type != tarfile.REGTYPE:
        raise _no_bundle(file, f"{name} should come next, not {quoted(member.name)}")
    return member


def _pieces(stream: gzip.GzipFile, size: int) -> Iterator[bytes]:
    """Yield the content of a member, and skip what fills its last block."""
    left = size
    while left:
        piece = stream.read(min(left, _CHUNK))
        if not piece:
            raise EOFError("it ends too early")
        left -= len(piece)
        yield piece
    stream.read(-size % tarfile.BLOCKSIZE)


def _extract(
    file: Path, stream: gzip.GzipFile, content: Content, packed: Packed, folder: Path
) -> None:
    name = f"{content.kind}/{content.key}/{packed.name}"
    member = _header(file, stream, name)
    if member.size != packed.size:
        raise _no_bundle(file, f"{name} has {member.size} bytes, not {packed.size}")
    target, digest = folder / name, hashlib.sha256()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as output:
        for piece in _pieces(stream, packed.size):
            digest.update(piece)
            output.write(piece)
    if digest.hexdigest() != packed.sha256:
        raise _no_bundle(file, f"{name} is not what its hash says")
    target.chmod(0o755 if packed.executable else 0o644)


def _check_key(file: Path, content: Content, folder: Path) -> None:
    """Raise ConfigError for an artifact under another key than that of its inputs."""
    inputs = {packed.name: packed.sha256 for packed in content.files}
    if META in inputs:
        inputs = remembered(folder / content.kind / content.key / META) or {}
    if key_of(inputs) != content.key:
        raise _no_bundle(file, f"{content.kind} {content.key} is not what its key says")


def _no_bundle(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{file}: no bundle, or damaged: {why}; nothing was taken from it: copy it again from "
        "where `invoke bundle` made it"
    )
