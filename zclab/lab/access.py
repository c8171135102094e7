"""The ways into a lab: SSH to its host, SSH through it to its guest, libvirt over SSH.

They are files in the lab's folder, so that people (``FOLDER/ssh zclab-guest``), libvirt's tunnel
and zclab itself go in by the same configuration and check the same host keys.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from zclab.lab.keys import KeyPair
from zclab.lab.names import GUEST_ADDRESS
from zclab.lab.ssh_config import (
    GUEST,
    guest_config,
    host_config,
    ssh_script,
    tunnel_script,
    users_host_config,
)
from zclab.model import Endpoint
from zclab.runner import LocalRunner, Runner, SshRunner

_GUEST_KEYS = (
    "guest_id_ed25519",
    "guest_id_ed25519.pub",
    "guest_host_key",
    "guest_host_key.pub",
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """A lab's folder, in which ``write_access`` left what is needed to get in.

    ``endpoint`` is None where this machine is the host itself.
    """

    folder: Path
    endpoint: Endpoint | None
    guest_address: str = GUEST_ADDRESS

    @property
    def libvirt_uri(self) -> str:
        """The host's libvirtd, through an ssh that reads the lab's configuration."""
        if self.endpoint is None:
            return "qemu:///system"
        return f"qemu+ssh://host/system?command={quote(str(self.folder / 'tunnel'))}&no_tty=1"

    @property
    def authorized_key(self) -> str:
        """The public key that the guest lets in."""
        return (self.folder / "guest_id_ed25519.pub").read_text().strip()

    @property
    def guest_host_key(self) -> Path:
        """The guest's own private key, in the format of its SSH server."""
        return self.folder / "guest_host_key"

    def host_runner(self, where: str = "host") -> Runner:
        """Return a runner for the host, which messages call ``where``."""
        if self.endpoint is None:
            return LocalRunner(where)
        config = self.folder / "ssh_config"
        return SshRunner(where, config=config, destination=self.endpoint.address)

    def guest_runner(self, host: Runner) -> SshRunner:
        """Return a runner for the guest; a host that is far away is its gateway."""
        return SshRunner(
            "guest",
            config=self.folder / "guest_ssh_config",
            destination=GUEST,
            gateway=host if isinstance(host, SshRunner) else None,
        )

    def peer_runner(self, endpoint: Endpoint) -> SshRunner:
        """Return a runner for a peer of its own, which is reached as a host is."""
        config = self.folder / "peer_ssh_config"
        config.write_text(users_host_config(endpoint))
        return SshRunner("peer", config=config, destination=endpoint.address)


def write_access(
    folder: Path,
    endpoint: Endpoint | None,
    *,
    users: bool = False,
    seed: bytes | None = None,
    guest_address: str = GUEST_ADDRESS,
) -> Access:
    """Write everything that Access needs to ``folder``; make the guest's keys if there are none.

    Keys that are there stay: a run may be using them. With ``users`` the host is one that ssh
    knows by the user's own configuration, with ``seed`` the keys derive from it.
    """
    if not all((folder / name).exists() for name in _GUEST_KEYS):
        user, guest = KeyPair.generate(seed, "user"), KeyPair.generate(seed, "guest")
        write_private(folder / "guest_id_ed25519", user.openssh)
        (folder / "guest_id_ed25519.pub").write_text(f"{user.public}\n")
        write_private(folder / "guest_host_key", guest.dropbear)
        (folder / "guest_host_key.pub").write_text(f"{guest.public}\n")
        (folder / "guest_known_hosts").unlink(missing_ok=True)
    _add_known_host(folder, guest_address)
    config = guest_config(folder, guest_address, endpoint)
    (folder / "guest_ssh_config").write_text(config)
    if endpoint:
        host = users_host_config(endpoint) if users else host_config(endpoint, users=False)
        config += host
        _write_program(folder / "ssh", ssh_script(folder))
        _write_program(folder / "tunnel", tunnel_script(folder, endpoint.address))
    (folder / "ssh_config").write_text(config)
    return Access(folder=folder, endpoint=endpoint, guest_address=guest_address)


def share_guest_keys(first: Path, second: Path) -> None:
    """Have the folder of a second host know the guest by the keys of the first: it is the same."""
    for name in _GUEST_KEYS:
        write_private(second / name, (first / name).read_bytes())


def _add_known_host(folder: Path, guest_address: str) -> None:
    """Add the guest's address to those that its host key is known by.

    A lab whose file has got another NIC reaches its guest at another address.
    """
    known = folder / "guest_known_hosts"
    line = f"{guest_address} {(folder / 'guest_host_key.pub').read_text()}"
    lines = known.read_text().splitlines(keepends=True) if known.exists() else []
    if line not in lines:
        known.write_text("".join((*lines, line)))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody but its owner can ever read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(data)


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o700)
