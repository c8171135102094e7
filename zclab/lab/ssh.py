"""Labs of hosts that exist already: nothing to bring up, only a way in to write down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zclab.errors import LabError
from zclab.lab.access import Access, share_guest_keys, write_access
from zclab.lab.emulated import folder_of, locked, second_folder
from zclab.lab.names import names_of
from zclab.lab.ssh_config import users_host_config
from zclab.model import Endpoint, Lab
from zclab.runner import SshRunner


def access(lab: Lab) -> Access:
    """Return the way into a lab's host, with keys for its guests."""
    if lab.host is None:
        raise LabError(f"{lab.name} is not an ssh lab")
    folder = folder_of(lab.name)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    with locked(folder):
        return _write(lab, folder, lab.host)


def second_access(lab: Lab) -> Access:
    """Return the way into a lab's second host, whose guests have the keys of the first."""
    if lab.second is None or lab.second.host is None:
        raise LabError(f"{lab.name} is not an ssh lab with a second host")
    first = access(lab).folder
    folder = second_folder(first)
    folder.mkdir(mode=0o700, exist_ok=True)
    with locked(first):
        share_guest_keys(first, folder)
        return _write(lab, folder, lab.second.host)


def _write(lab: Lab, folder: Path, endpoint: Endpoint) -> Access:
    address = names_of(lab).guest_address
    return write_access(folder, endpoint, users=True, guest_address=address)


@contextmanager
def reached(endpoint: Endpoint, where: str) -> Iterator[SshRunner]:
    """Have a connection to a host that is called ``where`` in messages; no lab need know it."""
    with tempfile.TemporaryDirectory(prefix="zclab-") as folder:
        config = Path(folder) / "ssh_config"
        config.write_text(users_host_config(endpoint))
        runner = SshRunner(where, config=config, destination=endpoint.address)
        try:
            runner.connect()
            yield runner
        finally:
            runner.close()
