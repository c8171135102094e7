"""Builds beside each other end together."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from zclab.build.command import ToolError, run_logged
from zclab.build.parallel import Beside
from zclab.errors import BuildError
from zclab.runner import wait_until


def a_tool(folder: Path) -> None:
    """Run a tool that says its PID, and would run for ever."""
    folder.mkdir()
    script = f"echo $$ > {folder}/pid.new && mv {folder}/pid.new {folder}/pid; sleep 1000"
    run_logged(("sh", "-c", script), cwd=folder, env=dict(os.environ), log=folder / "log")


def wait_for(folder: Path) -> int:
    """Return the PID of the tool of a folder once it runs."""
    pid = folder / "pid"
    wait_until(pid.exists, deadline_s=30, what="the tool runs")
    return int(pid.read_text())


def is_gone(pid: int) -> bool:
    return (
        subprocess.run(("kill", "-0", str(pid)), capture_output=True, check=False).returncode != 0
    )


def test_both_results_are_there_at_the_end() -> None:
    with Beside(lambda: 7) as beside:
        mine = 8

    assert (mine, beside.result()) == (8, 7)


def test_an_interrupted_caller_ends_the_tools_of_the_other(tmp_path: Path) -> None:
    def interrupted() -> None:
        with Beside(lambda: a_tool(tmp_path / "tool")):
            wait_for(tmp_path / "tool")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    wait_until(
        lambda: is_gone(wait_for(tmp_path / "tool")), deadline_s=30, what="the tool has ended"
    )


def test_the_first_error_ends_both_and_is_the_one_that_is_raised(tmp_path: Path) -> None:
    def fail() -> None:
        wait_for(tmp_path / "tool")
        raise BuildError("the mirror cannot be reached")

    with pytest.raises(BuildError, match="the mirror cannot be reached"), Beside(fail):
        a_tool(tmp_path / "tool")

    assert is_gone(wait_for(tmp_path / "tool"))


def test_an_error_of_the_caller_ends_the_other_and_is_raised(tmp_path: Path) -> None:
    def failing() -> None:
        with Beside(lambda: a_tool(tmp_path / "tool")):
            wait_for(tmp_path / "tool")
            run_logged(("false",), cwd=tmp_path, env={}, log=tmp_path / "log")

    with pytest.raises(ToolError, match="false"):
        failing()
    wait_until(
        lambda: is_gone(wait_for(tmp_path / "tool")), deadline_s=30, what="the tool has ended"
    )


def test_an_error_of_the_other_alone_comes_with_its_result() -> None:
    def fail() -> None:
        raise BuildError("no package")

    with Beside(fail) as beside:
        pass

    with pytest.raises(BuildError, match="no package"):
        beside.result()
