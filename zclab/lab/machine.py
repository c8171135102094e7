"""The emulated host as a QEMU process: its command line, its monitor, finding and ending it.

There is no record of process ids to go stale: a lab's emulator is the process whose command line
names the lab's pid file.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, ExecuteError, QMPClient, QMPError

from zclab.errors import LabError
from zclab.lab.names import MIGRATION_MACS, Place
from zclab.model import Emulator
from zclab.runner import wait_until

KERNEL_COMMAND_LINE = (
    "console=ttyS0 loglevel=5 printk.time=1 panic=-1 "
    # The time stamp counters of emulated CPUs agree; the kernel's own doubt of them costs time.
    # On a busy controller the timer check at boot takes a late interrupt for a missing one.
    "tsc=reliable no_timer_check intel_iommu=on iommu=pt "
    # KVM is built in and takes the TSC's first calibration for the guest's frequency. Where the
    # refined one differs by more than this, it wants to scale, cannot, and then leaves the guest's
    # TSC without an offset: its timer interrupts come as late as the host is old.
    "kvm.tsc_tolerance_ppm=100000"
)
EXIT_DEADLINE_S = 10
LISTEN_DEADLINE_S = 5
"""From the moment that QEMU's monitor has a socket until QEMU listens to it: no time at all, unless
the controller has other things to do just then.
"""
DEBUG_LOG = "debug.log"
"""What QEMU logs with ``-d``, in the lab's folder."""
LOGGED = "cpu_reset"
"""A host that resets itself is gone without a word of its own; this says what it was at."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """How a host of two is joined with the other one, by sockets that it inherits.

    Their hubs are one segment: what a NIC of either sends, all others hear. A second network is
    between the two alone, for what migrates a guest. ``segment`` and ``migration`` are descriptors:
    QEMU leaves a socket that it has accepted itself in blocking mode, and stands still while the
    other host's NIC takes nothing.
    """

    place: Place
    segment: int
    migration: int

    @property
    def chassis(self) -> int:
        """The number of the port of the NIC under test, by which its MAC address is known."""
        return 1 if self.place == "first" else SECOND_CHASSIS

    @property
    def argv(self) -> tuple[str, ...]:
        """The part of QEMU's command line that joins them."""
        return (
            *("-netdev", f"stream,id=segment,addr.type=fd,addr.str={self.segment}"),
            *("-netdev", "hubport,id=segment-port,hubid=0,netdev=segment"),
            *("-netdev", f"stream,id=migration,addr.type=fd,addr.str={self.migration}"),
            "-device",
            f"virtio-net-pci,netdev=migration,mac={MIGRATION_MACS[self.place]},romfile=,addr=0x10",
        )

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What QEMU inherits."""
        return self.segment, self.migration


@contextmanager
def joined() -> Iterator[tuple[Joined, Joined]]:
    """Make the sockets that join two hosts; they are the hosts' own once these have started."""
    with ExitStack() as stack:
        segment, migration = (
            tuple(stack.enter_context(end).fileno() for end in socket.socketpair())
            for _ in range(2)
        )
        first, second = (
            Joined(place=place, segment=segment[at], migration=migration[at])
            for at, place in enumerate(_PLACES)
        )
        yield first, second


_PLACES: tuple[Place, ...] = ("first", "second")
SECOND_CHASSIS = 3


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What an emulated host is made of in either clock; ``folder`` gets its sockets and logs.

    ``joined`` is None where a lab has one host. Of two, the first has the peer's NIC.
    """

    name: str
    folder: Path
    emulator: Path
    firmware: tuple[Path, ...]
    kernel: Path
    settings: Emulator
    joined: Joined | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """The part of QEMU's command line that says so."""
        nic, joined = self.settings.nic, self.joined
        with_peer = joined is None or joined.place == "first"
        return (
            str(self.emulator),
            *(word for path in self.firmware for word in ("-L", str(path))),
            *("-name", f"zclab-{self.name}", "-pidfile", str(pidfile(self.folder))),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "q35,kernel-irqchip=split", "-m", str(self.settings.memory_mib)),
            *("-kernel", str(self.kernel)),
            *("-device", "intel-iommu,intremap=on"),
            # The DUT's NIC and the peer's, each behind a port of its own (so alone in its IOMMU
            # group), with a hub for a cable.
            *_cabled_nic("dut", nic, chassis=joined.chassis if joined else 1),
            *(_cabled_nic("peer", nic, chassis=2) if with_peer else ()),
            *("-qmp", f"unix:{self.folder}/qmp.sock,server=on,wait=off"),
        )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """An emulated host that runs as fast as it can, and is reached over SSH."""

    hardware: Hardware
    image: Path
    seed: Path
    accelerator: str

    @property
    def argv(self) -> tuple[str, ...]:
        """QEMU's command line."""
        hardware, settings = self.hardware, self.hardware.settings
        accel = "tcg,thread=multi" if self.accelerator == "tcg" else self.accelerator
        return (
            *hardware.argv,
            *("-accel", accel, "-cpu", settings.cpu_model, "-smp", str(settings.cpus)),
            *("-d", LOGGED, "-D", str(hardware.folder / DEBUG_LOG)),
            *("-append", f"{KERNEL_COMMAND_LINE} root=/dev/vda rootfstype=squashfs ro"),
            *_disk("image", self.image),
            *_disk("seed", self.seed),
            # restrict: the host reaches nothing outside, only SSH comes in, from this machine.
            *("-netdev", "user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"),
            *("-device", "virtio-net-pci,netdev=mgmt,romfile="),
            *("-chardev", ",".join((
                f"socket,id=console,path={hardware.folder}/console.sock,server=on,wait=off",
                f"logfile={hardware.folder}/console.log",
            ))),
            *("-serial", "chardev:console"),
            # Behind all that one host has: its first virtio NIC is the one that SSH comes in by.
            *(hardware.joined.argv if hardware.joined else ()),
        )  # fmt: skip


