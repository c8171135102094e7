"""One run, from a lab and a plan to results on disk."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from zclab.bench.execute import execute
from zclab.bench.plan import Boot
from zclab.lab.artifacts import Artifacts
from zclab.lab.lifecycle import console_of, opened
from zclab.lab.session import Session
from zclab.model import Lab, Provenance, Switch
from zclab.netperf import VERSION_ARGV, parse_version
from zclab.progress import Progress
from zclab.runner import read_text
from zclab.store import RunDirectory


def run(
    lab: Lab,
    artifacts: Artifacts,
    boots: Sequence[Boot],
    store: RunDirectory,
    *,
    keep: bool,
    mtu: int,
    offloads: Switch,
    progress: Progress,
) -> None:
    """Execute a plan on a lab; the results, and the raw logs, are in ``store`` also on failure."""
    console = console_of(lab)
    try:
        with opened(
            lab, artifacts, keep=keep, mtu=mtu, offloads=offloads, progress=progress
        ) as session:
            store.set_provenance(provenance(session, artifacts))
            try:
                execute(session, boots, store, progress)
            finally:
                _keep_guest_console(session, store)
    finally:
        if console and console.exists():
            store.write_raw("host-console.log", console.read_text(errors="replace"))


def provenance(session: Session, artifacts: Artifacts) -> Provenance:
    """Say what the figures of a session are made with."""
    host = session.host
    cpu_models = [
        line.partition(": ")[2]
        for line in read_text(host, "/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    qemu = host.run(("qemu-system-x86_64", "--version")).stdout.splitlines()[0]
    versions = {
        "host_kernel": host.run(("uname", "-r")).stdout.strip(),
        "kernel_source": artifacts.kernel.base,
        "libvirt": session.libvirt.version(),
        "qemu": qemu.removeprefix("QEMU emulator version "),
        "netperf": parse_version(host.run(VERSION_ARGV, check=False).stdout),
    }
    keys = dict(artifacts.keys)
    keys["series"] = artifacts.kernel.series_hash
    if artifacts.host:
        versions["emulator"] = artifacts.host.emulator.version
        keys["emulator_series"] = artifacts.host.emulator.series_hash
    return Provenance(
        cpu_model=cpu_models[0] if cpu_models else "unknown",
        versions=versions,
        artifacts=keys,
        command_lines={
            "zclab": shlex.join(sys.argv),
            "host_kernel": read_text(host, "/proc/cmdline").strip(),
        },
    )


def _keep_guest_console(session: Session, store: RunDirectory) -> None:
    log = session.guest_files.console_log
    done = session.host.run(("cat", log), check=False)
    if done.ok:
        store.write_raw("guest-console.log", done.stdout)
