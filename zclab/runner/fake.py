"""A runner for tests of what is built on runners: it knows only the commands it was told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from zclab.errors import CommandError
from zclab.runner import Process, Result


@dataclass(frozen=True, kw_only=True)
class _Expected:
    argv: tuple[str, ...]
    result: Result
    stdin: str | None
    error: CommandError | None


class FakeRunner:
    """Answers each expected command once, in any order; every other is an AssertionError.

    As a context manager it also fails at its end where an expected command never came::

        with FakeRunner() as host:
            host.expect(("uname", "-r"), stdout="6.12.107")
            ...
    """

    def __init__(self, where: str = "host") -> None:
        self.where = where
        self.files: dict[str, bytes] = {}
        """What put() left on the machine, by remote path."""
        self._expected: list[_Expected] = []

    def expect(
        self,
        argv: Sequence[str],
        *,
        stdout: str = "",
        stderr: str = "",
        exit_status: int = 0,
        stdin: str | None = None,
        error: CommandError | None = None,
    ) -> None:
        """Expect ``argv`` once more, with ``stdin`` where it is not None; ``error`` is raised."""
        result = Result(
            where=self.where,
            argv=tuple(argv),
            exit_status=exit_status,
            stdout=stdout,
            stderr=stderr,
        )
        self._expected.append(_Expected(argv=tuple(argv), result=result, stdin=stdin, error=error))

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        timeout_s: float = 60,  # noqa: ARG002 - part of the protocol
        check: bool = True,
    ) -> Result:
        """See Runner."""
        expected = self._take(tuple(argv), stdin)
        if expected.error is not None:
            raise expected.error
        return expected.result.check() if check else expected.result

    def start(
        self,
        argv: Sequence[str],
        *,
        on_output: Callable[[str], None] | None = None,
        hold_stdin: bool = False,  # noqa: ARG002 - part of the protocol
    ) -> Process:
        """See Runner; all output comes at once."""
        result = self._take(tuple(argv), "").result
        if on_output is not None:
            on_output(result.stdout)
        return _Finished(result)

    def connect(self) -> None:
        """See Runner."""

    def put(self, local: Path, remote: str) -> None:
        """See Runner."""
        self.files[remote] = local.read_bytes()

    def close(self) -> None:
        """See Runner."""

    def check_all_came(self) -> None:
        """Raise AssertionError where an expected command never came."""
        if self._expected:
            missing = "\n  ".join(str(expected.argv) for expected in self._expected)
            raise AssertionError(f"{self.where}: expected and never run:\n  {missing}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.check_all_came()

    def _take(self, argv: tuple[str, ...], stdin: str) -> _Expected:
        for index, expected in enumerate(self._expected):
            if expected.argv == argv and expected.stdin in (None, stdin):
                return self._expected.pop(index)
        known = "\n  ".join(str(expected.argv) for expected in self._expected) or "(nothing)"
        raise AssertionError(
            f"{self.where}: unplanned: {argv} with stdin {stdin!r}; still expected:\n  {known}"
        )


class _Finished:
    """A Process that has ended."""

    def __init__(self, result: Result) -> None:
        self._result = result

    def wait(self, *, timeout_s: float = 60) -> Result:  # noqa: ARG002 - part of the protocol
        return self._result

    def stop(self) -> None:
        pass

    def need(self, why: str) -> None:
        """See Process; a fake machine loses nothing."""
