"""The cache: what was built once from the same inputs is never built twice.

An artifact is the folder ``artifacts/<kind>/<key>/``, where the key is a hash over everything
that went into it. It appears under that name complete or not at all: it is built in a folder
beside it, flushed to the disk, and renamed. Everything in the cache can be deleted at any time
that no build is running.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from zclab.build.ownership import mark
from zclab.errors import BuildError, ConfigError
from zclab.options import UNFIT, usable_folder, user_path
from zclab.progress import Progress, silent

META = "meta.json"
KEY = re.compile(r"[0-9a-f]{32}")
UNFINISHED = ".unfinished-"
"""What the name of a folder begins with that is being built, or removed."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A finished artifact; ``cached`` says that it was there before it was asked for."""

    kind: str
    key: str
    path: Path
    inputs: dict[str, Any]
    cached: bool


def cache_dir() -> Path:
    """Return the cache: $ZCLAB_CACHE, else $XDG_CACHE_HOME/zclab, else ~/.cache/zclab.

    Raises ConfigError for one that nothing can be built in: the kernel's make takes neither blanks
    nor colons in the path of a source tree.
    """
    try:
        if chosen := os.environ.get("ZCLAB_CACHE"):
            folder = user_path(chosen, "ZCLAB_CACHE").absolute()
        else:
            base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
            folder = user_path(base, "XDG_CACHE_HOME").absolute() / "zclab"
    except ConfigError as exc:
        raise ConfigError(f"{exc}; set ZCLAB_CACHE to a folder that can be made") from exc
    return usable_folder(folder, "ZCLAB_CACHE", rf"[\s:]|{UNFIT}")


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(inputs: Mapping[str, Any]) -> str:
    """Return the key that named inputs lead to; a Path stands for its file's content."""
    return hashlib.sha256(_canonical(inputs).encode()).hexdigest()[:32]


def is_built(kind: str, inputs: Mapping[str, Any]) -> bool:
    """Tell whether the artifact of these inputs exists."""
    return artifact_path(kind, key_of(inputs)).is_dir()


def artifact_path(kind: str, key: str) -> Path:
    """Return where an artifact is, or would be."""
    return cache_dir() / "artifacts" / kind / key


def get_or_build(
    kind: str,
    inputs: Mapping[str, Any],
    build: Callable[[Path], object],
    *,
    progress: Progress = silent,
) -> Artifact:
    """Return the artifact of these inputs, after ``build(folder)`` has filled it if need be.

    Where another process builds the same artifact, this one waits and takes the result. An
    exception of ``build`` goes through, and nothing stays behind; a full disk is a BuildError.
    """
    key = key_of(inputs)
    path = artifact_path(kind, key)

    def fill(folder: Path) -> None:
        build(folder)
        (folder / META).write_text(_canonical(inputs, indent=2) + "\n")

    cached = ensure(kind, key, fill, progress=progress)
    recorded = read_json(path / META)
    return Artifact(kind=kind, key=key, path=path, inputs=recorded, cached=cached)


def read_json(file: Path, fits: Callable[[Any], bool] = lambda _: True) -> dict[str, Any]:
    """Return what a JSON file of an artifact says; BuildError where it is damaged or gone.

    It is an object; ``fits`` tells whether a value in it is one.
    """
    found = remembered(file, fits)
    if found is None:
        remedy = f"run `invoke clean --kind={file.parent.parent.name}`; zclab makes it again"
        raise BuildError(f"{file}: damaged, or gone; {remedy}")
    return found


def remembered(file: Path, fits: Callable[[Any], bool] = lambda _: True) -> dict[str, Any] | None:
    """Return what a JSON file of the cache says that only saves time; see read_json().

    None where it is damaged, gone, or of another version of zclab: then the time is spent again.
    """
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and all(map(fits, found.values())) else None


def is_text(value: object) -> bool:
    """Tell whether a value in a JSON file is text."""
    return isinstance(value, str)


