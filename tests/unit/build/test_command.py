"""Build tools: their output is kept, and an interrupt ends all of their processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from zclab.build.command import ToolError, build_env, git_env, output_of, run_logged
from zclab.errors import BuildError
from zclab.runner import wait_until


def test_the_log_has_command_and_output(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log"
    argv = ("sh", "-c", "echo out; echo err >&2")
    run_logged(argv, cwd=tmp_path, env=build_env(), log=log, on_line=lines.append)

    assert lines == ["out", "err"]
    assert log.read_text() == f"$ cd {tmp_path} && sh -c 'echo out; echo err >&2'\nout\nerr\n"


def test_a_failure_has_the_last_words_and_the_log(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"(?s)sh: exit status 3:.*broken.*log") as caught:
        run_logged(
            ("sh", "-c", "echo broken; exit 3"),
            cwd=tmp_path,
            env=build_env(),
            log=tmp_path / "log",
        )

    assert tmp_path / "log" == caught.value.log


def test_a_full_disk_in_a_tool_s_words_is_explained(tmp_path: Path) -> None:
    argv = ("sh", "-c", "echo 'fatal error: error writing to x.s: No space left on device'; exit 1")

    with pytest.raises(BuildError, match=r"disk is full.*invoke clean"):
        run_logged(argv, cwd=tmp_path, env=build_env(), log=tmp_path / "log")


def test_a_missing_tool_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no-such-tool: not installed; run"):
        run_logged(("no-such-tool",), cwd=tmp_path, env=build_env(), log=tmp_path / "log")
    with pytest.raises(BuildError, match="no-such-tool: not installed; run"):
        output_of(("no-such-tool",))


def test_an_interrupt_ends_grandchildren_too(tmp_path: Path) -> None:
    """Make's compilers must not go on in a work tree that the next build takes over."""
    children: list[int] = []

    def interrupt(line: str) -> None:
        children.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_logged(
            ("sh", "-c", "sleep 600 & echo $!; wait"),
            cwd=tmp_path,
            env=build_env(),
            log=tmp_path / "log",
            on_line=interrupt,
        )

    status = Path(f"/proc/{children[0]}/stat")
    wait_until(
        lambda: not status.exists() or status.read_text().split()[2] == "Z",
        what="the end of the grandchild, which has closed its files",
        deadline_s=30,
    )


def test_the_caller_s_environment_does_not_steer_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCFLAGS", "-O0")
    monkeypatch.setenv("ARCH", "arm64")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    env = build_env(EXTRA="1")

    assert "KCFLAGS" not in env
    assert "ARCH" not in env
    assert ("C", "1", os.environ["PATH"]) == (env["LC_ALL"], env["EXTRA"], env["PATH"])


def test_git_reads_the_repository_that_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a git hook, too, which is told its own repository by the environment."""
    for name in ("ours", "hook"):
        subprocess.run(("git", "init", "--quiet", str(tmp_path / name)), env=git_env(), check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "hook" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "hook"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.worktree")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "hook"))

    found = subprocess.run(
        ("git", "-C", str(tmp_path / "ours"), "rev-parse", "--show-toplevel"),
        env=git_env(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == str(tmp_path / "ours")
