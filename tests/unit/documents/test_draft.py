"""A lab file that the doctor writes is one that zclab reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.test_inventory import taken
from zclab.documents import draft
from zclab.errors import ConfigError
from zclab.host.inventory import EthernetNic
from zclab.model import Endpoint, Peer

HERE = taken()
ENDS: tuple[EthernetNic, EthernetNic] = (HERE.nics[1], HERE.nics[2])


@pytest.fixture(autouse=True)
def _labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "LABS", tmp_path)


@pytest.mark.parametrize(
    "host",
    [
        Endpoint(address="hypervisor"),
        Endpoint(address="fe80::1%eth0", user="dev"),
        Endpoint(address="007", port=2222, user="1e3"),
    ],
)
def test_what_is_written_is_read_as_that_lab(host: Endpoint) -> None:
    lab = draft.write(draft.place("rack7"), host=host, peer=None, ends=ENDS, here=HERE)

    assert lab.name == "rack7"
    assert lab.host == host
    assert (lab.nic, lab.peer) == ("0000:01:00.0", Peer(nic="0000:02:00.0"))
    assert (lab.guest.vcpus, lab.guest.memory_mib) == (1, 1161)


def test_a_peer_of_its_own_needs_no_namespace() -> None:
    peer = Endpoint(address="peer.example")

    lab = draft.write(
        draft.place("rack7"), host=Endpoint(address="h"), peer=peer, ends=ENDS, here=HERE
    )

    assert lab.peer == Peer(nic="0000:02:00.0", endpoint=peer, netns=None)


@pytest.mark.parametrize("name", ["..", "a/b", "", ".", "Rack 7", "x" * 300])
def test_a_name_that_no_lab_may_have_is_refused_before_anything_is_tried(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"--write: found .*allowed: the name of a new lab"):
        draft.place(name)

    assert not list(tmp_path.iterdir())


def test_a_lab_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "rack7.yaml").write_text("mine")

    with pytest.raises(ConfigError, match=r"rack7\.yaml is there; remove it, or say another name"):
        draft.place("rack7")
