"""Labs of hosts that exist already: nothing to bring up, only a way in to write down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zclab.errors import LabError
from zclab.lab.access import Access, write_access
from zclab.lab.emulated import folder_of, locked
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
        address = names_of(lab).guest_address
        return write_access(folder, lab.host, users=True, guest_address=address)


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
