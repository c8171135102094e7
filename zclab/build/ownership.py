"""Whose folder the cache is: zclab marks one that it makes, and only that is zclab's alone.

The mark is the file that the Cache Directory Tagging Specification describes, which backups know.
A folder that had other things in it when zclab first wrote there keeps a note of that instead.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

TAG = "CACHEDIR.TAG"
SHARED = ".zclab-shared"
FOLDERS = ("apt", "debs", "checkouts", "capabilities", "logs", "arriving", "empty.git")
"""Folders of the cache that are removed as a whole; some have a lock of the same name."""
LEFTOVER = re.compile(r"(?:verify|zclab)-[a-z0-9_]{8}")
"""What a folder is called that a command has in the cache while it runs."""

_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by zclab.
# For information about cache directory tags, see https://bford.info/cachedir/
"""
_NOTE = "Other things were here before zclab: `invoke clean` removes only artifacts here.\n"
_ARTIFACT = re.compile(r"artifacts/([^/]+)/([0-9a-f]{32})/meta\.json")
_NAMES = frozenset({"artifacts", "work", "locks", *FOLDERS})


def mark(root: Path) -> None:
    """Make the cache where it is not there, and mark it once: as zclab's own, or as shared."""
    if (root / TAG).exists() or (root / SHARED).exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    ours = _is_of_before(root) or not any(path.name != TAG for path in root.iterdir())
    name, text = (TAG, _TAG) if ours else (SHARED, _NOTE)
    with suppress(FileExistsError), (root / name).open("x") as file:
        file.write(text)


def is_ours(root: Path) -> bool:
    """Tell whether zclab made a cache, so that all that has the name of something there is its."""
    try:
        return (root / TAG).read_text(errors="replace").startswith(_TAG[: _TAG.index("zclab.") + 6])
    except OSError:
        return not (root / SHARED).exists() and _is_of_before(root)


def _is_of_before(root: Path) -> bool:
    """Tell a cache of a zclab that set no marks: it has artifacts, with locks, and nothing else."""
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    if any(name not in _NAMES and not LEFTOVER.fullmatch(name) for name in names):
        return False
    locks = {path.name for path in root.glob("locks/*") if path.is_file()}
    if any((root / "locks" / name).stat().st_size for name in locks):
        return False
    trees = (path.name.removeprefix(".unfinished-") for path in root.glob("work/*"))
    metas = (path.relative_to(root).as_posix() for path in root.glob("artifacts/*/*/meta.json"))
    made = (match for meta in metas if (match := _ARTIFACT.fullmatch(meta)))
    return locks.issuperset(trees) and any(f"{match[1]}-{match[2]}" in locks for match in made)
