"""What a peer runs while its guest is migrated: a stream or transactions, answered by the guest.

It is sent to the peer as text, and needs nothing there but Python:
``python3 -c TEXT stream 192.0.2.2 5004 0``. What is sent comes back, and is compared. Every
REPORT_S a line says how far it is: ``{"seconds": 1.2, "bytes": 41000000, "transactions": 0,
"gap_ms": 3.1, "retransmissions": 0}``. ``gap_ms`` is the longest time between two answers since the
last line, or since the last answer. It goes on until somebody ends it, or something else comes
back: ``{"changed": "byte 17 came back as 0x0, not 0x31"}``.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections.abc import Mapping

REPORT_S = 0.1
BLOCK_BYTES = 1_048_573
"""A prime: no mistake by whole pages, frames or buffers looks right."""
CHUNK = 1 << 16
CONNECT_S = 60
TOTAL_RETRANS = slice(100, 104)
"""Where struct tcp_info has tcpi_total_retrans, see linux/tcp.h."""
ENDED = "the guest ended the connection"


class Report:
    """Counts what came back, and prints it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._began = self._last = self._told = time.monotonic()
        self._gap = 0.0
        self.bytes = 0
        self.transactions = 0

    def moved(self, count: int, transactions: int) -> None:
        """Take note of an answer."""
        now = time.monotonic()
        self._gap = max(self._gap, now - self._last)
        self._last = now
        self.bytes += count
        self.transactions += transactions

    def tell(self) -> None:
        """Print a line when it is time to."""
        now = time.monotonic()
        if now - self._told < REPORT_S:
            return
        self._told = now
        info = self._connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        line = {
            "seconds": now - self._began,
            "bytes": self.bytes,
            "transactions": self.transactions,
            "gap_ms": 1000 * max(self._gap, now - self._last),
            "retransmissions": int.from_bytes(info[TOTAL_RETRANS], sys.byteorder),
        }
        self._gap = 0.0
        say(line)


def say(line: Mapping[str, object]) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def connected(address: str, port: int) -> socket.socket:
    """Return a connection to the guest, which may not listen yet."""
    end = time.monotonic() + CONNECT_S
    while True:
        try:
            connection = socket.create_connection((address, port), timeout=10)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection


def changed(where: int, sent: bytes, came: bytes) -> None:
    """Say what came back changed, and end."""
    at = next((i for i, (a, b) in enumerate(zip(sent, came, strict=True)) if a != b), 0)
    said = f"byte {where + at} came back as {came[at]:#x}, not {sent[at]:#x}"
    say({"changed": said})
    sys.exit(said)


def stream(connection: socket.socket, megabits: float) -> None:
    """Send without an end, up to a rate where that is not 0, and compare what comes back."""
    numbers = b"".join(b"%d\n" % number for number in range(170_000))[:BLOCK_BYTES]
    block = memoryview(numbers + numbers[:CHUNK])
    connection.setblocking(False)
    report, sent, began = Report(connection), 0, time.monotonic()
    while True:
        report.tell()
        allowed = (time.monotonic() - began) * megabits * 125_000 if megabits else sent + 1
        writers = [connection] if sent < allowed else []
        readable, writable, _ = select.select([connection], writers, [], 0.01)
        if writable:
            at = sent % BLOCK_BYTES
            sent += connection.send(block[at : at + CHUNK])
        if readable:
            came = connection.recv(CHUNK)
            if not came:
                sys.exit(ENDED)
            at = report.bytes % BLOCK_BYTES
            if came != block[at : at + len(came)]:
                changed(report.bytes, bytes(block[at : at + len(came)]), came)
            report.moved(len(came), 0)


def transactions(connection: socket.socket, megabits: float) -> None:
    """Send a number, wait until it comes back, and so on; ``megabits`` limits only streams."""
    del megabits
    connection.settimeout(REPORT_S)
    report, number = Report(connection), 0
    while True:
        request, came = number.to_bytes(8, "big"), b""
        connection.sendall(request)
        while len(came) < len(request):
            report.tell()
            try:
                more = connection.recv(len(request) - len(came))
            except TimeoutError:
                continue
            if not more:
                sys.exit(ENDED)
            came += more
        if came != request:
            changed(number * len(request), request, came)
        report.moved(len(request), 1)
        number += 1


if __name__ == "__main__":
    kind, address, port, megabits = sys.argv[1:]
    run = {"stream": stream, "transactions": transactions}[kind]
    run(connected(address, int(port)), float(megabits))
