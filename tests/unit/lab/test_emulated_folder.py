"""The folder of an emulated lab: what is cleared away is a lab's, and nothing else."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import ConfigError, LabError
from zclab.lab import emulated
from zclab.progress import silent


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    return tmp_path


def test_a_folder_that_no_lab_made_stays(state: Path) -> None:
    """ZCLAB_STATE may be a folder that is not ours alone, such as the home."""
    file = state / "thesis" / "chapter"
    file.parent.mkdir()
    file.write_text("precious")

    assert not emulated.down("thesis")
    with pytest.raises(LabError, match=f"^{file.parent}: not the folder of a lab"):
        emulated.up(load_lab("emulated", name="thesis"), Mock(), with_me=True, progress=silent)

    assert [path.name for path in file.parent.iterdir()] == ["chapter"]


def test_a_link_is_no_lab_s_folder(state: Path) -> None:
    other = state / "other"
    other.mkdir()
    for name in ("lock", "seed.tar"):
        (other / name).touch()
    (state / "linked").symlink_to(other)

    assert not emulated.down("linked")
    assert (other / "seed.tar").exists()


def test_the_remains_of_a_lab_go_but_its_logs(state: Path) -> None:
    elsewhere = state / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    folder = state / "lab"
    folder.mkdir()
    for name in ("lock", "seed.tar", "console.log", "id_ed25519"):
        (folder / name).touch()
    (folder / "link").symlink_to(elsewhere)

    assert emulated.down("lab")
    assert {path.name for path in folder.iterdir()} == {"lock", "console.log"}
    assert (elsewhere / "file").exists()


@pytest.mark.parametrize("name", ["..", "/etc", "../x", "a/b", ".", "-x", "~", "a\n", "x" * 33])
def test_a_lab_s_name_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)found .*, allowed: up to 32 lower-case letters"):
        load_lab("emulated", name=name)
