"""Where labs have their files: refused at once where they could not work there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import ConfigError
from zclab.experiment import builds
from zclab.lab import emulated
from zclab.tasks import doctor


@pytest.fixture(autouse=True)
def own_places(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(short_path / "cache"))
    monkeypatch.setenv("ZCLAB_STATE", str(short_path / "state"))


def test_a_state_folder_too_long_for_sockets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest path in one is that of console.sock in the folder of a virtual machine."""
    around = Path(tempfile.gettempdir())
    longest = emulated.SOCKET_PATH_BYTES - len("/virtual-01234567/console.sock")
    fitting = around / ("x" * (longest - len(f"{around}/")))
    monkeypatch.setenv("ZCLAB_STATE", str(fitting))

    assert emulated.folder_of("virtual-76543210") == fitting / "virtual-76543210"
    with pytest.raises(
        ConfigError, match=r"console\.sock: the path has 108 bytes; .* at most 107; set"
    ):
        emulated.folder_of("virtual-765432109")

    monkeypatch.setenv("ZCLAB_STATE", f"{fitting}x")
    with pytest.raises(ConfigError, match="set ZCLAB_STATE to a folder with a shorter path"):
        emulated.root()


@pytest.mark.parametrize("name", ["a,b", "a%b", 'a"b', "a\nb", "$(a)"])
def test_a_state_folder_that_qemu_and_ssh_misread_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", f"{tmp_path}/{name}")

    with pytest.raises(
        ConfigError, match=r"contains .*, which .* misread; set ZCLAB_STATE to a folder"
    ):
        emulated.root()


def test_a_lab_without_a_place_is_refused_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", f"{tmp_path}/a,b")

    with pytest.raises(ConfigError, match="ZCLAB_STATE"):
        builds.build_lab(load_lab("emulated"), series="none")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["ZCLAB_CACHE", "ZCLAB_STATE"])
def test_the_doctor_finds_folders_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    assert (doctor.check_folders()[0].name, doctor.check_folders()[0].status) == ("folders", "ok")

    monkeypatch.setenv(variable, f"{tmp_path}/a,b")
    finding = doctor.check_folders()[0]

    assert (finding.name, finding.status) == ("folders", "fail")
    assert finding.remedy.startswith(f"set {variable} to a folder")
