"""Data that goes both ways between a guest and the peer until it is told to stop, and is compared.

Each side sends the same block of numbers over and over. Its length is a prime, so that no mistake
by whole pages, frames or buffers looks right, and who receives hashes all that arrives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zclab.host import netdev
from zclab.lab.session import Session
from zclab.runner import Process, Runner, wait_until
from zclab.units import MIB

BLOCK_BYTES = 1_048_573
NUMBERS = 170_000
RX_PORT, TX_PORT = 5002, 5003
GOES_ON_S = 120
"""How long it may take until data moves again; TCP's own patience with a path that comes back."""

_BLOCK = "/tmp/zclab-block"  # noqa: S108 - of a lab's own machines
_STOP = "/tmp/zclab-stop"  # noqa: S108
_COUNT = "/tmp/zclab-count"  # noqa: S108

_MAKE = f"rm -f {_STOP} {_COUNT}; seq {NUMBERS} | head -c {BLOCK_BYTES} > {_BLOCK}"
_BLOCKS = (
    f"n=0; while [ ! -e {_STOP} ]; do cat {_BLOCK} || break; n=$((n+1)); done; echo $n > {_COUNT}"
)
_GUEST_RECEIVES = f"nc -l -p {RX_PORT} | sha256sum"
_PEER_SENDS = f"{{ {_BLOCKS}; }} | socat -u - TCP4:$0:{RX_PORT},retry=600,interval=0.1"
_PEER_RECEIVES = f"socat -u TCP4-LISTEN:{TX_PORT},reuseaddr - | sha256sum"
_GUEST_SENDS = f"{{ {_BLOCKS}; }} | nc $0 {TX_PORT}"
_LISTENING = f"ss -Hltn 'sport = :{TX_PORT}' | grep -q LISTEN"


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Data on its way, in both directions."""

    session: Session
    guest: Runner
    senders: tuple[Process, Process]
    receivers: tuple[Process, Process]

    def wait_for_more(self, amount: int = MIB) -> None:
        """Wait until so many more bytes have crossed the cable, each way."""
        peer, nic = self.session.peer, self.session.peer_nic
        names = ("rx_bytes", "tx_bytes")
        before = netdev.statistics(peer, nic)

        def moved() -> bool:
            now = netdev.statistics(peer, nic)
            return all(now[name] - before[name] >= amount for name in names)

        wait_until(
            moved, what=f"{amount} more bytes, each way", deadline_s=GOES_ON_S, interval_s=0.5
        )

    def finish(self) -> int:
        """Stop sending, compare what was sent with what arrived; return the bytes in both ways."""
        total = 0
        block = "".join(f"{number}\n" for number in range(1, NUMBERS + 1)).encode()[:BLOCK_BYTES]
        for runner in (self.session.peer, self.guest):
            runner.run(("touch", _STOP))
        ways = zip(
            ("rx", "tx"),
            (self.session.peer, self.guest),
            self.senders,
            self.receivers,
            strict=True,
        )
        for way, sender, sending, receiving in ways:
            arrived = receiving.wait(timeout_s=GOES_ON_S).stdout.split()[0]
            sending.wait(timeout_s=GOES_ON_S)
            count = int(sender.run(("cat", _COUNT)).stdout)
            digest = hashlib.sha256()
            for _ in range(count):
                digest.update(block)
            assert arrived == digest.hexdigest(), f"{way}: {count} blocks arrived changed"
            total += count * BLOCK_BYTES
        return total


@contextmanager
def both_ways(session: Session, guest: Runner) -> Iterator[Traffic]:
    """Send both ways at once; ends the processes, whatever happened to their machines."""
    for runner in (session.peer, guest):
        runner.run(("sh", "-c", _MAKE))
    network = session.lab.network
    receives = guest.start(("sh", "-c", _GUEST_RECEIVES))
    sends = session.peer.start(("sh", "-c", _PEER_SENDS, network.guest_ip))
    back = session.peer.start(("sh", "-c", _PEER_RECEIVES))
    wait_until(
        lambda: session.peer.run(("sh", "-c", _LISTENING), check=False).ok,
        what="the peer to listen",
        deadline_s=20,
    )
    sends_back = guest.start(("sh", "-c", _GUEST_SENDS, network.peer_ip))
    traffic = Traffic(
        session=session,
        guest=guest,
        senders=(sends, sends_back),
        receivers=(receives, back),
    )
    try:
        traffic.wait_for_more()
        yield traffic
    finally:
        for process in (*traffic.senders, *traffic.receivers):
            process.stop()
