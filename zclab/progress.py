"""What a long step tells of itself as it goes, to whoever wants to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a long step calls as it goes."""

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """Say that ``done`` of ``total`` steps are behind us, and what is being done.

        ``total`` is None where nobody can know; it may be an estimate, and be exceeded.
        """
        ...


def silent(done: int, total: int | None, what: str) -> None:
    """Say nothing."""
