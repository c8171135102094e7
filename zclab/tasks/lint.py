"""What `invoke check` runs: named gates, every one of them whatever the others said."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from zclab.build.command import git_env
from zclab.errors import ZclabError

ROOT = Path(__file__).resolve().parents[2]
SERIES = ROOT / "kernel-patches" / "6.12"
VENV_BIN = Path(sys.executable).parent
TIMEOUT_S = 600


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A command that exits with 0 where all is well; ``skip`` says why it cannot be run.

    It runs in the project's root, or with ``elsewhere`` in an empty folder.
    """

    name: str
    argv: tuple[str, ...] = ()
    skip: str = ""
    elsewhere: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a gate went, and what it printed."""

    gate: Gate
    status: Literal["ok", "skipped", "FAILED"]
    output: str = ""
    seconds: float = 0.0


def check(*, checkpatch: Path | None, say: Callable[[str], None] = print) -> None:
    """Run all gates and say how each went; raise ZclabError that names those that failed.

    ``checkpatch`` is scripts/checkpatch.pl of an unpacked kernel tree, or None without one.
    """
    outcomes = []
    for gate in gates(checkpatch):
        outcome = run(gate)
        outcomes.append(outcome)
        say(described(outcome))
    failed = [outcome.gate.name for outcome in outcomes if outcome.status == "FAILED"]
    if failed:
        raise ZclabError(f"check: {len(failed)} of {len(outcomes)} failed: {', '.join(failed)}")


def gates(checkpatch: Path | None) -> tuple[Gate, ...]:
    """Return the gates in the order in which they run: quick ones first."""
    return (
        Gate(name="lint", argv=(_tool("ruff"), "check", ".")),
        Gate(name="format", argv=(_tool("ruff"), "format", "--check", ".")),
        Gate(name="layers", argv=(_tool("lint-imports"),)),
        Gate(name="types", argv=(_tool("mypy"),)),
        _shell_gate(),
        links_gate(documents(ROOT)),
        _series_gate(checkpatch),
    )


def run(gate: Gate) -> Outcome:
    """Run one gate to its end."""
    if gate.skip:
        return Outcome(gate=gate, status="skipped", output=gate.skip)
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="zclab-check-") as empty:
            done = subprocess.run(
                gate.argv,
                cwd=empty if gate.elsewhere else ROOT,
                env=git_env(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
    except FileNotFoundError:
        hint = "not installed; run `./bootstrap invoke check`"
        return Outcome(gate=gate, status="FAILED", output=f"{gate.argv[0]}: {hint}")
    except subprocess.TimeoutExpired:
        return Outcome(gate=gate, status="FAILED", output=f"no end within {TIMEOUT_S} s")
    return Outcome(
        gate=gate,
        status="FAILED" if done.returncode else "ok",
        output=done.stdout.strip(),
        seconds=time.monotonic() - began,
    )


def described(outcome: Outcome) -> str:
    """Return a line for an outcome; a failed gate's command and output follow it, indented."""
    line = f"{outcome.status:8} {outcome.gate.name:10}"
    if outcome.status == "skipped":
        return f"{line} {outcome.output}"
    line += f" {outcome.seconds:.1f} s"
    if outcome.status == "ok":
        return line
    said = [f"$ {shlex.join(outcome.gate.argv)}", *outcome.output.splitlines()]
    return "\n".join([line, *(f"    {text}" for text in said)])


def shell_scripts(root: Path) -> tuple[str, ...]:
    """Return the tracked files that begin as a POSIX shell script does."""
    return tuple(name for name in _tracked(root) if _is_shell_script(root / name))


def documents(root: Path) -> tuple[str, ...]:
    """Return the tracked Markdown files."""
    return tuple(name for name in _tracked(root) if name.endswith(".md") and (root / name).exists())


def _tracked(root: Path) -> tuple[str, ...]:
    listed = subprocess.run(
        ("git", "ls-files", "-z"),
        cwd=root,
        env=git_env(),
        capture_output=True,
        text=True,
        check=False,
    )
    return tuple(name for name in listed.stdout.split("\0") if name)


def _is_shell_script(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(9).startswith(b"#!/bin/sh")


def _shell_gate() -> Gate:
    if not shutil.which("shellcheck"):
        return Gate(name="shell", skip="no shellcheck; install the package of that name")
    scripts = shell_scripts(ROOT)
    if not scripts:
        return Gate(name="shell", skip="no scripts tracked by git here")
    return Gate(name="shell", argv=("shellcheck", *scripts))


def links_gate(names: Sequence[str]) -> Gate:
    """Return the gate for the links of these documents."""
    if not names:
        return Gate(name="links", skip="no documents tracked by git here")
    return Gate(name="links", argv=(sys.executable, "-m", "zclab.tasks.links", *names))


def _series_gate(checkpatch: Path | None) -> Gate:
    """Check the patches as the kernel's reviewers will; the cover letter is not a patch.

    Elsewhere, because checkpatch takes a repository that it runs in for the kernel's, and then does
    not know what the kernel declares: ``struct Qdisc`` would be CamelCase of ours.
    """
    patches = sorted(path for path in SERIES.glob("*.patch") if not path.name.startswith("0000-"))
    if not patches:
        return Gate(name="series", skip=f"no patches in {SERIES.relative_to(ROOT)}")
    if checkpatch is None:
        return Gate(name="series", skip="no kernel source yet; `invoke build-kernel` fetches it")
    return Gate(name="series", argv=checkpatch_argv(checkpatch, patches), elsewhere=True)


def checkpatch_argv(checkpatch: Path, patches: Sequence[Path]) -> tuple[str, ...]:
    """Return the strict check, without exceptions, that names each complaint's type."""
    options = ("--strict", "--show-types", "--quiet", "--color=never")
    return ("perl", str(checkpatch), *options, *map(str, patches))


def _tool(name: str) -> str:
    return str(VENV_BIN / name)
