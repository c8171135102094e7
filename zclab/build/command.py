"""Running build tools: a log of everything they say, and an end to all of them on Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from zclab.build.cache import disk_full
from zclab.errors import BuildError

_KEPT = ("PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "CCACHE_DIR")
_GRACE_S = 10

_lock = threading.Lock()
_running: set[subprocess.Popen[str]] = set()


class ToolError(BuildError):
    """A build tool failed; ``log`` has all it said."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


def build_env(**more: str) -> dict[str, str]:
    """Return an environment in which nothing but ``more`` steers a build.

    The caller's CFLAGS, MAKEFLAGS, ARCH or locale would make it another build of the same key.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC", **more}


def git_env() -> dict[str, str]:
    """Return an environment in which git goes by the folder that it is told, and writes nothing.

    A git hook runs with GIT_DIR, GIT_INDEX_FILE and more of the repository that it is of: with
    these, ``git -C FOLDER`` would read that one.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def run_logged(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: Path,
    on_line: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a tool to its end, appending stdout and stderr to ``log`` and handing on each line.

    Raises ToolError where it fails. Where the caller is interrupted, the tool's whole process
    group goes down with it: the tool has a session of its own, so that nothing else does.
    """
    with log.open("a", buffering=1, errors="replace") as record:
        record.write(f"$ cd {cwd} && {shlex.join(argv)}\n")
        record.flush()
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as exc:
            raise missing(argv[0]) from exc
        with process, ended_with_its_caller(process):
            for line in process.stdout or ():
                record.write(line)
                on_line(line.rstrip("\n"))
            status = process.wait()
    if status:
        _raise(argv, status, log)


@contextmanager
def ended_with_its_caller(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a tool and its process group if its caller is interrupted; end_all() ends it, too."""
    with _lock:
        _running.add(process)
    try:
        yield
    except BaseException:
        _end(process)
        raise
    finally:
        with _lock:
            _running.discard(process)


def end_all() -> None:
    """End all tools that run in threads: Ctrl-C interrupts the main thread only."""
    with _lock:
        for process in _running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def output_of(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """Return what a quick tool prints; BuildError with its last words where it fails."""
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=build_env(), capture_output=True, text=True, check=False
        )
    except FileNotFoundError as exc:
        raise missing(argv[0]) from exc
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or "(it printed nothing)").splitlines()
        last = "\n  ".join(words[-10:])
        raise BuildError(f"{shlex.join(argv)}: exit status {done.returncode}:\n  {last}")
    return done.stdout


def run_git(
    *words: str, cwd: Path, env: Mapping[str, str], stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a quick git command to its end, well or not; BuildError where there is no git.

    Names of files and what is in them need not be text, so all of it is bytes.
    """
    argv = ("git", *words)
    try:
        return subprocess.run(argv, cwd=cwd, env=env, input=stdin, capture_output=True, check=False)
    except FileNotFoundError as exc:
        raise missing("git") from exc


def missing(tool: str) -> BuildError:
    """Return the error for a tool that is not installed."""
    return BuildError(f"{tool}: not installed; run ./bootstrap, which installs what builds need")


def _end(process: subprocess.Popen[str]) -> None:
    """End a tool and all its children, and wait for that: they share its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.read()  # its end is that of the last child, which has it open, too
        process.stdout.close()


def _raise(argv: Sequence[str], status: int, log: Path) -> None:
    lines = log.read_text(errors="replace").splitlines()
    if any("No space left on device" in line for line in lines[-200:]):
        raise disk_full(log.parent)
    last = "\n  ".join(lines[-10:])
    tool = Path(argv[0]).name
    raise ToolError(f"{tool}: exit status {status}:\n  {last}\nComplete output: {log}", log)
