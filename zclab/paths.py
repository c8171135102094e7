"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

from zclab.errors import ConfigError


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
