"""netperf: its command line from a workload, its figures from its output.

netperf always runs on the sending side, the peer for ``rx`` and transactions, the guest for
``tx``, and connects to a netserver on the other. All tests go through its omni code, whose output
selectors (``-k``) print one ``KEY=value`` line for each figure asked for; a selector that a
version does not know is left out without a word, so that the parser has to miss it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zclab.errors import ParseError, TrialError
from zclab.model import DATAGRAMS, TRANSACTIONS, Workload, WorkloadName
from zclab.outside import LONGEST_SHOWN, printable, quoted

CONTROL_PORT = 12865
VERSION_ARGV = ("netperf", "-V")

_LATENCY = {
    "latency_mean_us": "MEAN_LATENCY",
    "latency_p50_us": "P50_LATENCY",
    "latency_p90_us": "P90_LATENCY",
    "latency_p99_us": "P99_LATENCY",
}
_TCP_TRANSACTIONS = {
    "transactions_per_s": "TRANSACTION_RATE",
    **_LATENCY,
    "retransmissions": "LOCAL_TRANSPORT_RETRANS",
}
# Metric name to selector. UDP_STREAM's THROUGHPUT would be either side's, depending on version
# and direction: the two explicit selectors leave no doubt.
_FIGURES: Mapping[WorkloadName, Mapping[str, str]] = {
    "TCP_STREAM": {
        "throughput_mbps": "THROUGHPUT",
        "retransmissions": "LOCAL_TRANSPORT_RETRANS",
    },
    "TCP_RR": _TCP_TRANSACTIONS,
    "TCP_RR_LOADED": _TCP_TRANSACTIONS,
    "UDP_STREAM": {
        "received_mbps": "REMOTE_RECV_THROUGHPUT",
        "sent_mbps": "LOCAL_SEND_THROUGHPUT",
    },
    "UDP_RR": {"transactions_per_s": "TRANSACTION_RATE", **_LATENCY},
}
_RATES = ("throughput_mbps", "transactions_per_s", "received_mbps", "sent_mbps")
_COMMON = ("ELAPSED_TIME", "LOCAL_BYTES_SENT", "REMOTE_BYTES_RECVD")
_LINE = re.compile(r"^([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)
_DECIMAL = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
"""What netperf prints of a figure; it counts in 64 bits, and has ``-nan`` where it divided by 0."""
_UNKNOWN = -1.0
"""What netperf prints for a retransmission count that the system does not tell it."""

_STOOD_STILL = 0.1
"""The share of a UDP_RR in which nothing was under way from which on it is no measurement."""

# busybox's shell will do. $0 is how many; each writes to a file of its own, for lines of several
# would mix. The status is that of the last one that failed.
_SIDE_BY_SIDE = """
folder=$(mktemp -d) || exit
i=0
while [ $i -lt "$0" ]; do
    "$@" > "$folder/$i" 2>&1 &
    pids="$pids $!"
    i=$((i + 1))
done
status=0
for pid in $pids; do wait "$pid" || status=$?; done
i=0
while [ $i -lt "$0" ]; do
    echo "stream $i"
    cat "$folder/$i"
    i=$((i + 1))
done
rm -r "$folder"
exit $status
"""
_LOADED = """
"$0" -4 -H "$1" -p "$2" -t TCP_MAERTS -l 0 -- -m 16384 -M 16384 > /dev/null 2>&1 &
stream=$!
shift 2
"$@"
status=$?
if ! kill "$stream"; then
    echo "the stream ended before the transactions" >&2
    status=1
