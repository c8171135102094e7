"""The ways into a lab: SSH to its host, SSH through it to its guest, libvirt over SSH.

They are files in the lab's folder, so that people (``ssh -F FOLDER/ssh_config guest``), libvirt's
tunnel and zclab itself go in by the same configuration and check the same host keys.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from zclab.lab.keys import KeyPair
from zclab.lab.names import GUEST_ADDRESS
from zclab.model import Endpoint
from zclab.runner import LocalRunner, Runner, SshRunner


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
            address=self.guest_address,
            identity=self.folder / "guest_id_ed25519",
            known_hosts=self.folder / "guest_known_hosts",
            gateway=host if isinstance(host, SshRunner) else None,
        )


def write_access(
    folder: Path,
    endpoint: Endpoint | None,
    *,
    seed: bytes | None = None,
    guest_address: str = GUEST_ADDRESS,
) -> Access:
    """Write everything that Access needs to ``folder``; make the guest's keys if there are none.

    Keys that are there stay: a run may be using them. With ``seed`` the keys derive from it.
    """
    names = ("guest_id_ed25519", "guest_id_ed25519.pub", "guest_host_key", "guest_host_key.pub")
    if not all((folder / name).exists() for name in names):
        user, guest = KeyPair.generate(seed, "user"), KeyPair.generate(seed, "guest")
        write_private(folder / "guest_id_ed25519", user.openssh)
        (folder / "guest_id_ed25519.pub").write_text(f"{user.public}\n")
        write_private(folder / "guest_host_key", guest.dropbear)
        (folder / "guest_host_key.pub").write_text(f"{guest.public}\n")
        (folder / "guest_known_hosts").unlink(missing_ok=True)
    _add_known_host(folder, guest_address)
    if endpoint:
        (folder / "ssh_config").write_text(_ssh_config(folder, endpoint, guest_address))
        wrapper = folder / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec ssh -F {folder}/ssh_config "$@"\n')
        wrapper.chmod(0o700)
    return Access(folder=folder, endpoint=endpoint, guest_address=guest_address)


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


def _ssh_config(folder: Path, endpoint: Endpoint, guest_address: str) -> str:
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
        f"  HostName {guest_address}",
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
