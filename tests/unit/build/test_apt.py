"""apt: the mirror is found in what the controller uses, and failures say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build import apt
from zclab.errors import BuildError

SYSTEM = """\
NodeSource|main|nodistro|https://node.example/node_20.x/
Debian|main|bookworm-security|http://mirror.example/debian-security/
Debian|main|bookworm-updates|http://mirror.example/debian-updates/
Debian|contrib|bookworm|http://contrib.example/debian/
Debian|main|bookworm|http://mirror.example/debian/
"""


def test_the_mirror_is_the_release_s_own_archive() -> None:
    assert apt.mirror_of(SYSTEM) == "http://mirror.example/debian/"


def test_a_controller_whose_lists_were_never_fetched_will_do() -> None:
    targets = "$(ORIGIN)|main|trixie|http://mirror.example/debian/\n"

    assert apt.mirror_of(targets) == "http://mirror.example/debian/"


@pytest.mark.parametrize(
    "targets",
    ["", "Ubuntu|main|stable|http://ubuntu.example/\n", "Other|main|noble|http://u.example/\n"],
)
def test_no_debian_archive_is_an_error_with_a_remedy(targets: str) -> None:
    with pytest.raises(BuildError, match=r"no Debian archive .* add one"):
        apt.mirror_of(targets)


def test_the_configuration_keeps_all_state_in_the_cache() -> None:
    """Nothing of the system's is used for state, and every folder that apt writes is ours."""
    config = apt.config_of(Path("/cache/apt"))

    for item in (
        'Dir::Etc::sourcelist "/cache/apt/sources.list";',
        'Dir::Etc::sourceparts "-";',
        'Dir::State::Lists "/cache/apt/lists";',
        'Dir::State::status "/cache/apt/status";',
        'Dir::Cache "/cache/apt";',
        'APT::Architecture "amd64";',
    ):
        assert item in config


def test_sources_name_suite_and_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apt, "_run", lambda _: SYSTEM)

    assert apt.Apt(tmp_path).sources_list() == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        " http://mirror.example/debian/ trixie main\n"
        "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
        " http://mirror.example/debian/ trixie main\n"
    )


def test_a_mirror_out_of_reach_is_said_to_be() -> None:
    stderr = (
        "W: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  "
        "Temporary failure resolving 'mirror.example'\n"
        "E: Some index files failed to download.\n"
    )
    error = apt._explained(("apt-get", "update"), stderr, None)

    assert "the Debian mirror cannot be reached" in str(error)
    assert "Temporary failure resolving" in str(error)
    assert "Check the network" in str(error)


def test_a_controller_without_apt_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BuildError, match=r"apt-get: not installed"):
        _ = apt.Apt(tmp_path).mirror


def test_an_unknown_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "apt/lists").mkdir(parents=True)
    (tmp_path / "apt/lists/mirror_Packages").touch()
    monkeypatch.setattr(apt, "_run", lambda *_: "")

    with pytest.raises(BuildError, match="Debian trixie has no package linux-source-9"):
        apt.Apt(tmp_path).candidate("linux-source-9")


@pytest.mark.parametrize(
    ("asked", "updates", "found"),
    [("", 0, "6.12.107-1"), ("6.12.99-1", 0, "6.12.107-1"), ("6.12.117-1", 1, "6.12.117-1")],
)
def test_lists_that_are_older_than_what_is_asked_for_are_fetched_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, asked: str, updates: int, found: str
) -> None:
    """A series that was brought up to a new kernel does not meet the old one for ever."""
    archive = ["6.12.107-1"]
    debian = apt.Apt(tmp_path)
    monkeypatch.setattr(apt, "_run", lambda *_: f"Version: {archive[-1]}\n")
    monkeypatch.setattr(debian, "update", lambda: archive.append("6.12.117-1"))
    (tmp_path / "apt/lists").mkdir(parents=True)
    (tmp_path / "apt/lists/mirror_Packages").touch()

    assert debian.candidate("linux-source-6.12", at_least=asked) == found
    assert len(archive) == 1 + updates
