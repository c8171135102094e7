"""Variants of a series and of a source: the first patches of one, more patches, other commits.

Each is made in a folder of its own: what the user has is only read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zclab.build.command import git_env, missing
from zclab.build.series import SERIES_FILE, read_series
from zclab.errors import ConfigError

_ON_TOP = "on-top"


def patch_names(series: Path) -> list[str]:
    """Return what the patches of a series are called in it, with the folders that they are in."""
    read_series(series)  # for its errors
    named = [line.split()[0] for line in _lines(series) if _names_patch(line)]
    return [name.decode(errors="replace") for name in named]


def first_patches(series: Path, count: int, folder: Path) -> None:
    """Make a series of the first ``count`` patches of another; all else is as in that one."""
    kept, seen = [], 0
    for line in _lines(series):
        seen += _names_patch(line)
        if seen <= count or not _names_patch(line):
            kept.append(line)
    _link(series, folder)
    (folder / SERIES_FILE).write_bytes(b"\n".join((*kept, b"")))


def with_more(series: Path, patches: Sequence[Path], folder: Path) -> None:
    """Make a series of another one, and ``patches`` after it, whatever they are called.

    Raises ConfigError for a patch that is there twice, and for one that cannot be read.
    """
    _link(series, folder)
    place = _ON_TOP
    while os.path.lexists(folder / place):
        place += "-again"
    lines = _lines(series)
    texts = {patch.path.read_bytes(): patch.path for patch in read_series(series).patches}
    for number, patch in enumerate(patches, 1):
        try:
            text = patch.read_bytes()
        except OSError as exc:
            raise ConfigError(f"{patch}: cannot read the patch: {exc.strerror}") from exc
        if text in texts:
            raise ConfigError(f"{texts[text]}, {patch}: one and the same patch; leave one out")
        texts[text] = patch
        # A series splits its lines at blanks; the folder tells patches of one name apart.
        name = f"{place}/{number}/{re.sub(r'[^A-Za-z0-9_.+-]', '_', patch.name)}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(text)
        lines.append(name.encode())
    (folder / SERIES_FILE).write_bytes(b"\n".join((*lines, b"")))


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
                "the bad one; name one that is, such as what `git merge-base` says of the two"
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
                f"{option}: found '{text}', which {self.folder} has no commit for; see `git log`"
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


def _lines(series: Path) -> list[bytes]:
    return (series / SERIES_FILE).read_bytes().splitlines()


def _names_patch(line: bytes) -> bool:
    return not line.strip().startswith(b"#") and bool(line.strip())


def _link(series: Path, folder: Path) -> None:
    """Make a folder with links to all that is in a series' folder, but its list."""
    shutil.rmtree(folder, ignore_errors=True)  # of another variant
    folder.mkdir(parents=True)
    for path in series.iterdir():
        if path.name != SERIES_FILE:
            (folder / path.name).symlink_to(path.absolute())
