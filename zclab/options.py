"""Options as users write them: paths, and numbers."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from zclab.errors import ConfigError

UNFIT = r"""[\x00-\x1f\x7f-\x9f\ud800-\udfff"'`$\\;&|<>(){}\[\]*?!#%,]"""
"""What shells, make, SSH or QEMU take for their own syntax in a path, or none of them for text."""

LONGEST_SHOWN = 200
"""How many characters of a path an error shows."""


def user_path(text: str | Path, what: str) -> Path:
    """Return the path that a user wrote, with ``~`` and ``~user`` as a shell has them.

    A shell expands neither after the ``=`` of an option, nor within quotes. ``what`` is the option
    or variable that the path is from; ConfigError names it where there is no such home, and where
    the path cannot even be looked at. Whether there is anything is the caller's business.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as exc:
        raise ConfigError(
            f"{what}: {text}: no home directory is known for that; name a user that exists, or "
            "write ./~… for a folder that is called so"
        ) from exc
    try:
        _mode(path)
    except ConfigError as exc:
        raise ConfigError(f"{what}: {exc}") from exc
    return path


def user_paths(text: str, what: str) -> list[Path]:
    """Return the path that a user wrote, or those of a list with commas; see user_path().

    A name may have a comma: the whole is a list where there is no such file.
    """
    parts = [text] if os.path.lexists(os.path.expanduser(text)) else text.split(",")  # noqa: PTH111 - never raises
    return [user_path(part, what) for part in parts]


def is_there(path: Path) -> bool:
    """Tell whether there is something at a path; ConfigError where nobody can tell.

    That is where a name is too long, a link leads to itself, or a folder may not be searched.
    pathlib's own functions raise OSError for some of these, and say no to the others.
    """
    return bool(_mode(path))


def is_folder(path: Path) -> bool:
    """Tell whether a folder is at a path; see is_there()."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Tell whether a file is at a path; see is_there()."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    """Return the mode of what is at a path, with its kind, and 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "no path can have a NUL character"
        whole = str(path)
        shown = whole if len(whole) <= LONGEST_SHOWN else f"{whole[:LONGEST_SHOWN]}…"
        raise ConfigError(f"{shown}: cannot be looked at: {why}") from exc


def usable_folder(folder: Path, variable: str, unfit: str = UNFIT) -> Path:
    """Return a folder for zclab's own files, which is one or can be made.

    ``variable`` is what chooses another, ``unfit`` a regular expression for what its path cannot
    have. Raises ConfigError before anything is written.
    """
    remedy = f"set {variable} to a folder that"
    if found := re.search(unfit, str(folder)):
        raise ConfigError(
            f"{str(folder)!r}: contains {found[0]!r}, which the build tools, ssh or QEMU misread; "
            f"{remedy} has only letters, digits and ./_+-@=~ in its path"
        )
    try:
        around = (folder, *folder.parents)
        there = next(path for path in around if path.is_symlink() or path.exists())
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}; {remedy} can be made") from exc
    if not is_folder(there):
        raise ConfigError(f"{there}: not a folder; {remedy} exists, or can be made")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{there}: this user cannot write to it; {remedy} this user can write to")
    return folder


def check_range(option: str, value: float, least: float, most: float, *, default: str = "") -> None:
    """Raise ConfigError for a number that an option does not allow.

    ``default`` says what 0 stands for, where that is allowed.
    """
    if least <= value <= most or (default and value == 0):  # nan is neither
        return
    or_default = f", or 0 for {default}" if default else ""
    raise ConfigError(f"{option}: found {value}, allowed: {least} to {most}{or_default}")
