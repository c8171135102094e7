"""The emulator's fix for queues: no frame overtakes those that wait for a NIC's receive ring.

Two NICs on a hub, driven register by register over QEMU's test protocol, without any guest.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zclab.build.emulator import EmulatorArtifact, build_emulator

pytestmark = pytest.mark.lab

# Intel 82574L datasheet, chapter 10: registers, relative to BAR 0.
RCTL, TCTL = 0x100, 0x400
RDBAL, TDBAL = 0x2800, 0x3800
LENGTH, HEAD, TAIL = 0x08, 0x10, 0x18  # relative to xDBAL
ENABLE = 1 << 1
PROMISCUOUS = 1 << 3
STRIP_CRC = 1 << 26
LAST_SEGMENT = 1

SENDER, RECEIVER = 4, 8  # PCI slots
BAR = {SENDER: 0xFE000000, RECEIVER: 0xFE100000}
RING = {SENDER: 0x100000, RECEIVER: 0x110000}
BUFFERS = {SENDER: 0x200000, RECEIVER: 0x300000}
DESCRIPTORS = 64
DESCRIPTOR_BYTES = 16
BUFFER_BYTES = 2048
FRAME_BYTES = 60


class Machine:
    """What is connected to QEMU's ``-qtest stdio``; an answer for each command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def command(self, line: str) -> str:
        """Return the answer to a command, without its OK."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        for answer in self._process.stdout:
            if answer.startswith("OK"):
                return answer.removeprefix("OK").strip()
        pytest.fail(f"QEMU has ended at: {line}")

    def configure(self, slot: int, offset: int, value: int) -> None:
        """Write 32 bits to the configuration space of a PCI device."""
        self.command(f"outl 0xcf8 {0x80000000 | slot << 11 | offset:#x}")
        self.command(f"outl 0xcfc {value:#x}")

    def set(self, slot: int, register: int, value: int) -> None:
        """Write a register of a NIC."""
        self.command(f"writel {BAR[slot] + register:#x} {value:#x}")

    def write(self, address: int, data: bytes) -> None:
        """Write to memory."""
        self.command(f"write {address:#x} {len(data)} 0x{data.hex()}")

    def read(self, address: int, size: int) -> bytes:
        """Read from memory."""
        return bytes.fromhex(self.command(f"read {address:#x} {size}").removeprefix("0x"))

    def set_up(self, slot: int, base: int) -> None:
        """Map the NIC, let it do DMA, and give it a ring of descriptors with their buffers.

        One layout will do: a legacy descriptor to receive takes the address, one to send also the
        length and the command.
        """
        self.configure(slot, 0x10, BAR[slot])
        self.configure(slot, 0x04, 0x6)
        for number in range(DESCRIPTORS):
            buffer = BUFFERS[slot] + number * BUFFER_BYTES
            descriptor = buffer.to_bytes(8, "little") + FRAME_BYTES.to_bytes(2, "little")
            tail = bytes((0, LAST_SEGMENT, 0, 0, 0, 0))
            self.write(RING[slot] + number * DESCRIPTOR_BYTES, descriptor + tail)
        self.set(slot, base, RING[slot])
        self.set(slot, base + LENGTH, DESCRIPTORS * DESCRIPTOR_BYTES)

    def send_up_to(self, number: int) -> None:
        """Send what has not been sent of as many frames, each with its number."""
        for one in range(number):
            frame = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + bytes([one])
            self.write(BUFFERS[SENDER] + one * BUFFER_BYTES, frame.ljust(FRAME_BYTES, b"\0"))
        self.set(SENDER, TDBAL + TAIL, number)

    def receive_up_to(self, number: int) -> None:
        """Let the receiver have as many buffers in all."""
        self.set(RECEIVER, RDBAL + TAIL, number)

    def received(self, number: int) -> list[int]:
        """Return the numbers of the first frames received."""
        buffers = (BUFFERS[RECEIVER] + one * BUFFER_BYTES for one in range(number))
        return [self.read(buffer + 14, 1)[0] for buffer in buffers]


@contextmanager
def machine(emulator: EmulatorArtifact) -> Iterator[Machine]:
    firmware = [word for folder in emulator.firmware_dirs for word in ("-L", str(folder))]
    nics = [
        word
        for slot in (SENDER, RECEIVER)
        for word in (
            *("-netdev", f"hubport,id=h{slot},hubid=0"),
            *("-device", f"e1000e,netdev=h{slot},addr={slot},romfile="),
        )
    ]
    process = subprocess.Popen(
        (
            *(str(emulator.binary), *firmware, "-M", "q35", "-accel", "qtest", "-qtest", "stdio"),
            *("-nodefaults", "-display", "none", *nics),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            yield Machine(process)
        finally:
            process.kill()


def order_of_arrival(emulator: EmulatorArtifact) -> list[int]:
    """Send eleven frames to a NIC that has four buffers, then two more, two more, and the rest."""
    with machine(emulator) as qemu:
        qemu.set_up(SENDER, TDBAL)
        qemu.set_up(RECEIVER, RDBAL)
        qemu.set(SENDER, TCTL, ENABLE)
        qemu.set(RECEIVER, RCTL, ENABLE | PROMISCUOUS | STRIP_CRC)
        qemu.receive_up_to(4)
        qemu.send_up_to(10)
        qemu.receive_up_to(6)
        qemu.send_up_to(11)
        qemu.receive_up_to(8)
        qemu.receive_up_to(20)
        return qemu.received(11)


def test_frames_arrive_in_the_order_they_were_sent_in() -> None:
    assert order_of_arrival(build_emulator()) == list(range(11))


def test_without_the_fix_the_last_frame_overtakes_those_that_wait() -> None:
    """If this fails, QEMU has the fix, and ``emulator-patches/`` can lose it."""
    assert order_of_arrival(build_emulator(series=None)) == [*range(6), 10, *range(6, 10)]
