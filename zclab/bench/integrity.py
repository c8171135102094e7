"""Before anything is measured: random data through the path, each way, and the same came out.

A path that corrupts data never gets a number.
"""

from __future__ import annotations

from zclab.errors import CommandError, TrialError
from zclab.model import Network
from zclab.outside import whole_number
from zclab.runner import Runner
from zclab.units import MIB

SIZE_BYTES = 16 * MIB
PORT = 5001
STALL_S = 45
"""How long nothing may move. How long all of it takes says little: two seconds on an idle
controller, and a minute and more on one whose cores have a dozen other things to do.
"""
DEADLINE_S = 600
_DATA = "/tmp/zclab-data"  # noqa: S108 - of a lab's own machines
_BACK = "/tmp/zclab-data-back"  # noqa: S108

# Listening takes the other side a moment, so the sender tries again until it is let in.
_MAKE = f"head -c {SIZE_BYTES} /dev/urandom > {_DATA}; sha256sum < {_DATA}"
_PEER_SENDS = f"socat -u -T{STALL_S} OPEN:{_DATA} TCP4:$0:{PORT},retry=300,interval=0.1"
_GUEST_RECEIVES = f"nc -l -p {PORT} > {_DATA}; wc -c < {_DATA}; sha256sum < {_DATA}"
_GUEST_SENDS = f"i=0; until nc $0 {PORT} < {_DATA} || [ $i = 300 ]; do i=$((i+1)); sleep 0.1; done"
_PEER_RECEIVES = (
    f"rm -f {_BACK}; socat -u -T{STALL_S} TCP4-LISTEN:{PORT},reuseaddr CREATE:{_BACK}; "
    f"wc -c < {_BACK}; sha256sum < {_BACK}"
)


def check(peer: Runner, guest: Runner, network: Network) -> str:
    """Send SIZE_BYTES of random data to the guest and back; return their SHA-256.

    Raises TrialError where what arrived differs, and CommandError where not all of it did because
    nothing moved for STALL_S seconds; both name the direction.
    """
    sent = _hash(peer.run(("sh", "-c", _MAKE), timeout_s=DEADLINE_S).stdout)
    receiver = guest.start(("sh", "-c", _GUEST_RECEIVES))
    peer.run(("sh", "-c", _PEER_SENDS, network.guest_ip), timeout_s=DEADLINE_S)
    _compare("rx", sent, receiver.wait(timeout_s=4 * STALL_S).stdout)
    receiver = peer.start(("sh", "-c", _PEER_RECEIVES))
    guest.run(("sh", "-c", _GUEST_SENDS, network.peer_ip), timeout_s=DEADLINE_S)
    _compare("tx", sent, receiver.wait(timeout_s=4 * STALL_S).stdout)
    peer.run(("rm", _DATA, _BACK))
    guest.run(("rm", _DATA))
    return sent


def _hash(text: str) -> str:
    return text.partition(" ")[0]


def _compare(direction: str, sent: str, arrived: str) -> None:
    """Compare with what the receiver printed: the number of bytes, and their SHA-256."""
    size, _, digest = arrived.partition("\n")
    count = whole_number(size or "0", f"direction {direction}: bytes that arrived")
    if count < SIZE_BYTES:
        raise CommandError(
            f"direction {direction} stalled: {count} of {SIZE_BYTES} bytes of random data "
            f"arrived, then nothing moved for {STALL_S} s"
        )
    if sent != _hash(digest):
        msg = (
            f"{SIZE_BYTES // MIB} MiB in direction {direction} arrived changed: "
            f"SHA-256 {sent} became {_hash(digest)}"
        )
        raise TrialError(msg)
