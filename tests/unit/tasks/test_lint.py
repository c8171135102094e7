"""`invoke check` runs every gate, and shows what the failed ones said."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from zclab.errors import ZclabError
from zclab.tasks import lint
from zclab.tasks.lint import Gate


def test_all_gates_run_and_the_failed_ones_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    several = (
        Gate(name="first", argv=("sh", "-c", "echo one; echo two >&2; exit 1")),
        Gate(name="second", argv=("true",)),
        Gate(name="third", skip="no tool"),
        Gate(name="fourth", argv=("/nonexistent/tool",)),
    )
    monkeypatch.setattr(lint, "gates", lambda _: several)
    said: list[str] = []

    with pytest.raises(ZclabError, match="check: 2 of 4 failed: first, fourth"):
        lint.check(checkpatch=None, say=said.append)

    assert [text.split()[0] for text in said] == ["FAILED", "ok", "skipped", "FAILED"]
    assert said[0].splitlines()[1:] == [
        "    $ sh -c 'echo one; echo two >&2; exit 1'",
        "    one",
        "    two",
    ]
    assert said[2] == "skipped  third      no tool"
    assert "not installed; run `./bootstrap invoke check`" in said[3]


def test_all_well_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint, "gates", lambda _: (Gate(name="only", argv=("true",)),))

    lint.check(checkpatch=None, say=lambda _: None)


def test_a_gate_that_never_ends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lint, "TIMEOUT_S", 0.1)

    outcome = lint.run(Gate(name="slow", argv=("sleep", "60")))

    assert (outcome.status, outcome.output) == ("FAILED", "no end within 0.1 s")


def test_the_gates_have_names_of_their_own() -> None:
    names = [gate.name for gate in lint.gates(None)]

    assert names == ["lint", "format", "layers", "types", "shell", "links", "series"]


def test_the_series_is_checked_strictly_without_its_cover_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "ROOT", tmp_path)
    monkeypatch.setattr(lint, "SERIES", tmp_path)
    assert lint.gates(Path("checkpatch.pl"))[-1].skip.startswith("no patches in")
    for name in ("0000-cover-letter.patch", "0002-b.patch", "0001-a.patch", "series"):
        (tmp_path / name).touch()
    monkeypatch.setattr(lint, "shell_scripts", lambda _: ())

    gate = lint.gates(Path("scripts/checkpatch.pl"))[-1]

    assert gate.argv[:3] == ("perl", "scripts/checkpatch.pl", "--strict")
    assert [Path(word).name for word in gate.argv[-2:]] == ["0001-a.patch", "0002-b.patch"]
    assert "--ignore" not in gate.argv
    assert gate.elsewhere
    assert lint.gates(None)[-1].skip.startswith("no kernel source yet")


def test_a_gate_that_runs_elsewhere_sees_an_empty_folder() -> None:
    gate = lint.Gate(name="listing", argv=("ls", "-A"))

    assert "README.md" in lint.run(gate).output.split()
    assert lint.run(replace(gate, elsewhere=True)).output == ""


def test_shell_scripts_are_found_by_their_first_line(tmp_path: Path) -> None:
    (tmp_path / "init").write_text("#!/bin/sh\n")
    (tmp_path / "notes.sh").write_text("not a script\n")
    (tmp_path / "untracked").write_text("#!/bin/sh\n")
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    subprocess.run(("git", "add", "init", "notes.sh"), cwd=tmp_path, check=True)

    assert lint.shell_scripts(tmp_path) == ("init",)


def test_the_gates_are_about_this_tree_within_a_git_hook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(("git", "init", "--quiet", tmp_path), check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))

    assert "bootstrap" in lint.shell_scripts(lint.ROOT)
    assert lint.run(Gate(name="env", argv=("sh", "-c", "env | grep ^GIT_D"))).output == ""
