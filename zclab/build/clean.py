"""What the cache holds, and how it is removed: by a name of the list, never by a path.

Only what zclab itself put into the cache is in the list. In a folder that zclab did not make
(see ownership.py) that is artifacts and their locks, which nothing else is called like. A symbolic
link is never followed. What another zclab is busy with stays.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from zclab.build.cache import KEY, UNFINISHED, cache_dir, remove_tree, try_locked
from zclab.build.ownership import FOLDERS, LEFTOVER, SHARED, TAG, is_ours
from zclab.errors import ConfigError, ZclabError
from zclab.outside import did_you_mean, quoted

ALL = "all"
ARTIFACTS = "artifacts"
WORK = "work"
LOCKS = "locks"
LEFTOVERS = "leftovers"
KINDS = ("kernel", "emulator", "plugin", "host-image", "guest-image", "host-state", "guest-state",
         "kernel-source", "emulator-source", "known-trial", "bundle")  # fmt: skip
_DAY_S = 24 * 3600
_OF_ARTIFACT = re.compile(rf".+-{KEY.pattern}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something to be removed as a whole; ``lock`` is what whoever uses it holds."""

    name: str
    path: Path
    lock: str

    @property
    def days(self) -> int:
        """How long ago it was last wanted or changed."""
        now = time.time()
        times = (status.st_mtime for status in _statuses([self.path, *_inside(self.path)]))
        return int(max(0, now - max(times, default=now)) // _DAY_S)


@dataclass(frozen=True, kw_only=True)
class Line:
    """All entries of one name: their size on disk, and the age of the one last used."""

    name: str
    disk_bytes: int
    days: int
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What came of it: bytes of disk that are free now, and what is left and why."""

    freed: int
    left: tuple[str, ...]


def listed(*, older_than_days: int = 0) -> tuple[Line, ...]:
    """Return what the cache holds; a file with several names counts where it comes first."""
    lines: dict[str, Line] = {}
    counted: set[tuple[int, int]] = set()
    for entry in _entries(older_than_days):
        before = lines.get(entry.name, Line(name=entry.name, disk_bytes=0, days=entry.days))
        lines[entry.name] = Line(
            name=entry.name,
            disk_bytes=before.disk_bytes + _disk_bytes(entry.path, counted),
            days=min(before.days, entry.days),
            link=str(entry.path.readlink()) if entry.path.is_symlink() else "",
        )
    return tuple(lines.values())


def clean(name: str, *, older_than_days: int = 0) -> Cleaned:
    """Remove what has a name of the list, all work trees with ``work``, or everything with ``all``.

    Raises ConfigError for another name.
    """
    _check(name, [entry.name for entry in _entries()])
    freed, left = 0, list(_not_ours(name))
    root, ours_alone = cache_dir(), is_ours(cache_dir())
    for entry in _entries(older_than_days):
        if name in {ALL, entry.name, entry.name.partition("/")[0]}:
            if entry.path.is_symlink():
                left.append(f"{entry.path}: a link to {entry.path.readlink()}, which is not ours")
                continue
            with try_locked(entry.lock) as ours:
                if ours:
                    freed += _remove(entry.path)
                else:
                    left.append(f"{entry.path}: another zclab is busy with it")
    _remove_empty_folders(root, TAG if ours_alone else SHARED)
    return Cleaned(freed=freed, left=tuple(left))


def _check(name: str, there: Sequence[str]) -> None:
    known = tuple(dict.fromkeys((ALL, *KINDS, WORK, *FOLDERS, LOCKS, LEFTOVERS, *there)))
    if name not in known:
        raise ConfigError(
            f"--kind: found {quoted(name)}{did_you_mean(name, known)}, allowed: {', '.join(known)}"
        )


def _entries(older_than_days: int = 0) -> Iterator[Entry]:
    yield from (entry for entry in _all_entries() if entry.days >= older_than_days)


def _all_entries() -> Iterator[Entry]:
    """Yield everything that is ours; locks come last, because the others are removed under them."""
    root = cache_dir()
    yield from _artifacts(root / ARTIFACTS)
    if not is_ours(root):
        for path in _inside(root / LOCKS):
            if _OF_ARTIFACT.fullmatch(path.name) and path.is_file() and not path.stat().st_size:
                yield Entry(name=LOCKS, path=path, lock=path.name)
        return
    yield from _work_trees(root / WORK)
    for name in FOLDERS:
        if os.path.lexists(root / name):
            yield Entry(name=name, path=root / name, lock=name)
    for path in _inside(root):
        entry = Entry(name=LEFTOVERS, path=path, lock=path.name)
        if LEFTOVER.fullmatch(path.name) and entry.days:  # a young one may be in use
            yield entry
    for path in _inside(root / LOCKS):
        yield Entry(name=LOCKS, path=path, lock=path.name)


def _not_ours(name: str) -> Iterator[str]:
    """Yield what has a name of the list, but is in a folder that zclab did not make."""
    root = cache_dir()
    if not is_ours(root):
        for folder in (WORK, *FOLDERS):
            if name in {ALL, folder} and os.path.lexists(root / folder):
                yield f"{root / folder}: not made by zclab: {root} has no {TAG} of zclab"
        for path in _inside(root / LOCKS):
            if name in {ALL, LOCKS} and not _OF_ARTIFACT.fullmatch(path.name):
                yield f"{path}: not made by zclab: {root} has no {TAG} of zclab"


def _artifacts(folder: Path) -> Iterator[Entry]:
    for kind in _inside(folder):
        if kind.is_symlink():
            yield Entry(name=kind.name, path=kind, lock=kind.name)
            continue
        for path in _inside(kind):
            if KEY.fullmatch(key := path.name.removeprefix(UNFINISHED)):
                yield Entry(name=kind.name, path=path, lock=f"{kind.name}-{key}")


def _work_trees(folder: Path) -> Iterator[Entry]:
    """Yield the trees, each of which has a lock of its name, or had one."""
    for path in _inside(folder):
        place = path.name.removeprefix(UNFINISHED)
        if path == folder:
            yield Entry(name=WORK, path=path, lock=WORK)
        elif (cache_dir() / LOCKS / place).exists() or (path / "files.json").exists():
            yield Entry(name=f"{WORK}/{path.name}", path=path, lock=place)


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder, or a link itself in place of what it leads to."""
    if folder.is_symlink() and folder != cache_dir():
        return [folder]
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> int:
    """Remove a file or folder; return how many bytes of disk that frees."""
    freed = _bytes_only_here(path)
    try:
        if not path.is_dir():
            path.unlink(missing_ok=True)
        elif path.name.startswith(UNFINISHED):
            shutil.rmtree(path)
        else:
            remove_tree(path)
    except OSError as exc:
        raise ZclabError(
            f"{exc.filename or path}: cannot be removed: {exc.strerror}; check its owner"
        ) from exc
    return freed


def _remove_empty_folders(root: Path, mark: str) -> None:
    """Remove what is empty now; the mark goes last, and the root only where that is zclab's."""
    artifacts = root / ARTIFACTS
    works = (root / WORK,) if mark == TAG else ()
    for folder in (*_inside(artifacts), artifacts, *works, root / LOCKS):
        with suppress(OSError):  # it is not empty, or not there
            folder.rmdir()
    if mark == TAG and [path.name for path in _inside(root)] not in ([], [TAG]):
        return
    if mark == SHARED and any(_artifacts(artifacts)):
        return
    with suppress(OSError):
        (root / mark).unlink()
    if mark == TAG:
        with suppress(OSError):
            root.rmdir()


def _disk_bytes(path: Path, counted: set[tuple[int, int]]) -> int:
    """Return the disk space of a folder, each file once however many names it has."""
    total = 0
    for status in _statuses(_files(path)):
        if (status.st_dev, status.st_ino) not in counted:
            counted.add((status.st_dev, status.st_ino))
            total += status.st_blocks * 512
    return total


def _bytes_only_here(path: Path) -> int:
    """Return the disk space of the files that have no name elsewhere."""
    names: Counter[tuple[int, int]] = Counter()
    total = 0
    for status in _statuses(_files(path)):
        names[status.st_dev, status.st_ino] += 1
        if names[status.st_dev, status.st_ino] == status.st_nlink:
            total += status.st_blocks * 512
    return total


def _files(path: Path) -> Iterator[str]:
    """Yield all files of a folder, or a file or link itself; as text, for there are 100,000."""
    if path.is_symlink() or not path.is_dir():
        yield str(path)
        return
    for parent, folders, names in os.walk(path):
        links = (name for name in folders if os.path.islink(os.path.join(parent, name)))  # noqa: PTH114, PTH118
        yield from (os.path.join(parent, name) for name in (*names, *links))  # noqa: PTH118


def _statuses(paths: Iterable[str | Path]) -> Iterator[os.stat_result]:
    """Yield what lstat(2) says of paths, but of those that went meanwhile."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield os.lstat(path)
