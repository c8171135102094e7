"""What one lab's host is given at its start, as a tar on its second disk.

Keys differ between labs, the guest's kernel and image between builds; the host image is the same
for all and stays read-only.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zclab.lab.keys import KeyPair

ON_HOST = "/var/lib/zclab"
"""Where a host keeps what zclab gave it."""


@dataclass(frozen=True, kw_only=True)
class HostKeys:
    """Whom a host lets in, and what it shows for itself."""

    user: KeyPair
    host: KeyPair


def write_seed(
    path: Path,
    *,
    files: Mapping[str, Path],
    keys: HostKeys | None = None,
) -> None:
    """Write the seed: the lab's keys, and ``files`` by their names on the host.

    A host without ``keys`` has no SSH server.
    """
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        if keys:
            _add(tar, "root/.ssh/authorized_keys", f"{keys.user.public}\n".encode())
            _add(tar, "etc/ssh/ssh_host_ed25519_key", keys.host.openssh)
        for name, source in files.items():
            _add(tar, name, source.read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name.lstrip("/"))
    member.size = len(data)
    member.mode = 0o600
    tar.addfile(member, io.BytesIO(data))
