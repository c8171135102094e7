"""The ways into a lab: SSH to its host, SSH through it to its guest, libvirt over SSH.

They are files in the lab's folder, so that people (``ssh -F FOLDER/ssh_config guest``), libvirt's
tunnel and zclab itself go in by the same configuration and check the same host keys.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zclab.lab.keys import KeyPair
from zclab.model import Endpoint
from zclab.runner import LocalRunner, Runner, SshRunner

GUEST_ADDRESS = "198.18.0.2"
HOST_ADDRESS = "198.18.0.1"
"""On the management network between host and guest (RFC 2544 keeps 198.18/15 for testing)."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """A lab's folder, in which ``write_access`` left what is needed to get in.

    ``endpoint`` is None where this machine is the host itself.
    """

    folder: Path
    endpoint: Endpoint | None

    @property
    def libvirt_uri(self) -> str:
        """The host's libvirtd, through an ssh that reads the lab's configuration."""
        if self.endpoint is None:
            return "qemu:///system"
        where = f"{self.endpoint.user}@{self.endpoint.address}:{self.endpoint.port}"
        return f"qemu+ssh://{where}/system?command={self.folder}/ssh&no_tty=1"

    @property
    def authorized_key(self) -> str:
        """The public key that the guest lets in."""
        return (self.folder / "guest_id_ed25519.pub").read_text().strip()

    @property
    def guest_host_key(self) -> Path:
        """The guest's own private key, in the format of its SSH server."""
        return self.folder / "guest_host_key"

    def host_runner(self) -> Runner:
        """Return a runner for the host."""
        endpoint = self.endpoint
        if endpoint is None:
            return LocalRunner("host")
        return SshRunner(
            "host",
            address=endpoint.address,
            port=endpoint.port,
            user=endpoint.user,
            identity=_path(endpoint.identity_file),
            known_hosts=_path(endpoint.known_hosts_file),
        )

    def guest_runner(self, host: Runner) -> SshRunner:
        """Return a runner for the guest; a host that is far away is its gateway."""
        return SshRunner(
            "guest",
            address=GUEST_ADDRESS,
            identity=self.folder / "guest_id_ed25519",
            known_hosts=self.folder / "guest_known_hosts",
            gateway=host if isinstance(host, SshRunner) else None,
        )


def write_access(folder: Path, endpoint: Endpoint | None, *, seed: bytes | None = None) -> Access:
    """Make the guest's keys and write everything that Access needs to ``folder``.

    With ``seed`` the keys derive from it.
    """
    user, guest = KeyPair.generate(seed, "user"), KeyPair.generate(seed, "guest")
    write_private(folder / "guest_id_ed25519", user.openssh)
    (folder / "guest_id_ed25519.pub").write_text(f"{user.public}\n")
    write_private(folder / "guest_host_key", guest.dropbear)
    (folder / "guest_known_hosts").write_text(f"{GUEST_ADDRESS} {guest.public}\n")
    if endpoint:
        (folder / "ssh_config").write_text(_ssh_config(folder, endpoint))
        wrapper = folder / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec ssh -F {folder}/ssh_config "$@"\n')
        wrapper.chmod(0o700)
    return Access(folder=folder, endpoint=endpoint)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that nobody but its owner can ever read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(data)


def _ssh_config(folder: Path, endpoint: Endpoint) -> str:
    host = [
        f"Host host {endpoint.address}",
        f"  HostName {endpoint.address}",
        f"  Port {endpoint.port}",
        f"  User {endpoint.user}",
    ]
    if endpoint.identity_file:
        host += [f"  IdentityFile {_path(endpoint.identity_file)}", "  IdentitiesOnly yes"]
    if endpoint.known_hosts_file:
        host += [f"  UserKnownHostsFile {_path(endpoint.known_hosts_file)}"]
    guest = [
        "Host guest",
        f"  HostName {GUEST_ADDRESS}",
        "  User root",
        f"  ProxyCommand ssh -F {folder}/ssh_config -W %h:%p host",
        f"  IdentityFile {folder}/guest_id_ed25519",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {folder}/guest_known_hosts",
    ]
    every = ["Host *", "  StrictHostKeyChecking yes", "  BatchMode yes", "  LogLevel ERROR"]
    # libvirt's tunnel has no deadline of its own, and a host that hangs closes no connection.
    every += ["  ServerAliveInterval 15", "  ServerAliveCountMax 8"]
    return "\n".join((*host, *guest, *every)) + "\n"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