fi
wait "$stream"
exit $status
"""
"""TCP_MAERTS has the other side send; its duration of 0 is for ever."""
_STREAM = re.compile(r"^stream \d+\n", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class NetperfResult:
    """What netperf measured, all streams of a workload together.

    ``sent_bytes`` left the sending side, ``payload_bytes`` arrived at the receiving one (of UDP
    perhaps fewer); ``transactions`` is None for streams. ``figures`` maps metric names
    (zclab.runs.results.METRICS) to values.
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
    """Return the command for ``workload``, all of its streams, to the netserver at ``target``.

    It ends after the workload's duration, rounded up to a whole second, or, given an ``amount``
    here or in the workload, when at least so many bytes have been sent, or transactions made, by
    all streams together. UDP_STREAM always goes by its duration, for its receiver would wait for
    lost bytes for ever. The stream beside a TCP_RR_LOADED begins before it and is ended after it.
    """
    # netperf cuts a fraction off, and takes a duration of 0 for "for ever".
    limit = math.ceil(workload.duration_s)
    amount = amount or workload.amount
    if amount is not None and workload.name != "UDP_STREAM":
        limit = -math.ceil(amount / workload.streams)
    size = str(workload.message_bytes)
    options: tuple[str, ...]
    match workload.name:
        case "TCP_STREAM":
            options = ("-m", size, "-M", size)
        case "TCP_RR" | "TCP_RR_LOADED":
            options = ("-r", f"{size},{size}")
        case "UDP_STREAM":
            # Without -R 1 netperf sets SO_DONTROUTE and only reaches its own subnet.
            options = ("-R", "1", "-m", size)
        case "UDP_RR":
            options = ("-R", "1", "-r", f"{size},{size}")
    selectors = ",".join((*_COMMON, *_FIGURES[workload.name].values()))
    argv = (
        *("netperf", "-4", "-P", "0", "-H", target, "-p", str(port)),
        *("-t", workload.name.removesuffix("_LOADED"), "-l", str(limit), "-f", "m"),
        *("--", *options, "-k", selectors),
    )
    if workload.name == "TCP_RR_LOADED":
        argv = ("sh", "-c", _LOADED, "netperf", target, str(port), *argv)
    if workload.streams == 1:
        return argv
    return ("sh", "-c", _SIDE_BY_SIDE, str(workload.streams), *argv)


def parse(text: str, workload: Workload) -> NetperfResult:
    """Return the figures in netperf's output.

    Of a TCP_STREAM, for example::

        ELAPSED_TIME=2.00
        LOCAL_BYTES_SENT=3718381568
        REMOTE_BYTES_RECVD=3718394726
        THROUGHPUT=14861.59
        LOCAL_TRANSPORT_RETRANS=51

    With several streams, such lines for each of them follow a line ``stream 0``, ``stream 1``, ….
    Raises ParseError where a figure is missing, is there twice or is no number, or where nothing
    arrived, and TrialError for a stream of the workload, or a UDP_RR, that stood still.
    """
    if workload.streams == 1:
        return _parse_one(text, workload)
    each = _STREAM.split(text)[1:]
    if len(each) != workload.streams:
        raise ParseError(_seen(f"netperf: {len(each)} of {workload.streams} streams", text))
    return _together([_parse_one(one, workload) for one in each])


def _together(streams: Sequence[NetperfResult]) -> NetperfResult:
    """Return what several streams did side by side.

    A rate is what all of them moved over the time of the one that took longest: their sum, where
    they take equally long. ELAPSED_TIME has too few digits for that. Percentiles of a whole cannot
    be had from those of its parts, so there are none.
    """
    figures: dict[str, float] = {}
    for name in _RATES:
        if name in streams[0].figures:
            moved = [_moved(one, name) for one in streams]
            longest = max(
                part / one.figures[name] for part, one in zip(moved, streams, strict=True)
            )
            figures[name] = sum(moved) / longest
    transactions = [one.transactions for one in streams if one.transactions is not None]
    if transactions:
        weighted = (
            one.figures["latency_mean_us"] * count
            for one, count in zip(streams, transactions, strict=True)
        )
        figures["latency_mean_us"] = sum(weighted) / sum(transactions)
    if all("retransmissions" in one.figures for one in streams):
        figures["retransmissions"] = sum(one.figures["retransmissions"] for one in streams)
    return NetperfResult(
        elapsed_s=max(one.elapsed_s for one in streams),
        sent_bytes=sum(one.sent_bytes for one in streams),
        payload_bytes=sum(one.payload_bytes for one in streams),
        transactions=sum(transactions) if transactions else None,
        figures=figures,
    )


