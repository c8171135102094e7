"""Source trees: a Debian package's, or one of the user's, which is never written to."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zclab.build.cache import (
    cache_dir,
    disk_full_explained,
    file_hash,
    get_or_build,
    is_text,
    prune,
    read_json,
    remembered,
)
from zclab.build.command import git_env, output_of, run_git
from zclab.build.ownership import mark
from zclab.errors import ConfigError
from zclab.progress import Progress, silent

Files = Mapping[str, str]
"""Each file's path in its tree, with a hash over its content and mode."""

_KEPT_SOURCES = 2
_PRODUCTS = frozenset({".config", "build", "include/config"})
_PRODUCT_FOLDERS = (
    *("build/", "include/config/", "include/generated/"),
    "arch/x86/include/generated/",
)


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
        files = read_json(folder / "files.json", is_text)
        return Tree(folder=folder / "tree", files=files, private=True)

    return Source(id=f"{package} {version}", version=version, place=package, open=open_)


def checkout(folder: Path) -> Source:
    """Return the source that is in a folder now, uncommitted and untracked changes included.

    What git ignores is left out: build products in the tree do not go into a build elsewhere.
    Those that a tree tracks are left out, too.
    """
    folder = folder.absolute()
    try:
        if not (folder / "Makefile").is_file():
            raise ConfigError(f"{folder}: no source tree here: it has no Makefile")
    except OSError as exc:
        raise ConfigError(f"{folder}: cannot be read: {exc.strerror}") from exc
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    known = cache_dir() / "checkouts" / f"{place}.json"
    before = remembered(known, _is_pair) or {}
    seen = dict(before)
    names = (name for name in _git_files(folder) if not _is_product(name))
    files = scan(folder, names, seen)
    if seen != before:
        with disk_full_explained(known.parent):
            known.parent.mkdir(parents=True, exist_ok=True)
            save(known, seen)
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    tree = Tree(folder=folder, files=files, private=False)
    version = f"tree-{digest[:12]}"
    return Source(id=version, version=version, place=f"checkout-{place}", open=lambda: tree)


def scan(folder: Path, names: Iterable[str], remembered: dict[str, list[str]]) -> dict[str, str]:
    """Return the hash of each file that exists, those of repositories within this one included.

    ``remembered`` has for files of an earlier scan what stat(2) said and the hash; a file that
    looks the same is not read again. It is brought up to date in place. Raises ConfigError for
    what cannot be read.
    """
    before = dict(remembered)
    remembered.clear()
    root, behind = os.fspath(folder), {"": False}
    names = list(names)
    for name in names:  # grows by what is in repositories within
        path = f"{root}/{name}"
        try:
            status = os.lstat(path)
            if _is_behind_link(root, name.rpartition("/")[0], behind):
                continue
            if stat.S_ISDIR(status.st_mode):
                names += _nested_files(folder, name)
                continue
            fields = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            seen = "%o-%d-%d-%d-%d" % (*fields, status.st_ino)  # noqa: UP031 - of 80,000 files
            was = before.get(name)
            same = was is not None and was[0] == seen
            remembered[name] = was if was and same else [seen, content_hash(Path(path))]
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, but not yet in the index, or just now
        except OSError as exc:
            raise ConfigError(
                f"{path}: cannot be read: {exc.strerror}; mend that, or have git ignore the file"
            ) from exc
    return {name: hashed for name, (_, hashed) in remembered.items()}


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and list(map(type, value)) == [str, str]


def content_hash(path: Path) -> str:
    """Return the hash over the content and the mode of a file or symlink."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return f"link {path.readlink()}"
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "neither a file nor a symlink", str(path))
    return f"{'exe' if mode & stat.S_IXUSR else 'file'} {file_hash(path)}"


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file that is there whole or not at all."""
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(values))
    temporary.replace(path)


def _walk(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(str(path.relative_to(folder)) for path in paths)


def _is_product(name: str) -> bool:
    """Tell whether a file is where kbuild puts its own: make takes a tree with them for built."""
    return name in _PRODUCTS or name.startswith(_PRODUCT_FOLDERS)


def _is_behind_link(root: str, folder: str, known: dict[str, bool]) -> bool:
    """Tell whether a folder of the tree is a symlink, or in one: what is there is not the tree's.

    git goes on to list what it once tracked there. ``known`` has the answers so far.
    """
    if folder not in known:
        above = _is_behind_link(root, folder.rpartition("/")[0], known)
        known[folder] = above or Path(f"{root}/{folder}").is_symlink()
    return known[folder]


def _git_files(folder: Path) -> Iterable[str]:
    """Return the files of a tree that git does not ignore; it need not be a repository.

    A tree without one borrows an empty repository of the cache, so that its .gitignore files
    count; all of it is taken where git ignores the source itself, as in Debian's package.
    """
    repository = folder / ".git"
    if not repository.exists():
        repository = cache_dir() / "empty.git"
        if not repository.is_dir():
            mark(cache_dir())
            output_of(("git", "init", "--quiet", "--bare", str(repository)))
    names = _listed(folder, repository, "--exclude-standard")
    return names if "Makefile" in names else _listed(folder, repository)


def _nested_files(folder: Path, name: str) -> list[str]:
    """Return the files of a submodule, or of any repository that is in a folder of the tree."""
    name = name.rstrip("/")
    repository = folder / name / ".git"
    if not repository.exists():
        return []  # of a submodule that is not checked out
    return [f"{name}/{inner}" for inner in _listed(folder / name, repository, "--exclude-standard")]


def _listed(folder: Path, repository: Path, *options: str) -> dict[str, None]:
    """List files as git does, without writing anything: not even the index is refreshed.

    With the repository named, git asks neither where it begins nor whose it is. A file system
    monitor would be a program that the tree's configuration starts.
    """
    done = run_git(
        *("-c", "core.fsmonitor=false", f"--git-dir={repository}", f"--work-tree={folder}"),
        *("ls-files", "-z", "--cached", "--others", *options),
        cwd=folder,
        env=git_env(),
    )
    if done.returncode:
        said = os.fsdecode(done.stderr).strip()
        raise ConfigError(f"{folder}: git cannot list the files of this source tree: {said}")
    return dict.fromkeys(os.fsdecode(done.stdout).split("\0")[:-1])
