"""Whether KVM is usable on this machine: whether it has booted a kernel.

/dev/kvm that is there, opens and answers its API version may still not boot a stock kernel, under
a hypervisor that emulates nested virtualisation badly, so nothing less is taken as proof.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NODE = Path("/dev/kvm")
FIRMWARE = (Path("/usr/share/seabios"), Path("/usr/share/qemu"))
SIGN_OF_LIFE = "Linux version"
DEADLINE_S = 15.0


@dataclass(frozen=True, kw_only=True)
class Kvm:
    """Whether KVM is usable, and why that is known: one line."""

    usable: bool
    reason: str


def node_problem() -> str | None:
    """Return why this user cannot even open /dev/kvm, or None."""
    if not NODE.exists():
        return f"no {NODE}: the CPU, the BIOS or this machine's own hypervisor does not offer KVM"
    if not os.access(NODE, os.R_OK | os.W_OK):
        return f"{NODE} is there, but not for this user"
    return None


def try_kvm(
    emulator: Path,
    kernel: Path,
    *,
    firmware: Sequence[Path] = FIRMWARE,
    deadline_s: float = DEADLINE_S,
) -> Kvm:
    """Boot a kernel (a bzImage) with KVM as far as its first line, and say how that went."""
    if problem := node_problem():
        return Kvm(usable=False, reason=problem)
    with tempfile.TemporaryDirectory(prefix="zclab-kvm-") as folder:
        console = Path(folder) / "console"
        argv = boot_argv(emulator, kernel, firmware=firmware, console=console)
        return _boot(argv, console, deadline_s)


def boot_argv(
    emulator: Path, kernel: Path, *, firmware: Sequence[Path], console: Path
) -> tuple[str, ...]:
    """Return QEMU's command line for a boot that ends itself, there being no root to mount."""
    return (
        str(emulator),
        *(word for path in firmware for word in ("-L", str(path))),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35", "-accel", "kvm", "-cpu", "max", "-m", "512"),
        *("-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"),
        *("-serial", f"file:{console}"),
    )


def _boot(argv: Sequence[str], console: Path, deadline_s: float) -> Kvm:
    began = time.monotonic()
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while time.monotonic() - began < deadline_s:
                ended = process.poll() is not None
                if console.exists() and SIGN_OF_LIFE in console.read_text(errors="replace"):
                    seconds = time.monotonic() - began
                    return Kvm(
                        usable=True, reason=f"booted a kernel, first line in {seconds:.1f} s"
                    )
                if ended:
                    said = (process.communicate()[1].strip() or "nothing").splitlines()[-1]
                    return Kvm(usable=False, reason=f"QEMU ended without a boot and said: {said}")
                time.sleep(0.05)
        finally:
            process.kill()
    return Kvm(usable=False, reason=f"{NODE} answers, but booted no kernel within {deadline_s:g} s")