def is_count(value: object) -> bool:
    """Tell whether a value in a JSON file is a number of something."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def ensure(
    kind: str,
    key: str,
    fill: Callable[[Path], object],
    *,
    flush: bool = True,
    progress: Progress = silent,
) -> bool:
    """Have an artifact by its key, after ``fill(folder)`` if need be; tell if it was there.

    What fills it also has to leave its META in the folder. Without ``flush`` it may be damaged
    after a power cut, and who reads it has to see that.
    """
    path = artifact_path(kind, key)
    cached = True
    if not path.is_dir():
        with locked(f"{kind}-{key}", progress=progress):
            if not path.is_dir():
                cached = False
                with disk_full_explained(path.parent):
                    _fill(path, fill, flush=flush)
    os.utime(path)  # prune() goes by when an artifact was last wanted
    return cached


@contextmanager
def locked(name: str, *, progress: Progress = silent) -> Iterator[None]:
    """Hold the lock ``name``, which no two processes hold at once; say so where that means waiting.

    The kernel drops the lock with the process, so a killed build leaves nothing to clean up.
    """
    path = _lock_file(name)
    while True:
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(0, None, f"waiting for another zclab that is busy with {name}")
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file, path):
                yield
                return
            # It was removed meanwhile: others hold the lock by another file of that name.


@contextmanager
def try_locked(name: str) -> Iterator[bool]:
    """Hold the lock ``name`` if nobody else does; yield whether that is so."""
    path = _lock_file(name)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = False
        else:
            held = _is_at(file, path)
        yield held


def _lock_file(name: str) -> Path:
    folder = cache_dir() / "locks"
    with disk_full_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder / name


def _is_at(file: IO[str], path: Path) -> bool:
    """Tell whether an open file is still the one of a path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def disk_full_explained(folder: Path) -> Iterator[None]:
    """Turn "no space left on device" into a BuildError that says where and what to do.

    The same goes for what another user has left in the cache, such as root in that of a person.
    What is first written into the cache is its mark.
    """
    try:
        if folder.is_relative_to(cache_dir()):
            mark(cache_dir())
        yield
    except OSError as exc:
        if isinstance(exc, PermissionError) and str(exc.filename).startswith(f"{cache_dir()}/"):
            raise BuildError(
                f"{exc.filename}: {exc.strerror}: does it belong to another user? Give "
                f"everything in {cache_dir()} to one user, or set ZCLAB_CACHE to this user's own "
                "folder"
            ) from exc
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise disk_full(folder) from exc


def disk_full(folder: Path) -> BuildError:
    """Return the error for a full disk under ``folder``, which may not exist yet."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_mib = shutil.disk_usage(there).free >> 20
    return BuildError(
        f"{there}: the disk is full ({free_mib} MiB free); make room with `invoke clean`, "
        "or set ZCLAB_CACHE to a folder on a larger disk"
    )


def newest(kind: str, name: str) -> Path | None:
    """Return the file ``name`` of the artifact that was wanted last, None where there is none."""
    found = (cache_dir() / "artifacts" / kind).glob(f"[!.]*/{name}")
    return max(found, key=lambda path: path.parent.stat().st_mtime, default=None)


def prune(kind: str, *, keep: int) -> None:
    """Remove all artifacts of a kind but the ``keep`` that were wanted last."""
    folders = sorted(_folders(cache_dir() / "artifacts" / kind), key=lambda f: -f.stat().st_mtime)
    for folder in [f for f in folders if KEY.fullmatch(f.name) and not f.is_symlink()][keep:]:
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Remove a folder in such an order that no half of it is ever taken for the whole."""
    doomed = folder.with_name(f"{UNFINISHED}{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    if folder.exists():
        folder.rename(doomed)
        shutil.rmtree(doomed)


def _fill(path: Path, fill: Callable[[Path], object], *, flush: bool) -> None:
    """Build beside ``path`` and rename; the caller holds the artifact's lock."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a build that was killed
    unfinished.mkdir(parents=True)
    try:
        fill(unfinished)
        if flush:
            os.sync()  # a rename that outlives a power cut must not name files that did not
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _canonical(inputs: Mapping[str, Any], indent: int | None = None) -> str:
    return json.dumps(inputs, sort_keys=True, indent=indent, default=_content)


def _content(value: object) -> str:
    if isinstance(value, Path):
        return file_hash(value)
    raise TypeError(f"an artifact's input cannot be a {type(value).__name__}")


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
