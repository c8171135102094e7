"""What ssh makes of a lab's configuration of it, beside the user's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zclab.lab.access import write_access
from zclab.model import Endpoint

CANONICAL = "CanonicalizeHostname yes"


@pytest.mark.parametrize(
    ("mine", "user"),
    [
        ((), "root"),
        (("Host *", "  User admin"), "admin"),
        ((CANONICAL,), "root"),
        ((CANONICAL, "Match canonical", "  User admin"), "admin"),
        ((CANONICAL, "Host 192.0.2.*", "  User admin"), "admin"),
        ((CANONICAL, "Host lab1", "  User admin"), "admin"),
        (("Match final", "  User admin"), "admin"),
        (("Match final host other", "  User admin"), "root"),
        (("Match canonical", "  User admin"), "root"),
        (("Host 192.0.2.*", "  User admin"), "root"),
    ],
)
def test_the_user_s_configuration_goes_before_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine: tuple[str, ...], user: str
) -> None:
    """Whether ssh reads it once or twice, and without a second reading of our own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    lines = (*mine, "Host lab1", "  HostName 192.0.2.7", "")
    (tmp_path / ".ssh" / "config").write_text("\n".join(lines))
    lab1 = Endpoint(address="lab1")
    access = write_access(tmp_path, lab1, users=True)
    access.peer_runner(lab1)

    for config in ("ssh_config", "peer_ssh_config"):
        argv = ("ssh", "-G", "-F", tmp_path / config, "lab1")
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert {f"user {user}", "hostname 192.0.2.7"} <= set(said.splitlines())
