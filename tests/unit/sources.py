"""A small source tree, and a user with few rights, for tests of what reads and copies files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zclab.build.command import git_env


def git(folder: Path, *words: str) -> None:
    """Run git as somebody, in a folder, whatever runs the tests."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    argv = ("git", *identity, "-C", str(folder), *words)
    subprocess.run(argv, env=git_env(), check=True, capture_output=True)


def small_source(folder: Path) -> Path:
    """Write a source tree with a symlink, a script and a file that git ignores."""
    (folder / "net").mkdir(parents=True)
    (folder / "Makefile").write_text("all:\n")
    (folder / "net/one.c").write_text("one\n")
    (folder / "net/other.c").write_text("other\n")
    (folder / "script").write_text("#!/bin/sh\n")
    (folder / "script").chmod(0o755)
    (folder / "link").symlink_to("net/one.c")
    (folder / ".gitignore").write_text("*.o\n")
    (folder / "net/one.o").write_text("object\n")
    return folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may not read and write everything."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
