"""Patch series: a folder with a quilt-style ``series`` file and the patches that it names."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zclab.build.command import build_env, missing
from zclab.errors import BuildError, ConfigError

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_HUNK_LINES = 20
_BASE = re.compile(r"# base: (\S+)")
_FILE = re.compile(r"(?:---|\+\+\+) [^/\s]+/([^\t]+)(?:\t.*)?|rename (?:from|to) (.+)")


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One patch, and the files that it touches, as paths in the source tree."""

    path: Path
    touched: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Patches in the order in which they apply; ``hash`` is over their content.

    ``base`` is the version of the source that they were made for, empty where a line
    ``# base: VERSION`` of the series does not say.
    """

    folder: Path | None
    patches: tuple[Patch, ...]
    hash: str
    base: str = ""

    @property
    def touched(self) -> frozenset[str]:
        """Every file that any patch touches."""
        return frozenset(name for patch in self.patches for name in patch.touched)

    def touching(self, name: str) -> tuple[str, ...]:
        """Return the names of the patches that touch a file, given by path or by bare name."""
        return tuple(
            patch.path.name
            for patch in self.patches
            if any(touched == name or touched.endswith(f"/{name}") for touched in patch.touched)
        )


SERIES_FILE = "series"
NO_SERIES = Series(folder=None, patches=(), hash="none")


def read_series(folder: Path | None) -> Series:
    """Read a series; with None, the one that has no patches.

    Raises ConfigError that names file and line where the series names a patch that is not there.
    """
    if folder is None:
        return NO_SERIES
    listed = folder / SERIES_FILE
    try:
        lines = listed.read_text().splitlines()
    except OSError as exc:
        raise ConfigError(f"{listed}: cannot read the series: {exc.strerror}") from exc
    named = [(n, line.partition("#")[0].strip()) for n, line in enumerate(lines, 1)]
    patches = tuple(_read_patch(listed, number, name) for number, name in named if name)
    digest = hashlib.sha256()
    for patch in patches:
        digest.update(patch.path.read_bytes())
    bases = [found[1] for line in lines if (found := _BASE.fullmatch(line.strip()))]
    return Series(
        folder=folder,
        patches=patches,
        hash=digest.hexdigest()[:16],
        base=bases[0] if bases else "",
    )


def apply_series(series: Series, tree: Path, *, target: str) -> None:
    """Apply a series to a tree: offsets are fine, fuzz is not.

    Raises BuildError that names the patch, the file and the first hunk that does not apply;
    ``target`` is what the error calls the tree. The tree is spoilt then.
    """
    if series.base:
        target += f" (the series is for {series.base})"
    for patch in series.patches:
        _apply(patch, tree, target)


def touched_files(patch: str) -> tuple[str, ...]:
    """Return the files that a patch in unified format touches, without their first folder."""
    names: dict[str, None] = {}
    for line in _headers(patch):
        if found := _FILE.fullmatch(line):
            names[found[1] or found[2]] = None
    return tuple(names)


def first_rejection(output: str, tree: Path) -> str:
    """Return the first hunk that did not apply, for an error.

    ``patch`` leaves it in ``tree``, in a file named after the one to patch, and prints::

        patching file drivers/net/tun.c
        Hunk #2 FAILED at 107.
        1 out of 2 hunks FAILED -- saving rejects to file drivers/net/tun.c.rej
    """
    name = "(no file)"
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("patching file "):
            name = line.removeprefix("patching file ").strip("'")
        elif line.startswith("can't find file to patch"):
            wanted = touched_files("\n".join(part.removeprefix("|") for part in lines[number:]))
            return f"{wanted[0] if wanted else name}: no such file in that tree"
        elif found := re.match(r"Hunk #(\d+) FAILED at (\d+)", line):
            hunk = _rejected_hunk(tree / f"{name}.rej")
            return f"{name}, hunk {found[1]}, at line {found[2]}:\n{hunk}"
    return "\n".join(lines[-10:]) or "(patch printed nothing)"


def _read_patch(listed: Path, number: int, name: str) -> Patch:
    where = f"{listed}:{number}"
    if name.endswith(" -p1"):
        name = name.removesuffix(" -p1").rstrip()
    path = listed.parent / name
    try:
        text = path.read_text(errors="replace")
    except OSError as exc:
        raise ConfigError(
            f"{where}: {name}: {exc.strerror}; add the patch or drop the line"
        ) from exc
    touched = touched_files(text)
    if not touched:
        raise ConfigError(f"{where}: {name}: no change to any file in it; is it a patch?")
    return Patch(path=path, touched=touched)


def _headers(patch: str) -> Iterator[str]:
    """Yield a patch's lines but those of its hunks, which can look like anything."""
    old = new = 0
    for line in patch.splitlines():
        if old > 0 or new > 0:
            old -= line[:1] in {" ", "-", ""}
            new -= line[:1] in {" ", "+", ""}
        elif found := _HUNK.match(line):
            old, new = int(found[1] or 1), int(found[2] or 1)
        else:
            yield line


def _apply(patch: Patch, tree: Path, target: str) -> None:
    argv = ["patch", "-p1", "--fuzz=0", "--batch", "--forward", "--no-backup-if-mismatch"]
    argv += [f"--directory={tree}", f"--input={patch.path.absolute()}"]
    try:
        done = subprocess.run(argv, env=build_env(), capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise missing("patch") from exc
    if done.returncode:
        raise BuildError(
            f"{patch.path}: does not apply to {target}: {first_rejection(done.stdout, tree)}\n"
            "Bring the series up to that version: in a git tree of it `git am` the patches "
            "before this one, fix this one, and write the series anew with `git format-patch`"
        )


def _rejected_hunk(rejects: Path) -> str:
    lines = rejects.read_text(errors="replace").splitlines() if rejects.is_file() else []
    starts = [n for n, line in enumerate(lines) if line.startswith("@@ ")] + [len(lines)]
    hunk = lines[starts[0] : starts[1]][:_HUNK_LINES] if len(starts) > 1 else ["(not printed)"]
    return "\n".join(f"  {line}" for line in hunk)


def copy_touched(series: Series, source: Path, scratch: Path) -> None:
    """Copy the files that a series touches, where they exist, from a tree to an empty one."""
    for name in series.touched:
        if (source / name).is_file():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, scratch / name)
