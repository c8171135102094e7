"""The check before measuring: a path that loses or changes data, told apart."""

from __future__ import annotations

import pytest

from zclab.bench import integrity
from zclab.errors import CommandError, TrialError
from zclab.model import Network
from zclab.runner.fake import FakeRunner

SENT = f"{'a' * 64}  -\n"
ALL = f"{integrity.SIZE_BYTES}\n"


def check(*, to_guest: str, to_peer: str | None = None) -> str:
    """Run the check where the receivers print this; the way back is None where it is not tried."""
    network = Network()
    with FakeRunner("peer") as peer, FakeRunner("guest") as guest:
        peer.expect(("sh", "-c", integrity._MAKE), stdout=SENT)
        guest.expect(("sh", "-c", integrity._GUEST_RECEIVES), stdout=to_guest)
        peer.expect(("sh", "-c", integrity._PEER_SENDS, network.guest_ip))
        if to_peer is not None:
            peer.expect(("sh", "-c", integrity._PEER_RECEIVES), stdout=to_peer)
            guest.expect(("sh", "-c", integrity._GUEST_SENDS, network.peer_ip))
            if to_peer == ALL + SENT:
                peer.expect(("rm", integrity._DATA, integrity._BACK))
                guest.expect(("rm", integrity._DATA))
        return integrity.check(peer, guest, network)


def test_data_that_arrives_as_it_was_sent() -> None:
    assert check(to_guest=ALL + SENT, to_peer=ALL + SENT) == "a" * 64


def test_data_that_changed_makes_the_trials_invalid() -> None:
    with pytest.raises(TrialError, match="16 MiB in direction tx arrived changed"):
        check(to_guest=ALL + SENT, to_peer=f"{ALL}{'b' * 64}  -\n")


@pytest.mark.parametrize("arrived", [f"1048576\n{'b' * 64}  -\n", ""])
def test_data_that_does_not_all_arrive_is_a_stall_and_no_corruption(arrived: str) -> None:
    size = arrived.partition("\n")[0] or "0"

    with pytest.raises(CommandError, match=f"direction rx stalled: {size} of 16777216 bytes"):
        check(to_guest=arrived)
