"""Source trees: a Debian package's, or one of the user's, which is never written to."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zclab.build.cache import cache_dir, file_hash, get_or_build, prune
from zclab.build.command import output_of
from zclab.errors import ConfigError
from zclab.progress import Progress, silent

Files = Mapping[str, str]
"""Each file's path in its tree, with a hash over its content and mode."""

_KEPT_SOURCES = 2


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Source files on disk. ``private`` ones are the cache's own and can be hard-linked."""

    folder: Path
    files: Files
    private: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """A version of a source: ``id`` names it exactly, ``open()`` brings it onto the disk.

    ``place`` names the folder for builds of it, which another version of it shares, so that
    going from version to version is an incremental build.
    """

    id: str
    version: str
    place: str
    open: Callable[[], Tree]


def packaged(
    kind: str,
    package: str,
    version: str,
    unpack: Callable[[Path], None],
    *,
    progress: Progress = silent,
) -> Source:
    """Return a Debian package's source, which ``unpack(folder)`` unpacks once per version."""

    def fill(folder: Path) -> None:
        progress(0, None, f"unpacking {package} {version}")
        (folder / "tree").mkdir()
        unpack(folder / "tree")
        progress(0, None, f"hashing {package} {version}")
        files = scan(folder / "tree", _walk(folder / "tree"), {})
        (folder / "files.json").write_text(json.dumps(files))

    def open_() -> Tree:
        inputs = {"package": package, "version": version}
        folder = get_or_build(kind, inputs, fill, progress=progress).path
        prune(kind, keep=_KEPT_SOURCES)
        files = json.loads((folder / "files.json").read_text())
        return Tree(folder=folder / "tree", files=files, private=True)

    return Source(id=f"{package} {version}", version=version, place=package, open=open_)


def checkout(folder: Path) -> Source:
    """Return the source that is in a folder now, uncommitted and untracked changes included.

    What git ignores is left out: build products in the tree do not go into a build elsewhere.
    """
    folder = folder.absolute()
    if not (folder / "Makefile").is_file():
        raise ConfigError(f"{folder}: no source tree here: it has no Makefile")
    place = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    known = cache_dir() / "checkouts" / f"{place}.json"
    remembered = json.loads(known.read_text()) if known.is_file() else {}
    files = scan(folder, _git_files(folder), remembered)
    known.parent.mkdir(parents=True, exist_ok=True)
    temporary = known.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(remembered))
    temporary.replace(known)
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    tree = Tree(folder=folder, files=files, private=False)
    version = f"tree-{digest[:12]}"
    return Source(id=version, version=version, place=f"checkout-{place}", open=lambda: tree)


def scan(
    folder: Path, names: Iterable[str], remembered: dict[str, tuple[str, str]]
) -> dict[str, str]:
    """Return the hash of each file that exists.

    ``remembered`` has for files of an earlier scan what stat(2) said and the hash; a file that
    looks the same is not read again. It is brought up to date in place.
    """
    before = dict(remembered)
    remembered.clear()
    for name in names:
        path = folder / name
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue  # deleted, but not yet in the index
        fields = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        seen = "-".join(map(str, (*fields, status.st_ino)))
        was = before.get(name)
        known = was is not None and was[0] == seen
        remembered[name] = (seen, was[1] if was and known else _hash(path, status))
    return {name: hashed for name, (_, hashed) in remembered.items()}


def _hash(path: Path, status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    mode = "exe" if status.st_mode & stat.S_IXUSR else "file"
    return f"{mode} {file_hash(path)}"


def _walk(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in paths)


def _git_files(folder: Path) -> list[str]:
    """Return the files of a tree that git does not ignore; it need not be a repository.

    A tree without one borrows an empty repository of the cache, so that its .gitignore files
    count. Nothing is written: not even the index is refreshed.
    """
    argv = ["git", "--no-optional-locks", "-C", str(folder)]
    if not (folder / ".git").exists():
        empty = cache_dir() / "empty.git"
        if not empty.is_dir():
            output_of(("git", "init", "--quiet", "--bare", str(empty)))
        argv += [f"--git-dir={empty}", f"--work-tree={folder}"]
    argv += ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return sorted({name for name in output_of(argv).split("\0") if name})
