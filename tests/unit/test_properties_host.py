"""No output of a host's programs or kernel is a traceback: a value, or one of our errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.mutations import check_reader
from zclab.bench import integrity
from zclab.host import copies, cpu, guest, links, memory, netdev, netperf, qdiscs
from zclab.lab import dma
from zclab.model import Direction, Workload, WorkloadName
from zclab.modes.passthrough import vfio_interrupts
from zclab.outside import whole_number
from zclab.runner.fake import FakeRunner
from zclab.runs.results import Dimensions, samples
from zclab.tasks import doctor

DATA = Path(__file__).parents[1] / "data"
ROLES = cpu.Roles(qemu_pid=419, nic="eth1", peer_nic="eth2")


def data(*names: str) -> tuple[str, ...]:
    return tuple((DATA / name).read_text() for name in names)


def netperf_of(
    name: WorkloadName, direction: Direction | None, size: int, streams: int = 1
) -> Callable[[str], object]:
    """Return what reads netperf's output and makes samples of the figures."""
    workload = Workload(
        name=name, direction=direction, message_bytes=size, duration_s=2.0, streams=streams
    )
    dimensions = Dimensions(
        mode="vhost",
        workload=name,
        direction=direction,
        message_bytes=size,
        mtu=1500,
        offloads="on",
        nic="0000:01:00.0",
        streams=streams,
        duration_s=2.0,
        boot=0,
        repetition=0,
    )

    def read(text: str) -> object:
        return samples(dimensions, netperf.parse(text, workload).figures)

    return read


def snapshots(text: str) -> object:
    """Read a snapshot twice, and take the window between it and an intact one."""
    before, after = cpu.parse(text), cpu.parse(CPU[0])
    cpu.between(before, after, ROLES).figures(payload_bytes=1)
    return cpu.between(after, before, ROLES).figures(transactions=1)


def few_threads(text: str) -> str:
    """Return the lines of some of the threads: a host has hundreds, which are all alike."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith(("uptime", "1/", "154/", "419/")))


def tuned(text: str) -> object:
    """Tune an interface whose state before is what the text says."""
    host = FakeRunner()
    host.expect(("sh", "-c", netdev._STATE, "eth1"), stdout=text)
    with (
        pytest.raises(AssertionError, match="unplanned"),
        netdev.tuned(
            host, netdev.Port("0000:01:00.0", "eth1"), threaded=True, switch="on", mtu=1500
        ),
    ):
        pass
    return host


def copied(text: str) -> object:
    """Read what the probes saw, and what that is per byte."""
    counts = copies.parse(text)
    for direction in ("rx", "tx"):
        counts.per_payload_byte(direction, "TCP_STREAM", 1, {1: "vhost"})  # type: ignore[arg-type]
    return counts.evidence({})


def rx_usecs(text: str) -> object:
    host = FakeRunner()
    host.expect(("ethtool", "-c", "eth1"), stdout=text)
    return netdev.rx_usecs_of(host, "eth1")


CPU = tuple(map(few_threads, data("proc/before.txt")))
FEATURES = data("ethtool/features-e1000e.txt")
PCI = "0000:02:00.0"
ADDRESSES = "bonding_masters \nlo 00:00:00:00:00:00\neth0 52:54:00:7a:63:09\n"
READERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "netperf stream": (netperf_of("TCP_STREAM", "rx", 16384), data("netperf/tcp_stream.txt")),
    "netperf streams": (netperf_of("TCP_STREAM", "rx", 16384, 4), data("netperf/tcp_stream_4.txt")),
    "netperf transactions": (netperf_of("TCP_RR", None, 1), data("netperf/tcp_rr.txt")),
    "netperf pairs": (netperf_of("TCP_RR", None, 1, 2), data("netperf/tcp_rr_2.txt")),
    "netperf datagrams": (netperf_of("UDP_STREAM", "tx", 1472), data("netperf/udp_stream.txt")),
    "netperf answers": (netperf_of("UDP_RR", None, 1), data("netperf/udp_rr.txt")),
    "netperf version": (netperf.parse_version, ("Netperf version 2.7.1\n",)),
    "offloads": (netdev.parse_offloads, FEATURES),
    "state": (tuned, (f"0\n1500\n{FEATURES[0]}",)),
    "coalescing": (
        rx_usecs,
        data("ethtool/coalescing-igb.txt", "ethtool/coalescing-adaptive.txt"),
    ),
    "driver statistics": (netdev.parse_driver_statistics, data("ethtool/statistics-e1000e.txt")),
    "links": (lambda text: links.parse_links(text, "ip"), data("ip/links.json")),
    "statistics": (lambda text: links.parse_statistics(text, "ip"), data("ip/statistics.json")),
    "threads": (snapshots, CPU),
    "copies": (copied, data("tracefs/tcp_rx.txt", "tracefs/tcp_tx_zerocopy.txt")),
    "pages": (memory.parse, ("32 95\n160 4095\n",)),
    "buffers": (
        lambda text: list(dma.parse(text)),
        data("emulator/e1000e-rx.log", "emulator/igb-rx.log"),
    ),
    "interrupts": (lambda text: vfio_interrupts(text, PCI), data("proc/interrupts-vfio")),
    "qdiscs": (
        lambda text: qdiscs.found_in({"qdiscs:eth1": text, "ingress:eth1": text}, "eth1"),
        data("tc/qdiscs-shaped.json", "tc/qdiscs-usual.json", "tc/filters-ingress.json"),
    ),
    "addresses": (guest.parse_addresses, (ADDRESSES,)),
    "features": (guest.features_from_bits, ("0110010000000000",)),
    "arrived": (
        lambda text: integrity._compare("rx", "a" * 64, text),
        (f"{integrity.SIZE_BYTES}\n{'a' * 64}  -\n",),
    ),
    "a pid": (lambda text: whole_number(text, "a pid"), ("4711\n",)),
    "memory": (doctor.check_memory, ("MemTotal:  8000000 kB\nMemAvailable:   7000000 kB\n",)),
}


@pytest.mark.parametrize("name", READERS)
def test_what_a_host_says_is_a_value_or_an_error_of_ours(name: str) -> None:
    read, samples_of_it = READERS[name]

    check_reader(read, *samples_of_it)
