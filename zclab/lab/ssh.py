"""Labs of hosts that exist already: nothing to bring up, only a way in to write down."""

from __future__ import annotations

from zclab.errors import LabError
from zclab.lab.access import Access, write_access
from zclab.lab.emulated import folder_of, locked
from zclab.lab.names import names_of
from zclab.model import Lab


def access(lab: Lab) -> Access:
    """Return the way into a lab's host, with keys for its guests."""
    if lab.host is None:
        raise LabError(f"{lab.name} is not an ssh lab")
    folder = folder_of(lab.name)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    with locked(folder):
        address = names_of(lab).guest_address
        return write_access(folder, lab.host, users=True, guest_address=address)
