"""netperf: its command line from a workload, its figures from its output.

netperf always runs on the sending side, the peer for ``rx`` and ``TCP_RR``, the guest for ``tx``,
and connects to a netserver on the other. All tests go through its omni code, whose output
selectors (``-k``) print one ``KEY=value`` line for each figure asked for; a selector that a
version does not know is left out without a word, so that the parser has to miss it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from zclab.errors import ParseError
from zclab.model import Workload, WorkloadName

CONTROL_PORT = 12865
VERSION_ARGV = ("netperf", "-V")

_LATENCY = {
    "latency_mean_us": "MEAN_LATENCY",
    "latency_p50_us": "P50_LATENCY",
    "latency_p90_us": "P90_LATENCY",
    "latency_p99_us": "P99_LATENCY",
}
# Metric name to selector. UDP_STREAM's THROUGHPUT would be either side's, depending on version
# and direction: the two explicit selectors leave no doubt.
_FIGURES: Mapping[WorkloadName, Mapping[str, str]] = {
    "TCP_STREAM": {
        "throughput_mbps": "THROUGHPUT",
        "retransmissions": "LOCAL_TRANSPORT_RETRANS",
    },
    "TCP_RR": {
        "transactions_per_s": "TRANSACTION_RATE",
        **_LATENCY,
        "retransmissions": "LOCAL_TRANSPORT_RETRANS",
    },
    "UDP_STREAM": {
        "received_mbps": "REMOTE_RECV_THROUGHPUT",
        "sent_mbps": "LOCAL_SEND_THROUGHPUT",
    },
}
_COMMON = ("ELAPSED_TIME", "LOCAL_BYTES_SENT", "REMOTE_BYTES_RECVD")
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_UNKNOWN = -1.0
"""What netperf prints for a retransmission count that the system does not tell it."""


@dataclass(frozen=True, kw_only=True)
class NetperfResult:
    """What one netperf process measured.

    ``sent_bytes`` left the sending process, ``payload_bytes`` arrived at the receiving one (of UDP
    perhaps fewer); ``transactions`` is None for streams. ``figures`` maps metric names
    (zclab.results.METRICS) to values.
    """

    elapsed_s: float
    sent_bytes: int
    payload_bytes: int
    transactions: int | None
    figures: Mapping[str, float]


def netserver_argv(*, port: int = CONTROL_PORT) -> tuple[str, ...]:
    """Return the command that starts netserver, which goes into the background by itself."""
    return ("netserver", "-4", "-p", str(port))


def netperf_argv(
    workload: Workload,
    *,
    target: str,
    amount: int | None = None,
    port: int = CONTROL_PORT,
) -> tuple[str, ...]:
    """Return the command for one stream of ``workload`` to the netserver at ``target``.

    It ends after the workload's duration, rounded up to a whole second, or, given an ``amount``
    here or in the workload, when at least so many bytes have been sent, or transactions made.
    UDP_STREAM always goes by its duration, for its receiver would wait for lost bytes for ever.
    """
    # netperf cuts a fraction off, and takes a duration of 0 for "for ever".
    limit = math.ceil(workload.duration_s)
    amount = amount or workload.amount
    if amount is not None and workload.name != "UDP_STREAM":
        limit = -amount
    size = str(workload.message_bytes)
    options: tuple[str, ...]
    match workload.name:
        case "TCP_STREAM":
            options = ("-m", size, "-M", size)
        case "TCP_RR":
            options = ("-r", f"{size},{size}")
        case "UDP_STREAM":
            # Without -R 1 netperf sets SO_DONTROUTE and only reaches its own subnet.
            options = ("-R", "1", "-m", size)
    selectors = ",".join((*_COMMON, *_FIGURES[workload.name].values()))
    return (
        *("netperf", "-4", "-P", "0", "-H", target, "-p", str(port)),
        *("-t", workload.name, "-l", str(limit), "-f", "m"),
        *("--", *options, "-k", selectors),
    )


def parse(text: str, workload: Workload) -> NetperfResult:
    """Return the figures in netperf's output.

    Of a TCP_STREAM, for example::

        ELAPSED_TIME=2.00
        LOCAL_BYTES_SENT=3718381568
        REMOTE_BYTES_RECVD=3718394726
        THROUGHPUT=14861.59
        LOCAL_TRANSPORT_RETRANS=51

    Raises ParseError where a figure is missing or no number, or where nothing arrived.
    """
    found = dict(_LINE.findall(text))
    elapsed_s, sent, received = (_number(found, key, text) for key in _COMMON)
    figures = {metric: _number(found, key, text) for metric, key in _FIGURES[workload.name].items()}
    if figures.get("retransmissions") == _UNKNOWN:
        del figures["retransmissions"]
    if received <= 0:
        raise ParseError(_seen(f"netperf: {workload.label}: nothing arrived", text))
    return NetperfResult(
        elapsed_s=elapsed_s,
        sent_bytes=int(sent),
        payload_bytes=int(received),
        transactions=int(sent) // workload.message_bytes if workload.name == "TCP_RR" else None,
        figures=figures,
    )


def parse_version(text: str) -> str:
    """Return the version in what VERSION_ARGV printed, ``Netperf version 2.7.1``."""
    found = re.search(r"^Netperf version (\S+)", text, re.MULTILINE)
    if found is None:
        raise ParseError(_seen("netperf -V: no 'Netperf version …' line", text))
    return found[1]


def _number(found: Mapping[str, str], key: str, text: str) -> float:
    if key not in found:
        raise ParseError(_seen(f"netperf: no {key}= line: is this netperf 2.7 or newer?", text))
    try:
        return float(found[key])
    except ValueError as exc:
        msg = _seen(f"netperf: {key} is not a number: {found[key]!r}", text)
        raise ParseError(msg) from exc


def _seen(what: str, text: str) -> str:
    lines = text.strip().splitlines() or ["(nothing)"]
    return "\n  ".join((f"{what}; it printed:", *lines[-20:]))
