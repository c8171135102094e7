"""netperf's command line, and its output as version 2.7.1 prints it."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.errors import ParseError
from zclab.model import Direction, Workload, WorkloadName
from zclab.netperf import netperf_argv, netserver_argv, parse, parse_version
from zclab.results import METRICS

DATA = Path(__file__).parents[1] / "data" / "netperf"


def workload(
    name: WorkloadName = "TCP_STREAM",
    direction: Direction | None = "rx",
    message_bytes: int = 16384,
    duration_s: float = 2.0,
) -> Workload:
    return Workload(
        name=name, direction=direction, message_bytes=message_bytes, duration_s=duration_s
    )


REQUEST_RESPONSE = workload("TCP_RR", None, 1)
UDP = workload("UDP_STREAM", "tx", 1472)


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


def test_parse_udp_tells_what_arrived_from_what_was_sent() -> None:
    result = parse((DATA / "udp_stream.txt").read_text(), UDP)

    assert result.sent_bytes == 646_327_232
    assert result.payload_bytes == 632_073_856
    assert result.figures == {"received_mbps": 2528.19, "sent_mbps": 2585.2}


@pytest.mark.parametrize(
    ("file", "of"),
    [("tcp_stream", workload()), ("tcp_rr", REQUEST_RESPONSE), ("udp_stream", UDP)],
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