def _moved(stream: NetperfResult, rate: str) -> float:
    """Return what a rate of a stream is of: transactions, or bytes that were sent or arrived."""
    if stream.transactions is not None:
        return stream.transactions
    return stream.sent_bytes if rate == "sent_mbps" else stream.payload_bytes


def _parse_one(text: str, workload: Workload) -> NetperfResult:
    found = _lines(text)
    selectors = _FIGURES[workload.name]
    # Where nothing moved, what netperf divides by the number of transactions is no number either.
    for metric in (metric for metric in _RATES if metric in selectors):
        if _number(found, selectors[metric], text) <= 0:
            raise TrialError(_seen(f"netperf: {workload.label}: {metric} is 0", text))
    elapsed_s, sent, received = (_number(found, key, text) for key in _COMMON)
    figures = {metric: _number(found, key, text) for metric, key in selectors.items()}
    if figures.get("retransmissions") == _UNKNOWN:
        del figures["retransmissions"]
    if min(sent, received) < 1:
        raise ParseError(_seen(f"netperf: {workload.label}: nothing arrived", text))
    transactions = None
    if workload.name in TRANSACTIONS:
        transactions = int(sent) // workload.message_bytes
        if not transactions:
            raise TrialError(_seen(f"netperf: {workload.label}: no transaction ended", text))
        if workload.name in DATAGRAMS:
            _reject_standstill(figures, transactions, workload)
    return NetperfResult(
        elapsed_s=elapsed_s,
        sent_bytes=int(sent),
        payload_bytes=int(received),
        transactions=transactions,
        figures=figures,
    )


def _reject_standstill(figures: Mapping[str, float], transactions: int, workload: Workload) -> None:
    """Raise TrialError where a lost datagram ended a UDP_RR before its time: nobody sends it again.

    The transactions that ended, laid end to end, then are shorter than the test.
    """
    lasted_s = transactions / figures["transactions_per_s"]
    busy_s = transactions * figures["latency_mean_us"] / 1e6
    if busy_s < (1 - _STOOD_STILL) * lasted_s:
        raise TrialError(
            f"{workload.label}: a datagram was lost and netperf does not resend it: nothing "
            f"was in flight for {lasted_s - busy_s:.1f} of {lasted_s:.1f} s"
        )


def parse_version(text: str) -> str:
    """Return the version in what VERSION_ARGV printed, ``Netperf version 2.7.1``."""
    found = re.search(r"^Netperf version (\S+)", text, re.MULTILINE)
    if found is None:
        raise ParseError(_seen("netperf -V: no 'Netperf version …' line", text))
    return found[1]


def _lines(text: str) -> dict[str, str]:
    """Return the values in netperf's lines by their keys."""
    found: dict[str, str] = {}
    for key, value in _LINE.findall(text):
        if key in found:
            raise ParseError(_seen(f"netperf: {key}= is there twice", text))
        found[key] = value.strip()
    return found


def _number(found: Mapping[str, str], key: str, text: str) -> float:
    if key not in found:
        raise ParseError(_seen(f"netperf: no {key}= line: is this netperf 2.7 or newer?", text))
    if not _DECIMAL.fullmatch(found[key]):
        raise ParseError(_seen(f"netperf: {key} is not a number: {quoted(found[key])}", text))
    number = float(found[key])
    unknown = number == _UNKNOWN and key == "LOCAL_TRANSPORT_RETRANS"
    if number < 0 and not unknown:
        raise ParseError(_seen(f"netperf: {key} is negative: {found[key]}", text))
    return number


def _seen(what: str, text: str) -> str:
    lines = text.strip().splitlines() or ["(nothing)"]
    shown = (printable(line[:LONGEST_SHOWN]) for line in lines[-20:])
    return "\n  ".join((f"{what}; it printed:", *shown))