def start(
    argv: Sequence[str], folder: Path, *, with_me: bool, descriptors: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start the emulator of the lab in ``folder``, which inherits ``descriptors``.

    ``with_me`` makes it end with this thread, whatever ends that. Raises LabError with QEMU's own
    words where it does not get as far as its monitor.
    """
    argv = ("setpriv", "--pdeathsig", "KILL", "--", *argv) if with_me else argv
    log = folder / "emulator.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle
            env={**os.environ, "TMPDIR": str(folder)},
            pass_fds=descriptors,
        )
    wait_until(
        lambda: (folder / "qmp.sock").exists() or process.poll() is not None,
        what="QEMU to open its monitor",
        deadline_s=EXIT_DEADLINE_S,
        interval_s=0.02,
    )
    if process.poll() is not None:
        raise LabError(f"the emulator did not start: {log.read_text(errors='replace').strip()}")
    return process


def pidfile(folder: Path) -> Path:
    """Return the pid file that the emulator of the lab in ``folder`` has on its command line."""
    return folder / "emulator.pid"


def processes(folder: Path) -> list[int]:
    """Return the process ids of emulators, of this user, that serve the lab in ``folder``."""
    wanted = os.fsencode(pidfile(folder))
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def kill(folder: Path) -> None:
    """End all emulators of a lab and wait until they are gone."""
    for pid in processes(folder):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: not processes(folder),
        what=f"the emulator of {folder} to end",
        deadline_s=EXIT_DEADLINE_S,
    )


def forwarded_port(folder: Path) -> int:
    """Return the loopback port that leads to the host's SSH server.

    QEMU chose a free one itself (port 0), so nobody can have taken it in between.
    """
    text = monitor(folder, "human-monitor-command", {"command-line": "info usernet"})
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+([0-9]{1,5})\b", str(text))
    if not found:
        raise LabError(f"the emulator forwards no port: {text}")
    return int(found[1])


def monitor(folder: Path, command: str, arguments: dict[str, Any] | None = None) -> object:
    """Run one command of QEMU's monitor protocol; LabError where the monitor does not answer."""

    async def execute() -> object:
        client = QMPClient(folder.name)
        await client.connect(str(folder / "qmp.sock"))
        try:
            return await client.execute(command, arguments)
        finally:
            await client.disconnect()

    end = time.monotonic() + LISTEN_DEADLINE_S
    while True:
        try:
            return asyncio.run(execute())
        except (QMPError, ExecuteError, OSError) as exc:
            if not _is_refused(exc) or time.monotonic() >= end:
                raise LabError(f"the monitor of lab {folder.name}: {command}: {exc}") from exc
        time.sleep(0.05)


def _is_refused(exc: Exception) -> bool:
    return isinstance(exc, ConnectError) and isinstance(exc.exc, ConnectionRefusedError)


def _disk(name: str, path: Path) -> Sequence[str]:
    return (
        "-drive",
        f"if=none,id={name},file={path},format=raw,readonly=on",
        "-device",
        f"virtio-blk-pci,drive={name}",
    )


def _cabled_nic(name: str, model: str, *, chassis: int) -> Sequence[str]:
    mac = f"52:54:00:7a:63:{chassis:02x}"
    return (
        *("-device", f"pcie-root-port,id=port-{name},chassis={chassis},slot={chassis}"),
        *("-netdev", f"hubport,id={name},hubid=0"),
        *("-device", f"{model},netdev={name},bus=port-{name},mac={mac},romfile="),
    )
