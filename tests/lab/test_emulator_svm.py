"""The emulator's fixes for SVM: with each a hypervisor does well, without it the same one does not.

An injected interrupt is delivered once, and a virtual one when CR8 lets it: in virtual time, so
that the emulator does the same in every run, on any machine. And other CPUs leave the first one's
flags alone: with a thread for each CPU, and as those race, without the fix it takes two CPUs here
to see it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from zclab.build.emulator import EmulatorArtifact, build_emulator

pytestmark = pytest.mark.lab

SOURCES = Path(__file__).parents[1] / "data/build"
CFLAGS = (
    *("-m32", "-O1", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-mgeneral-regs-only"),
    *("-fno-pie", "-fno-stack-protector", "-fcf-protection=none"),
    *("-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"),
    "-Wl,-n,-Ttext=0x100000",  # the multiboot header has to be near the file's beginning
)
VIRTUAL_TIME = ("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off")
TWO_THREADS = ("-accel", "tcg,thread=multi", "-smp", "2")
HANG_S = 300
ENDED_ITSELF = 1  # what isa-debug-exit makes of the 0 that the hypervisor writes


def compiled(name: str, folder: Path) -> Path:
    """Compile a bare-metal hypervisor to a multiboot kernel."""
    binary = folder / f"{name}.elf"
    subprocess.run(("gcc", *CFLAGS, "-o", str(binary), str(SOURCES / f"{name}.c")), check=True)
    return binary


@pytest.fixture(scope="module")
def injecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("svm-inject", tmp_path_factory.mktemp("svm"))


@pytest.fixture(scope="module")
def lowering_tpr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("svm-cr8", tmp_path_factory.mktemp("svm"))


@pytest.fixture(scope="module")
def on_two_cpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("svm-smp", tmp_path_factory.mktemp("svm"))


def run(emulator: EmulatorArtifact, hypervisor: Path, accelerator: tuple[str, ...]) -> str:
    """Boot a hypervisor and return what it prints."""
    done = ended(emulator, hypervisor, accelerator)
    assert done.returncode == ENDED_ITSELF, done.stderr
    return done.stdout


def ended(
    emulator: EmulatorArtifact, hypervisor: Path, accelerator: tuple[str, ...]
) -> subprocess.CompletedProcess[str]:
    """Boot a hypervisor and return how the emulator ended."""
    firmware = [word for folder in emulator.firmware_dirs for word in ("-L", str(folder))]
    machine = ("-machine", "q35", "-cpu", "max", "-nodefaults", "-display", "none", "-no-reboot")
    console = ("-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
    argv = (str(emulator.binary), *firmware, *accelerator, *machine, *console)
    return subprocess.run(
        (*argv, "-kernel", str(hypervisor)),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def test_an_injected_interrupt_is_delivered_once(injecting: Path) -> None:
    assert run(build_emulator(), injecting, VIRTUAL_TIME) == "injected 100 delivered 100\n"


def test_without_the_fix_it_is_delivered_twice(injecting: Path) -> None:
    """If this fails, QEMU has the fix, and ``emulator-patches/`` can lose it."""
    unpatched = build_emulator(series=None)
    assert run(unpatched, injecting, VIRTUAL_TIME) == "injected 100 delivered 200\n"


def test_a_virtual_interrupt_is_delivered_when_cr8_lets_it(lowering_tpr: Path) -> None:
    said = run(build_emulator(), lowering_tpr, VIRTUAL_TIME)
    assert said == "pending 100 delivered 100 early 0\n"


def test_without_the_fix_the_emulator_aborts(lowering_tpr: Path) -> None:
    """If this fails, QEMU has the fix, and ``emulator-patches/`` can lose it."""
    done = ended(build_emulator(series=None), lowering_tpr, VIRTUAL_TIME)
    assert done.returncode == -signal.SIGABRT
    assert "assertion failed: (bql_locked())" in done.stderr


def test_no_cpu_changes_the_flags_of_the_first(on_two_cpus: Path) -> None:
    assert run(build_emulator(), on_two_cpus, TWO_THREADS) == "all exits expected\n"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="its threads have to race")
def test_without_the_fix_another_cpu_changes_them(on_two_cpus: Path) -> None:
    """If this fails, QEMU has the fix, and ``emulator-patches/`` can lose it."""
    unpatched = build_emulator(series=None)
    # On a busy machine its threads may not meet.
    seen = (run(unpatched, on_two_cpus, TWO_THREADS) for _ in range(5))
    assert "unexpected exit 1024\n" in seen
