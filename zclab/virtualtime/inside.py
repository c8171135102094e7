"""The experiment on a host that runs it by itself, in virtual time.

Nothing may come from outside while the clock runs. The host reads its order from a file that the
emulator shows it, writes what it found out to a serial line that nobody answers, and pauses its
own machine where a state is to be kept: a state that was saved or restored at another moment
would be another experiment.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
import tty
from collections.abc import Sequence
from dataclasses import asdict
from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE
from pathlib import Path

from zclab.bench.execute import execute
from zclab.bench.guest import RunningGuest
from zclab.bench.provenance import seen_on_host
from zclab.errors import ZclabError
from zclab.lab.access import write_access
from zclab.lab.seed import ON_HOST
from zclab.lab.session import GuestBoot, session
from zclab.model import ModeName
from zclab.progress import silent
from zclab.runs.plan import Boot, Order
from zclab.runs.results import Sample, Trial

SEED = b"zclab"
PAUSE_DEVICE = ("0x1b36", "0x0011")
"""QEMU's pvpanic on PCI: a byte to its register and the machine stands still, then and there."""
_PANICKED = 1
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc_mmap = ctypes.CDLL(None, use_errno=True).mmap
_libc_mmap.restype = ctypes.c_void_p
_libc_mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
)


class Outbox:
    """A serial line that carries one JSON object a line, outwards only."""

    def __init__(self, path: Path) -> None:
        self._line = path.open("wb", buffering=0)
        tty.setraw(self._line.fileno())

    def write(self, kind: str, **content: object) -> None:
        """Send one message."""
        self._line.write(json.dumps({"kind": kind, **content}).encode() + b"\n")

    def add(self, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        """See execute.Store."""
        self.write(
            "trial",
            trial=trial.model_dump(mode="json"),
            samples=[sample.model_dump(mode="json") for sample in samples],
        )

    def write_raw(self, name: str, text: str) -> None:
        """See execute.Store."""
        self.write("raw", name=name, text=text)


def pause() -> None:
    """Let the machine stand still until the emulator lets it go on, or goes on as a copy of it."""
    for device in Path("/sys/bus/pci/devices").iterdir():
        found = tuple((device / name).read_text().strip() for name in ("vendor", "device"))
        if found == PAUSE_DEVICE:
            break
    else:
        raise ZclabError("this host has no pvpanic device to pause its machine with")
    (device / "enable").write_text("1")
    start = int((device / "resource").read_text().split()[0], 16)
    with (device / "resource0").open("r+b") as file:
        # mmap.mmap() will not map more than a file's size, which here is that of the register.
        page = _libc_mmap(None, PAGESIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file.fileno(), 0)
        if page == _MAP_FAILED:
            raise ZclabError(f"{device}/resource0: {os.strerror(ctypes.get_errno())}")
        ctypes.c_uint8.from_address(page + start % PAGESIZE).value = _PANICKED


def experiment(order_file: Path, outbox: Outbox) -> None:
    """Go as far as the order says, pausing when the host is ready and when the guest is."""

    def next_order(at: str) -> Order:
        outbox.write("paused", at=at)
        pause()
        return read_order(order_file)

    def trials(guest: RunningGuest, boot: Boot) -> Boot:
        outbox.write("roles", **asdict(guest.roles))
        order = next_order("guest")
        time.sleep(order.phase_us / 1e6)
        return Boot(number=0, mode=boot.mode, repetition=0, trials=order.trials)

    order = read_order(order_file)
    folder = Path(ON_HOST) / "access"
    folder.mkdir(mode=0o700)
    boot = GuestBoot(
        kernel=Path(ON_HOST) / order.kernel_name / "bzImage",
        kernel_name=order.kernel_name,
        image=Path(ON_HOST) / order.image_name / "guest.cpio.gz",
        image_name=order.image_name,
    )
    with session(
        order.lab,
        write_access(folder, None, seed=SEED),
        boot,
        console=None,
        mtu=order.mtu,
        offloads=order.offloads,
    ) as prepared:
        outbox.write("provenance", **seen_on_host(prepared).model_dump(mode="json"))
        mode: ModeName | None = next_order("host").mode
        if mode is None:
            raise ZclabError("the order names no mode")
        boots = (Boot(number=0, mode=mode, repetition=0, trials=()),)
        execute(prepared, boots, outbox, silent, ready=trials)


def read_order(path: Path) -> Order:
    """Return the order; its file is filled up with blanks to a length that never changes."""
    return Order.model_validate_json(path.read_text().strip())


def main(order_file: str, outbox_path: str) -> None:
    """Run the experiment; whatever ends it, the last message says so."""
    outbox = Outbox(Path(outbox_path))
    try:
        experiment(Path(order_file), outbox)
    except ZclabError as exc:
        outbox.write("failed", error=type(exc).__name__, message=str(exc))
    except BaseException as exc:
        outbox.write("failed", error="ZclabError", message=f"{type(exc).__name__}: {exc}")
        raise
    finally:
        outbox.write("end")


if __name__ == "__main__":
    main(*sys.argv[1:])
