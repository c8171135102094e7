"""Work trees: where builds happen, kept so that a small change is a small build.

A work tree holds a source with a series applied. Going from one such state to another writes
only the files whose content differs, and their time stamps only ever move forward, so that make
and ninja rebuild what they must and nothing else.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from zclab.build.cache import disk_full_explained, is_text, remembered, remove_tree
from zclab.build.command import output_of
from zclab.build.series import Series, apply_series, copy_touched
from zclab.build.source import Files, Tree, content_hash, save, scan
from zclab.errors import BuildError, ConfigError


@dataclass(frozen=True, kw_only=True)
class WorkTree:
    """A folder for one place of building; the caller holds its lock while it uses it."""

    folder: Path

    @property
    def tree(self) -> Path:
        """The patched source."""
        return self.folder / "tree"

    @property
    def build(self) -> Path:
        """Where the build's own files are: inside the tree, so that all paths are relative."""
        return self.tree / "build"

    def sync(self, source: Tree, series: Series, *, target: str) -> frozenset[str]:
        """Make the tree the source with the series applied; return the files that this changed.

        Raises BuildError before it changes anything where the series does not apply, ConfigError
        where it has files in the place of the build's own.
        """
        _check_apart(series)
        with disk_full_explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix="patched-") as scratch:
                patched = Path(scratch)
                copy_touched(series, source.folder, patched)
                apply_series(series, patched, target=target)
                return self._write(source, series, patched)

    def _write(self, source: Tree, series: Series, patched: Path) -> frozenset[str]:
        overlay = scan(patched, series.touched, {})
        wanted = {**source.files, **dict.fromkeys(series.touched, ""), **overlay}
        have = self._recorded()
        if not have:
            remove_tree(self.tree)  # of a first sync that was interrupted
            if source.private:
                have = self._link(source)
        names = {*wanted, *have}
        changed = sorted(name for name in names if wanted.get(name, "") != have.get(name, ""))
        if not changed:
            return frozenset()
        # A sync that is interrupted has to count as changed what it may have written.
        save(self.folder / "files.json", {**have, **dict.fromkeys(changed, "?")})
        # All go before the first comes, and folders before what is in them: where a symlink has
        # become a folder, what is behind the symlink is not ours.
        for name in changed:
            _remove(self.tree / name)
        for name in changed:
            if expected := wanted.get(name):
                origin = (patched if name in overlay else source.folder) / name
                _place(origin, self.tree / name, expected)
        save(self.folder / "files.json", {name: held for name, held in wanted.items() if held})
        return frozenset(changed)

    def _link(self, source: Tree) -> Files:
        """Begin with hard links; as _place() never writes into a file, the source stays as it is.

        Their time stamps are old, which is right only because nothing is built here yet. Where the
        file system has no hard links, return that nothing is there.
        """
        try:
            output_of(("cp", "--archive", "--link", str(source.folder), str(self.tree)))
        except BuildError:
            remove_tree(self.tree)
            return {}
        return source.files

    def _recorded(self) -> Files:
        there = self.tree.is_dir()
        return (remembered(self.folder / "files.json", is_text) if there else None) or {}


def _check_apart(series: Series) -> None:
    for patch in series.patches:
        for name in patch.touched:
            if PurePosixPath(name).parts[:1] == ("build",):
                raise ConfigError(
                    f"{patch.path}: changes {name}, but `build` is zclab's output folder; "
                    "move the file"
                )


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _place(origin: Path, path: Path, expected: str) -> None:
    """Put a copy made now in a file's place; BuildError where it is no longer what was hashed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if origin.is_symlink():
            path.symlink_to(origin.readlink())
        else:
            shutil.copyfile(origin, path)
            shutil.copymode(origin, path)
        same = content_hash(path) == expected
    except (FileNotFoundError, NotADirectoryError, shutil.SpecialFileError):
        same = False
    if not same:
        raise BuildError(
            f"{origin}: changed during the copy; build again when nothing writes to it"
        )
