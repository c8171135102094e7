"""Paths as users write them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zclab.errors import ConfigError

UNFIT = r"""[\x00-\x1f\x7f-\x9f\ud800-\udfff"'`$\\;&|<>(){}\[\]*?!#%,]"""
"""What shells, make, SSH or QEMU take for their own syntax in a path, or none of them for text."""


def user_path(text: str | Path, what: str) -> Path:
    """Return the path that a user wrote, with ``~`` and ``~user`` as a shell has them.

    A shell expands neither after the ``=`` of an option, nor within quotes. ``what`` is the option
    or variable that the path is from; ConfigError names it where there is no such home.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:
        raise ConfigError(
            f"{what}: {text}: no home directory is known for that; name a user that exists, or "
            "write ./~… for a folder that is called so"
        ) from exc


def usable_folder(folder: Path, variable: str, unfit: str = UNFIT) -> Path:
    """Return a folder for zclab's own files, which is one or can be made.

    ``variable`` is what chooses another, ``unfit`` a regular expression for what its path cannot
    have. Raises ConfigError before anything is written.
    """
    remedy = f"set {variable} to a folder that"
    if found := re.search(unfit, str(folder)):
        raise ConfigError(
            f"{str(folder)!r}: has {found[0]!r} in it, which the tools that work there take for "
            f"something else; {remedy} has letters, digits and any of ./_+-@=~ in its path"
        )
    try:
        around = (folder, *folder.parents)
        there = next(path for path in around if path.is_symlink() or path.exists())
    except OSError as exc:
        raise ConfigError(f"{folder}: {exc.strerror}; {remedy} can be made") from exc
    if not there.is_dir():
        raise ConfigError(f"{there}: is no folder; {remedy} is one, or can be made")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{there}: cannot be written to by this user; {remedy} can")
    return folder
