"""Bundles: artifacts in one file, which go to another machine's cache.

A bundle is a tar archive in gzip: ``manifest.json``, then the files that the manifest lists, in its
order. unbundle.py reads it. A parcel (see parcel.py) goes from one zclab to another by itself; a
bundle is a file that anybody may have made or damaged.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from zclab.build.cache import file_hash
from zclab.build.parcel import Named
from zclab.errors import BuildError, ConfigError
from zclab.model import Value
from zclab.outside import Shown
from zclab.progress import Progress, silent
from zclab.units import GIB, format_bytes

SCHEMA: Literal[1] = 1
MANIFEST = "manifest.json"
MOST_BYTES = 8 * GIB
"""Of all that is in a bundle: several times what the largest lab is made of."""


Kind = Literal[
    "kernel", "emulator", "firmware", "plugin", "host-image", "guest-image", "known-trial"
]
Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?:[A-Za-z0-9_][A-Za-z0-9_.+-]*/)*[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=50
    ),
]
"""A file's name in an artifact: it leads nowhere else, and fits into a tar's header."""


class Packed(Value):
    """A file of an artifact."""

    name: Name
    size: Annotated[int, Field(ge=0, le=MOST_BYTES)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    executable: bool


class Content(Value):
    """An artifact with its files, in the order in which they are in the bundle."""

    kind: Kind
    key: Key
    files: Annotated[tuple[Packed, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _every_name_once(self) -> Self:
        names = [file.name for file in self.files]
        folders = {str(parent) for name in names for parent in Path(name).parents}
        if len(set(names)) < len(names) or folders & set(names):
            raise ValueError("a name that is there twice")
        return self


class Manifest(Value):
    """What is in a bundle: ``zclab`` is the commit that made it, ``about`` is for who opens it."""

    model_config = ConfigDict(populate_by_name=True)

    schema_version: Annotated[Literal[1], Field(alias="schema")] = SCHEMA
    zclab: Shown
    about: dict[str, Any]
    artifacts: Annotated[tuple[Content, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _once_and_bounded(self) -> Self:
        if len({(one.kind, one.key) for one in self.artifacts}) < len(self.artifacts):
            raise ValueError("an artifact that is there twice")
        if self.size > MOST_BYTES:
            most = format_bytes(MOST_BYTES)
            raise ValueError(f"{format_bytes(self.size)} in it, and at most {most} are taken")
        return self

    @property
    def size(self) -> int:
        """How many bytes all files have."""
        return sum(file.size for one in self.artifacts for file in one.files)


def bundle_key(manifest: bytes) -> str:
    """Return what a bundle is known by: a hash over its manifest, which has those of its files."""
    return hashlib.sha256(manifest).hexdigest()[:32]


def files_in(folder: Path) -> dict[str, Path]:
    """Return the files of an artifact by their names in its folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BuildError(f"{path}: only files can go into a bundle")
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path
    return found


def write(
    file: Path,
    artifacts: Iterable[tuple[Named, Mapping[str, Path]]],
    *,
    about: Mapping[str, Any],
    zclab: str,
    progress: Progress = silent,
) -> str:
    """Write artifacts, each with its files by name, to a new bundle; return the bundle's key.

    Bundles of equal contents are equal to the byte. Raises ConfigError for a file that is there, or
    that cannot be made.
    """
    if file.exists():
        raise ConfigError(f"{file} exists; name a new file")
    sources = dict(artifacts)
    progress(0, None, "hashing what goes into the bundle")
    try:
        contents = tuple(_content(named, files) for named, files in sources.items())
        manifest = Manifest(zclab=zclab, about=dict(about), artifacts=contents)
    except ValidationError as exc:
        raise BuildError(f"{file}: this cannot go into a bundle: {exc}") from exc
    text = manifest.model_dump_json(by_alias=True, indent=1).encode()
    unfinished = file.with_name(f".{file.name}.new")
    try:
        with (
            unfinished.open("wb") as raw,
            # Level 6 saves a tenth, and takes more than twice as long.
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            _add(archive, MANIFEST, len(text), io.BytesIO(text))
            for number, content in enumerate(manifest.artifacts):
                progress(number, len(manifest.artifacts), f"packing {content.kind} {content.key}")
                _add_artifact(archive, content, sources[Named(content.kind, content.key)])
        unfinished.rename(file)
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be made: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return bundle_key(text)


def _content(named: Named, files: Mapping[str, Path]) -> Content:
    return Content.model_validate(
        {
            "kind": named.kind,
            "key": named.key,
            "files": tuple(
                Packed(
                    name=name,
                    size=path.stat().st_size,
                    sha256=file_hash(path),
                    executable=os.access(path, os.X_OK),
                )
                for name, path in files.items()
            ),
        }
    )


def _add_artifact(archive: tarfile.TarFile, content: Content, files: Mapping[str, Path]) -> None:
    for file in content.files:
        with files[file.name].open("rb") as source:
            mode = 0o755 if file.executable else 0o644
            _add(archive, f"{content.kind}/{content.key}/{file.name}", file.size, source, mode)


def _add(
    archive: tarfile.TarFile, name: str, size: int, source: IO[bytes], mode: int = 0o644
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    archive.addfile(member, source)
