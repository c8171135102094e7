"""netperf's command line, and its output as version 2.7.1 prints it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from zclab.errors import ParseError, TrialError
from zclab.host.netperf import netperf_argv, netserver_argv, parse, parse_version
from zclab.model import Direction, Workload, WorkloadName
from zclab.runs.results import METRICS

DATA = Path(__file__).parents[2] / "data" / "netperf"

CAPTURED: dict[str, Any] = {"capture_output": True, "text": True}


def workload(
    name: WorkloadName = "TCP_STREAM",
    direction: Direction | None = "rx",
    message_bytes: int = 16384,
    duration_s: float = 2.0,
    streams: int = 1,
) -> Workload:
    return Workload(
        name=name,
        direction=direction,
        message_bytes=message_bytes,
        duration_s=duration_s,
        streams=streams,
    )


REQUEST_RESPONSE = workload("TCP_RR", None, 1)
UDP = workload("UDP_STREAM", "tx", 1472)
UDP_TRANSACTIONS = workload("UDP_RR", None, 1)


def test_a_stream_sets_both_message_sizes() -> None:
    assert netperf_argv(workload(), target="192.0.2.2") == (
        *("netperf", "-4", "-P", "0", "-H", "192.0.2.2", "-p", "12865"),
        *("-t", "TCP_STREAM", "-l", "2", "-f", "m", "--", "-m", "16384", "-M", "16384", "-k"),
        "ELAPSED_TIME,LOCAL_BYTES_SENT,REMOTE_BYTES_RECVD,THROUGHPUT,LOCAL_TRANSPORT_RETRANS",
    )


def test_request_response_sets_request_and_response_size() -> None:
    argv = netperf_argv(REQUEST_RESPONSE, target="192.0.2.2", port=1234)

    assert argv[7:9] == ("1234", "-t")
    assert argv[14:17] == ("--", "-r", "1,1")


def test_udp_may_be_routed() -> None:
    argv = netperf_argv(UDP, target="192.0.2.1")

    assert argv[14:19] == ("--", "-R", "1", "-m", "1472")


def test_payload_bytes_bound_the_test_instead_of_its_duration() -> None:
    argv = netperf_argv(workload(), target="192.0.2.2", amount=1_000_000)

    assert argv[argv.index("-l") + 1] == "-1000000"


def test_udp_is_not_bounded_by_bytes_for_lost_ones_would_be_waited_for() -> None:
    argv = netperf_argv(UDP, target="192.0.2.1", amount=1_000_000)

    assert argv[argv.index("-l") + 1] == "2"


def test_a_fraction_of_a_second_does_not_become_a_test_without_end() -> None:
    argv = netperf_argv(workload(duration_s=0.5), target="192.0.2.2")

    assert argv[argv.index("-l") + 1] == "1"


def test_datagrams_that_are_answered_may_be_counted_and_routed() -> None:
    argv = netperf_argv(UDP_TRANSACTIONS, target="192.0.2.2", amount=500)

    assert argv[argv.index("-l") + 1] == "-500"
    assert argv[14:19] == ("--", "-R", "1", "-r", "1,1")


def test_streams_share_an_amount_and_each_writes_on_its_own() -> None:
    """Run as a shell runs it, with a command of which the last fails."""
    argv = netperf_argv(workload(streams=3), target="192.0.2.2", amount=1000)
    assert argv[:2] == ("sh", "-c")
    assert argv[3:5] == ("3", "netperf")
    assert argv[argv.index("-l") + 1] == "-334"

    done = subprocess.run(
        (*argv[:4], "sh", "-c", 'echo "$0"; exit 7', "words"), check=False, **CAPTURED
    )

    assert done.stdout == "stream 0\nwords\nstream 1\nwords\nstream 2\nwords\n"
    assert done.returncode == 7


def test_netserver_listens_where_netperf_looks() -> None:
    assert netserver_argv() == ("netserver", "-4", "-p", "12865")


def test_parse_a_tcp_stream() -> None:
    result = parse((DATA / "tcp_stream.txt").read_text(), workload())

    assert result.elapsed_s == 2.0
    assert result.payload_bytes == 3_130_687_488
    assert result.transactions is None
    assert result.figures == {"throughput_mbps": 12519.33, "retransmissions": 3.0}


def test_parse_request_response() -> None:
    result = parse((DATA / "tcp_rr.txt").read_text(), REQUEST_RESPONSE)

    assert result.transactions == 16609
    assert result.figures == {
        "transactions_per_s": 8299.239,
        "latency_mean_us": 120.28,
        "latency_p50_us": 92.0,
        "latency_p90_us": 267.0,
        "latency_p99_us": 486.0,
        "retransmissions": 0.0,
    }


def test_parse_request_response_by_datagrams() -> None:
    result = parse((DATA / "udp_rr.txt").read_text(), UDP_TRANSACTIONS)

    assert result.transactions == 88174
    assert set(result.figures) == {
        "transactions_per_s",
        *(f"latency_{name}_us" for name in ("mean", "p50", "p90", "p99")),
    }


def test_a_lost_datagram_is_told_from_a_slow_path() -> None:
    """Netserver was stopped after 1.2 s of 3: the rate of what it printed is one of nothing."""
    text = (DATA / "udp_rr_stalled.txt").read_text()

    with pytest.raises(
        TrialError, match=r"UDP_RR 1: a datagram was lost and .* for 1\.8 of 3\.0 s"
    ):
        parse(text, UDP_TRANSACTIONS)


def test_the_rate_of_streams_is_all_that_they_moved_in_the_time_of_the_longest() -> None:
    result = parse((DATA / "tcp_stream_4.txt").read_text(), workload(streams=4))

    assert result.payload_bytes == 468_726_464 + 461_775_143 + 451_958_537 + 421_655_232
    assert result.elapsed_s == pytest.approx(2.0, abs=0.04)
    assert result.figures["throughput_mbps"] == pytest.approx(7144.9, rel=0.01)
    assert result.figures["retransmissions"] == 72 + 67 + 52 + 70


def test_a_stream_that_ends_early_does_not_raise_the_rate() -> None:
    """Two of 100 bytes, of which one takes twice as long: 200 bytes in its time, not the sum."""
    text = (DATA / "tcp_stream.txt").read_text()
    slow = re.sub(r"(?<=THROUGHPUT=)[\d.]+", lambda rate: str(float(rate[0]) / 2), text)

    result = parse(f"stream 0\n{text}stream 1\n{slow}", workload(streams=2))

    assert result.figures["throughput_mbps"] == pytest.approx(12519.33)


def test_transactions_side_by_side_have_a_rate_and_a_mean_but_no_percentiles() -> None:
    pair = workload("TCP_RR", None, 1, streams=2)

    result = parse((DATA / "tcp_rr_2.txt").read_text(), pair)

    assert result.transactions == 31825 + 33038
    assert result.figures["transactions_per_s"] == pytest.approx(15909.208 + 16517.299, rel=0.001)
    assert result.figures["latency_mean_us"] == pytest.approx(61.61, abs=0.01)
    assert set(result.figures) == {"transactions_per_s", "latency_mean_us", "retransmissions"}


def test_a_stream_that_printed_nothing_is_missed() -> None:
    text = (DATA / "tcp_rr_2.txt").read_text().partition("stream 1")[0]

    with pytest.raises(ParseError, match="1 of 2 streams"):
        parse(text, workload("TCP_RR", None, 1, streams=2))


def test_parse_udp_tells_what_arrived_from_what_was_sent() -> None:
    result = parse((DATA / "udp_stream.txt").read_text(), UDP)

    assert result.sent_bytes == 646_327_232
    assert result.payload_bytes == 632_073_856
    assert result.figures == {"received_mbps": 2528.19, "sent_mbps": 2585.2}


@pytest.mark.parametrize(
    ("file", "of"),
    [
        ("tcp_stream", workload()),
        ("tcp_rr", REQUEST_RESPONSE),
        ("udp_stream", UDP),
        ("udp_rr", UDP_TRANSACTIONS),
    ],
)
def test_every_figure_is_a_known_metric(file: str, of: Workload) -> None:
    result = parse((DATA / f"{file}.txt").read_text(), of)

    assert set(result.figures) <= set(METRICS)


def test_an_unknown_retransmission_count_is_left_out() -> None:
    text = (DATA / "tcp_stream.txt").read_text()
    text = text.replace("TRANSPORT_RETRANS=3", "TRANSPORT_RETRANS=-1")

    assert "retransmissions" not in parse(text, workload()).figures


def test_a_missing_figure_is_named_and_the_output_shown() -> None:
    """A selector that netperf does not know is left out, with exit status 0."""
    text = (DATA / "tcp_stream.txt").read_text().replace("THROUGHPUT=", "THROUGHPUT: ")

    with pytest.raises(ParseError, match=r"no THROUGHPUT= line") as caught:
        parse(text, workload())

    assert "THROUGHPUT: 12519.33" in str(caught.value)


def test_a_figure_that_is_no_number_is_named() -> None:
    text = (DATA / "tcp_stream.txt").read_text().replace("=2.00", "=soon")

    with pytest.raises(ParseError, match="ELAPSED_TIME is not a number: 'soon'"):
        parse(text, workload())


def test_a_stream_of_which_nothing_arrived_is_no_result() -> None:
    text = (DATA / "udp_stream.txt").read_text().replace("RECVD=632073856", "RECVD=0")

    with pytest.raises(ParseError, match="UDP_STREAM tx 1472: nothing arrived"):
        parse(text, UDP)


def test_no_output_at_all_is_said() -> None:
    with pytest.raises(ParseError, match=r"\(nothing\)"):
        parse("", workload())


def test_version() -> None:
    assert parse_version("Netperf version 2.7.1\n") == "2.7.1"


def test_version_of_something_else() -> None:
    with pytest.raises(ParseError, match="iperf 3"):
        parse_version("iperf 3.1\n")


@pytest.mark.parametrize("number", ["nan", "-nan", "inf", "-inf", "1e400", "1_000", "\u0663", ""])
def test_what_python_takes_for_a_number_and_netperf_does_not_mean_is_none(number: str) -> None:
    """``-nan`` is what netperf prints where it divided 0 by 0."""
    text = (DATA / "tcp_rr.txt").read_text()
    text = re.sub(r"MEAN_LATENCY=.*", f"MEAN_LATENCY={number}", text)

    with pytest.raises(ParseError, match="MEAN_LATENCY is not a number"):
        parse(text, REQUEST_RESPONSE)


def test_a_negative_figure_is_none() -> None:
    text = re.sub(r"P99_LATENCY=.*", "P99_LATENCY=-7", (DATA / "tcp_rr.txt").read_text())

    with pytest.raises(ParseError, match="P99_LATENCY is negative: -7"):
        parse(text, REQUEST_RESPONSE)


def test_a_figure_that_is_there_twice_is_none() -> None:
    text = (DATA / "tcp_stream.txt").read_text()

    with pytest.raises(ParseError, match="THROUGHPUT= is there twice"):
        parse(f"{text}THROUGHPUT=1.00\n", workload())


def test_datagrams_of_which_the_first_answer_was_lost_are_no_measurement() -> None:
    """Netperf waits for it until the end, and prints a rate of 0 and a latency that is none."""
    text = (DATA / "udp_rr.txt").read_text()
    text = re.sub(r"TRANSACTION_RATE=.*", "TRANSACTION_RATE=0.000", text)
    text = re.sub(r"MEAN_LATENCY=.*", "MEAN_LATENCY=-nan", text)
    text = re.sub(r"BYTES_(SENT|RECVD)=.*", r"BYTES_\1=1", text)

    with pytest.raises(TrialError, match="UDP_RR 1: transactions_per_s is 0"):
        parse(text, UDP_TRANSACTIONS)


def test_a_stream_that_stood_still_beside_another_is_no_measurement() -> None:
    text = (DATA / "tcp_stream.txt").read_text()
    still = re.sub(r"(?<=THROUGHPUT=).*", "0.00", text)

    with pytest.raises(TrialError, match="TCP_STREAM rx 16384 x2: throughput_mbps is 0"):
        parse(f"stream 0\n{text}stream 1\n{still}", workload(streams=2))


def test_output_in_an_error_moves_no_cursor_and_fits() -> None:
    with pytest.raises(ParseError) as caught:
        parse(f"\x1b[2J\x07{'9' * 5000}", workload())

    assert "\\x1b[2J\\x07" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


LOADED = workload("TCP_RR_LOADED", None, 1)


def netperf_that(folder: Path, *, stream: str) -> dict[str, str]:
    """Return an environment with a netperf that logs its calls; a stream runs a command."""
    program = folder / "netperf"
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {folder}/calls\n'
        f'case "$*" in *TCP_MAERTS*) {stream} ;; esac\n'
        f"until grep -q MAERTS {folder}/calls; do :; done\n"
        "echo TRANSACTION_RATE=1.0\n"
    )
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_transactions_under_load_run_beside_a_stream_that_the_guest_sends(tmp_path: Path) -> None:
    argv = netperf_argv(LOADED, target="192.0.2.2")
    env = netperf_that(tmp_path, stream="exec sleep 1000")

    done = subprocess.run(argv, env=env, check=True, **CAPTURED)

    assert done.stdout == "TRANSACTION_RATE=1.0\n"
    stream, transactions = sorted((tmp_path / "calls").read_text().splitlines(), key=len)
    assert stream == "-4 -H 192.0.2.2 -p 12865 -t TCP_MAERTS -l 0 -- -m 16384 -M 16384"
    assert transactions.startswith("-4 -P 0 -H 192.0.2.2 -p 12865 -t TCP_RR -l 2 -f m -- -r 1,1 -k")


def test_transactions_whose_load_ended_before_them_fail(tmp_path: Path) -> None:
    argv = netperf_argv(LOADED, target="192.0.2.2")
    env = netperf_that(tmp_path, stream="exit 1")
    program = tmp_path / "netperf"
    program.write_text(program.read_text().replace("echo TRANS", "sleep 0.5; echo TRANS"))

    done = subprocess.run(argv, env=env, check=False, **CAPTURED)

    assert done.returncode == 1
    assert "the stream ended before the transactions" in done.stderr
