"""Variants of a series and of a source: the first patches of one, more patches, other commits.

Each is made in a folder of its own: what the user has is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zclab.build.command import git_env, missing
from zclab.build.series import EMPTY, SERIES_FILE, Patch, Series, read_series
from zclab.errors import ConfigError


def patch_names(series: Path) -> list[str]:
    """Return what the patches of a series are called in it, with the folders that they are in."""
    names = [patch.name for patch in read_series(series).patches]
    return [os.fsencode(name).decode(errors="replace") for name in names]


def first_patches(series: Path, count: int, folder: Path) -> None:
    """Make a series of the first ``count`` patches of another; all else is as in that one."""
    whole = read_series(series)
    _write(whole, whole.patches[:count], folder)


def with_more(series: Path, patches: Sequence[Path], folder: Path) -> None:
    """Make a series of another one, and ``patches`` after it, whatever they are called.

    Raises ConfigError for a patch that is there twice, and for one that is none.
    """
    ours = read_series(series)
    added: list[Patch] = []
    for path in patches:
        more = read_series(path).patches
        if not more:
            raise ConfigError(f"{path}: no patch in it")
        added += more
    seen: dict[bytes, Path] = {}
    for patch in (*ours.patches, *added):
        earlier = seen.setdefault(patch.content, patch.path)
        if patch in added and earlier is not patch.path:
            raise ConfigError(f"{earlier}, {patch.path}: one and the same patch; leave one out")
    _write(ours, (*ours.patches, *added), folder)


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit of a git tree; ``name`` is its short hash and title."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class GitTree:
    """The repository of a source tree, or a folder of it."""

    folder: Path

    def commits(self, good: str, bad: str) -> list[Commit]:
        """Return the commits from ``good`` to ``bad``, along first parents.

        Raises ConfigError for what is no commit, and where ``good`` is no ancestor of ``bad``.
        """
        first, last = self._commit("--good", good), self._commit("--bad", bad)
        if first == last:
            raise ConfigError(f"--good {good} --bad {bad}: no commit in between")
        if self._run("merge-base", "--is-ancestor", first, last).returncode:
            raise ConfigError(
                f"--good {good} --bad {bad}: in {self.folder} the good commit is no ancestor of "
                "the bad one; name an ancestor, for example from `git merge-base`"
            )
        return [*self._log("-1", first), *self._log("--first-parent", f"{first}..{last}")]

    def check_out(self, commit: str, folder: Path) -> None:
        """Make a folder the tree of a commit; files that do not differ stay as they are.

        The folder has a repository of its own, with nothing in it but the index: so it is known
        which files are the commit's, whatever .gitignore says of them.
        """
        if not (folder / ".git").is_dir():
            formatted = self._git("rev-parse", "--show-object-format").strip()
            self._git("init", "--quiet", f"--object-format={formatted}", str(folder.absolute()))
        prefix = self._git("rev-parse", "--show-prefix").strip("\n")
        self._git(
            *("-c", "core.splitIndex=false", "-c", "index.sparse=false"),
            *("-c", "core.fsmonitor=false", f"--work-tree={folder.absolute()}"),
            *("read-tree", "--reset", "-u", "--no-sparse-checkout", "--no-recurse-submodules"),
            f"{commit}:{prefix}",
            index=folder.absolute() / ".git" / "index",
        )

    def _commit(self, option: str, text: str) -> str:
        self._git("rev-parse", "--git-dir")  # for its own words where this is no repository
        if text.startswith("-") or not text:
            raise ConfigError(f"{option}: found '{text}', allowed: a commit of {self.folder}")
        found = self._run("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
        if found.returncode:
            raise ConfigError(
                f"{option}: found '{text}': no such commit in {self.folder}; see `git log`"
            )
        return found.stdout.strip()

    def _log(self, *which: str) -> Iterable[Commit]:
        words = ("log", "--no-show-signature", "--reverse", "--format=%H %h %s")
        for line in self._git(*words, *which).split("\n"):
            commit, _, name = line.partition(" ")
            if commit:
                yield Commit(id=commit, name=name)

    def _git(self, *words: str, index: Path | None = None) -> str:
        done = self._run(*words, index=index)
        if done.returncode:
            raise ConfigError(f"--source {self.folder}: git failed: {done.stderr.strip()}")
        return done.stdout

    def _run(self, *words: str, index: Path | None = None) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ("git", "-C", str(self.folder), *words),
                env=git_env() | ({"GIT_INDEX_FILE": str(index)} if index else {}),
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except FileNotFoundError as exc:
            raise missing("git") from exc


def _write(series: Series, patches: Iterable[Patch], folder: Path) -> None:
    """Make a folder the series of these patches, with all but the patches as in ``series``."""
    shutil.rmtree(folder, ignore_errors=True)  # of another variant
    folder.mkdir(parents=True)
    if series.folder and (series.folder / "config").is_dir():
        (folder / "config").symlink_to((series.folder / "config").absolute())
    lines = [f"# base: {series.base}"] if series.base else []
    for number, patch in enumerate(patches, 1):
        # The folder tells patches of one name apart; a blank or a .gz would mean something.
        name = re.sub(r"[^A-Za-z0-9_.+-]|\.(?:gz|bz2|xz|lzma|zst)$", "_", patch.path.name)
        (folder / f"{number:04}").mkdir()
        (folder / f"{number:04}" / name).write_bytes(patch.content)
        lines.append(replace(patch, name=f"{number:04}/{name}").line)
    if not (folder / "0001").exists():
        lines.append(EMPTY)
    (folder / SERIES_FILE).write_text("\n".join((*lines, "")))
