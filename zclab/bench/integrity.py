"""Before anything is measured: random data through the path, each way, and the same came out.

A path that corrupts data never gets a number.
"""

from __future__ import annotations

from zclab.errors import TrialError
from zclab.model import Network
from zclab.runner import Runner
from zclab.units import MIB

SIZE_BYTES = 16 * MIB
PORT = 5001
DEADLINE_S = 60
_DATA = "/tmp/zclab-data"  # noqa: S108 - of a lab's own machines

# Listening takes the other side a moment, so the sender tries again until it is let in.
_MAKE = f"head -c {SIZE_BYTES} /dev/urandom > {_DATA}; sha256sum < {_DATA}"
_PEER_SENDS = f"socat -u OPEN:{_DATA} TCP4:$0:{PORT},retry=100,interval=0.1"
_GUEST_RECEIVES = f"nc -l -p {PORT} > {_DATA}; sha256sum < {_DATA}"
_GUEST_SENDS = f"i=0; until nc $0 {PORT} < {_DATA} || [ $i = 100 ]; do i=$((i+1)); sleep 0.1; done"
_PEER_RECEIVES = f"socat -u TCP4-LISTEN:{PORT},reuseaddr STDOUT | sha256sum"


def check(peer: Runner, guest: Runner, network: Network) -> str:
    """Send SIZE_BYTES of random data to the guest and back; return their SHA-256.

    Raises TrialError where what arrived differs, naming the direction.
    """
    sent = _hash(peer.run(("sh", "-c", _MAKE), timeout_s=DEADLINE_S).stdout)
    receiver = guest.start(("sh", "-c", _GUEST_RECEIVES))
    peer.run(("sh", "-c", _PEER_SENDS, network.guest_ip), timeout_s=DEADLINE_S)
    _compare("rx", sent, _hash(receiver.wait().stdout))
    receiver = peer.start(("sh", "-c", _PEER_RECEIVES))
    guest.run(("sh", "-c", _GUEST_SENDS, network.peer_ip), timeout_s=DEADLINE_S)
    _compare("tx", sent, _hash(receiver.wait().stdout))
    peer.run(("rm", _DATA))
    guest.run(("rm", _DATA))
    return sent


def _hash(text: str) -> str:
    return text.partition(" ")[0]


def _compare(direction: str, sent: str, received: str) -> None:
    if sent != received:
        msg = (
            f"{SIZE_BYTES // MIB} MiB sent in direction {direction} did not arrive as they were: "
            f"SHA-256 {sent} became {received or '(nothing)'}"
        )
        raise TrialError(msg)
