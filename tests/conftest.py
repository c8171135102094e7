"""Fixtures of all tests.

| fixture | scope    | what it is                                                               |
|---------|----------|--------------------------------------------------------------------------|
| short_path | function | an empty folder with a short path                                     |
| tasks   | session  | the module tasks.py, which nobody imports                                |
| dask    | function | a dask.distributed scheduler on this machine, and workers when asked for |
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

from zclab.runner import wait_until

ROOT = Path(__file__).parents[1]

for _name in [name for name in os.environ if name.startswith("GIT_")]:
    del os.environ[_name]  # of a git hook that runs the tests: they would change its repository


@contextmanager
def started(*argv: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process of ours in a session of its own; what is left of that ends with this."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was lost and run again: tests that pass then are defects all the same."""
    lost = terminalreporter.stats.get("rerun", [])
    terminalreporter.write_sep("-", f"lost and run again: {len(lost)}")
    for report in lost:
        reason = report.longrepr.reprcrash.message.splitlines()[0]
        terminalreporter.write_line(f"{report.nodeid}: {reason}")


# Lab tests that load does not change: they run in virtual time, or have no lab. A new file is not
# among them until somebody knows that.
EXACT = {
    "test_ab.py",
    "test_account.py",
    "test_build_kernel.py",
    "test_bundle.py",
    "test_emulator_queue.py",
    "test_emulator_svm.py",
    "test_executor.py",
    "test_golden.py",
    "test_images.py",
    "test_resume.py",
    "test_virtual.py",
}


def scope_of(nodeid: str) -> str:
    """Return what one worker has to run as a whole; ``nodeid`` is a test in it.

    Labs by the wall clock are one: two of them take each other's CPU, and guests are late then.
    Lab tests that load does not change are another. Files of other tests go to whoever is free.
    """
    file = Path(nodeid.split("::", 1)[0])
    if file.parent.parts[-2:] != ("tests", "lab"):
        return str(file)
    return "exact" if file.name in EXACT else "wall clock"


class Scopes(LoadFileScheduling):
    """xdist's sharing by file, with the scopes of scope_of()."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scopes | None:
    """Have xdist's workers share the tests as above where they share files."""
    return Scopes(config, log) if config.getvalue("dist") == "loadfile" else None


class DaskProcesses:
    """A scheduler, its workers, and who uses them, each a process that can be killed."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        options = ("--host=tcp://127.0.0.1", "--port=0", "--no-dashboard")
        self.process("scheduler", sys.executable, "-m", "distributed.cli.dask_scheduler", *options)
        wait_until(lambda: bool(self.address), what="the scheduler's address", deadline_s=60)

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        found = [line for line in self.log("scheduler").splitlines() if "Scheduler at:" in line]
        return found[0].split()[-1] if found else ""

    def process(self, name: str, *argv: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a process that ends with the test."""
        log = self.folder / f"{name}.log"
        return self._stack.enter_context(started(*argv, log=log, **environment))

    def worker(self, name: str, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker, which nobody starts again where it is killed."""
        module = (sys.executable, "-m", "distributed.cli.dask_worker", self.address)
        options = ("--nthreads=1", "--no-nanny", "--no-dashboard", "--host=127.0.0.1", *options)
        return self.process(name, *module, *options, **environment)

    def log(self, name: str) -> str:
        """Return what a process has printed."""
        log = self.folder / f"{name}.log"
        return log.read_text() if log.exists() else ""


@pytest.fixture(scope="session")
def tasks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tasks", ROOT / "tasks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a folder with a path that a Unix socket can have; tmp_path's may be too long."""
    with tempfile.TemporaryDirectory(prefix="z-") as folder:
        yield Path(folder)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[DaskProcesses]:
    pytest.importorskip("distributed", reason="no dask.distributed: pip install -e '.[cluster]'")
    with ExitStack() as stack:
        yield DaskProcesses(tmp_path, stack)
