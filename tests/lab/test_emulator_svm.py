"""The emulator's SVM fix: an interrupt that a hypervisor injects is delivered once.

In virtual time, so that the emulator does the same in every run, on any machine.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from zclab.build.emulator import EmulatorArtifact, build_emulator

pytestmark = pytest.mark.lab

SOURCE = Path(__file__).parents[1] / "data/build/svm-inject.c"
CFLAGS = (
    *("-m32", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mgeneral-regs-only"),
    *("-fno-pie", "-fno-stack-protector", "-fcf-protection=none"),
    *("-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"),
    "-Wl,-n,-Ttext=0x100000",  # the multiboot header has to be near the file's beginning
)
VIRTUAL_TIME = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off")
HANG_S = 300
ENDED_ITSELF = 1  # what isa-debug-exit makes of the 0 that the hypervisor writes


@pytest.fixture(scope="module")
def hypervisor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the bare-metal hypervisor to a multiboot kernel."""
    binary = tmp_path_factory.mktemp("svm") / "svm-inject.elf"
    subprocess.run(("gcc", *CFLAGS, "-o", str(binary), str(SOURCE)), check=True)
    return binary


def run(emulator: EmulatorArtifact, hypervisor: Path) -> str:
    """Boot the hypervisor and return what it prints."""
    firmware = [word for folder in emulator.firmware_dirs for word in ("-L", str(folder))]
    machine = ("-cpu", "max", "-nodefaults", "-display", "none", "-no-reboot")
    console = ("-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    argv = (str(emulator.binary), *firmware, *VIRTUAL_TIME, *machine, *console)
    done = subprocess.run(
        (*argv, "-kernel", str(hypervisor)),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == ENDED_ITSELF, done.stderr
    return done.stdout


def test_an_injected_interrupt_is_delivered_once(hypervisor: Path) -> None:
    assert run(build_emulator(), hypervisor) == "injected 100 delivered 100\n"


def test_without_the_fix_it_is_delivered_twice(hypervisor: Path) -> None:
    """If this fails, QEMU has the fix, and ``emulator-patches/`` can lose it."""
    assert run(build_emulator(series=None), hypervisor) == "injected 100 delivered 200\n"
