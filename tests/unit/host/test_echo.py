"""What a peer tells of traffic that its guest answers, and the program that tells it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from zclab.errors import CommandError, ParseError, TrialError
from zclab.host import echo
from zclab.host.echo import Heard, Line, Told


def line(at: float, **told: float) -> Line:
    return Line(at=at, told=Told.model_validate({"seconds": at, **told}))


@contextmanager
def answering(change: int | None = None) -> Iterator[int]:
    """Answer one connection with what it sends, but for the byte number ``change``."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                moved = 0
                with suppress(OSError):  # the program was ended
                    while data := bytearray(connection.recv(65536)):
                        if change is not None and moved <= change < moved + len(data):
                            data[change - moved] ^= 1
                        moved += len(data)
                        connection.sendall(data)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]


def run(kind: echo.Kind, port: int, lines: int) -> list[dict[str, object]]:
    """Return the first lines that the program prints, or those up to its end."""
    argv = [sys.executable, "-c", echo.PROGRAM.read_text(), kind, "127.0.0.1", str(port), "0"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        said = [json.loads(text) for text, _ in zip(process.stdout, range(lines), strict=False)]
        process.kill()
    return said


@pytest.mark.parametrize("kind", ["stream", "transactions"])
def test_the_program_tells_how_much_came_back(kind: echo.Kind) -> None:
    with answering() as port:
        first, last = (Told.model_validate(said) for said in run(kind, port, 2))

    assert last.bytes > first.bytes > 0
    assert (last.transactions > first.transactions > 0) == (kind == "transactions")
    assert last.changed is None


@pytest.mark.parametrize("kind", ["stream", "transactions"])
def test_the_program_ends_where_a_byte_came_back_changed(kind: echo.Kind) -> None:
    with answering(change=123_457) as port:
        said = run(kind, port, 10_000)[-1]

    place = 123_457 if kind == "stream" else 123_456
    assert str(said["changed"]).startswith(f"byte {place}" if kind == "stream" else "byte ")


def test_lines_are_heard_whole_whatever_pieces_they_come_in() -> None:
    heard = Heard("stream")
    for piece in ('{"seconds": 1.0, "by', 'tes": 7}\n{"seconds"', ": 2.0}\n"):
        heard.hear(piece)

    assert [one.told.bytes for one in heard.lines] == [7, 0]
    assert heard.last.seconds == 2.0
    heard.check()


def test_data_that_came_back_changed_makes_a_trial_invalid() -> None:
    heard = Heard("stream")
    heard.hear('{"changed": "byte 17 came back as 0x0, not 0x31"}\n')

    with pytest.raises(TrialError, match="the stream came back changed: byte 17"):
        heard.check()


def test_what_is_no_line_of_the_program_is_an_error() -> None:
    with pytest.raises(ParseError, match="the peer's stream"):
        Heard("stream").hear("Traceback (most recent call last):\n")


def test_a_rate_is_by_the_clock_of_the_peer() -> None:
    lines = [
        Line(at=at, told=Told(seconds=seconds, bytes=count))
        for at, seconds, count in ((10.0, 1.0, 0), (11.9, 2.0, 1_000_000), (12.0, 3.0, 2_000_000))
    ]

    assert echo.rate_mbps(lines, 10.0, 12.0) == pytest.approx(8.0)


def test_a_time_in_which_nothing_was_told_has_no_rate_and_no_gap() -> None:
    with pytest.raises(CommandError, match="told nothing of its stream"):
        echo.rate_mbps([line(1.0)], 2.0, 3.0)
    with pytest.raises(CommandError, match="told nothing of its transactions"):
        echo.longest_gap([line(1.0)], 2.0, 3.0)


def test_a_gap_is_over_when_the_last_of_the_longest_was_told() -> None:
    lines = [
        line(1.0, gap_ms=900.0),
        line(2.0, gap_ms=5.0),
        line(2.1, gap_ms=105.0),
        line(2.2, gap_ms=180.0),
        line(2.3, gap_ms=4.0),
    ]

    assert echo.longest_gap(lines, 1.5, 3.0) == echo.Gap(ms=180.0, over_at=2.2)


SNMP = """\
Ip: Forwarding DefaultTTL InReceives
Ip: 2 64 8341
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens RetransSegs InErrs
Tcp: 1 200 120000 -1 12 34 0
Udp: InDatagrams
Udp: 3
"""


def test_retransmitted_segments_are_those_of_tcp() -> None:
    assert echo.parse_retransmitted(SNMP) == 34


@pytest.mark.parametrize("text", ["", "Tcp: RtoAlgorithm\n", SNMP.replace("34", "many")])
def test_a_kernel_that_does_not_tell_of_retransmissions_is_an_error(text: str) -> None:
    with pytest.raises(ParseError, match="RetransSegs"):
        echo.parse_retransmitted(text)
