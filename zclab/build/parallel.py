"""Builds beside each other: one waits for a mirror while the other one compiles."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from zclab.build.command import end_all
from zclab.errors import BuildError

_T = TypeVar("_T")


class Beside(Generic[_T]):
    """Work in a thread, until the end of a ``with``; ``result()`` is for after that.

    Where one of both fails or is interrupted, the tools of the other one are ended, too, and the
    error that was first is raised.
    """

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._done: list[_T] = []
        self._error: Exception | None = None
        # Not waited for at the exit of an interrupted process: its tools are ended, see __exit__.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Beside[_T]:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        exc: BaseException | None,
        _tb: TracebackType | None,
    ) -> None:
        first = self._error
        if exc:
            end_all()
        else:
            self._thread.join()
        if first and isinstance(exc, BuildError):
            raise first from None

    def result(self) -> _T:
        """Return what the work returned; raises its error."""
        if self._error:
            raise self._error
        (done,) = self._done
        return done

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except Exception as exc:  # noqa: BLE001 - result() raises it
            self._error = exc
            end_all()
