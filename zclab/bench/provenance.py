"""What figures are made with, as the host tells it."""

from __future__ import annotations

from zclab.host import netdev
from zclab.host.netperf import VERSION_ARGV, parse_version
from zclab.lab.session import Session
from zclab.runner import read_text
from zclab.runs.results import Provenance


def seen_on_host(session: Session) -> Provenance:
    """Say what the host of a session is and runs."""
    host = session.host
    cpu_models = [
        line.partition(": ")[2]
        for line in read_text(host, "/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    qemu = host.run(("qemu-system-x86_64", "--version")).stdout.partition("\n")[0]
    return Provenance(
        cpu_model=cpu_models[0] if cpu_models else "unknown",
        versions={
            "host_kernel": host.run(("uname", "-r")).stdout.strip(),
            "libvirt": ".".join(map(str, session.libvirt.version)),
            "qemu": qemu.removeprefix("QEMU emulator version "),
            "netperf": parse_version(host.run(VERSION_ARGV, check=False).stdout),
        },
        settings={
            "nic_rx_usecs": netdev.rx_usecs_of(host, session.nic),
            "peer_rx_usecs": netdev.rx_usecs_of(session.peer, session.peer_nic),
        },
        command_lines={"host_kernel": read_text(host, "/proc/cmdline").strip()},
    )
