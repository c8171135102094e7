"""The emulated host in virtual time, where every start from one state is the same start.

The emulator counts instructions and makes each one nanosecond; one thread runs everything, there
are no disks and no way in, and all randomness comes from one seed. What is left that could tell
two runs apart is what they were asked to do: the order, which the host reads from a file that the
emulator shows it. What it answers goes out over a serial line.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from zclab.errors import KernelReportError, LabError, ParseError
from zclab.host.console import ConsoleWatch
from zclab.lab import machine
from zclab.lab.machine import KERNEL_COMMAND_LINE, Hardware
from zclab.lab.watch import Heard
from zclab.logs import last_lines
from zclab.outside import Said, from_json, from_plain, quoted
from zclab.runner import wait_until

ORDER_BYTES = 1 << 16
"""The host learns the length of its order once; later orders are filled up to it."""

DEADLINE_S = 1800
"""Of this machine's time, without a word from the host: virtual time has deadlines of its own."""

POLL_S = 0.02
_SCRATCH = "virtual-"
STATE = "state"


class _Status(Said):
    status: str = ""


_STATUS = TypeAdapter(_Status)
_MESSAGE = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class VirtualMachine:
    """A host in virtual time, from power-on (``initrd``) or from a ``state``.

    ``plugins`` are QEMU's ``-plugin`` arguments; a plugin watches and changes nothing.
    """

    hardware: Hardware
    cpu_model: str
    initrd: Path | None = None
    state: Path | None = None
    plugins: tuple[str, ...] = ()

    @property
    def argv(self) -> tuple[str, ...]:
        """QEMU's command line."""
        folder = self.hardware.folder
        origin: tuple[str, ...] = ()
        if self.initrd:
            origin = ("-initrd", str(self.initrd))
        if self.state:
            # QEMU announces a machine that has arrived to its network, by this machine's clock.
            quiet = ("-global", "migration.announce-rounds=0")
            origin = ("-incoming", f"file:{self.state}", *quiet)
        return (
            *self.hardware.argv,
            *("-accel", "tcg,thread=single", "-cpu", self.cpu_model, "-smp", "1"),
            *("-icount", "shift=0,sleep=off", "-seed", "1"),
            *("-rtc", "base=2026-01-01T00:00:00,clock=vm"),
            *("-append", KERNEL_COMMAND_LINE),
            *("-device", "pvpanic-pci", "-action", "panic=pause"),
            *("-fw_cfg", f"name=opt/zclab/order,file={folder}/order"),
            *("-serial", f"file:{folder}/console.log"),
            *("-serial", f"file:{folder}/outbox"),
            *(word for plugin in self.plugins for word in ("-plugin", plugin)),
            *origin,
        )


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started host in virtual time; ``watch`` reads its console while messages() is read."""

    folder: Path
    process: subprocess.Popen[bytes]
    stop: threading.Event
    watch: ConsoleWatch = field(default_factory=ConsoleWatch)

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield what the host says, until it pauses (the last message) or has come to its end.

        A message has a ``kind``, whatever else; ParseError is raised for what is none. Raises
        LabError where the emulator ends before, where nothing is said any more or where ``stop`` is
        set, and KernelReportError where the host's kernel reports a bug.
        """
        heard_at = time.monotonic()
        with (
            (self.folder / "outbox").open("rb") as outbox,
            (self.folder / "console.log").open(errors="replace") as console,
        ):
            rest = b""
            while True:
                ended = self.process.poll() is not None
                *lines, rest = (rest + outbox.read()).split(b"\n")
                # Read after the messages: what was printed before one of them is known with it.
                report = self.watch.feed(console.read())
                for line in lines:
                    heard_at = time.monotonic()
                    message = message_of(line)
                    yield message
                    if message["kind"] in {"paused", "end"}:
                        return
                if report:
                    shown = "\n  ".join((report.title, *report.lines))
                    raise KernelReportError(f"the kernel of the host reported: {shown}")
                if self.stop.is_set():
                    raise LabError("the run was stopped")
                if ended:
                    raise LabError(f"the emulated host ended by itself\n{self._last_words()}")
                if time.monotonic() - heard_at > DEADLINE_S:
                    raise LabError(
                        f"the host said nothing for {DEADLINE_S} s\n{self._last_words()}"
                    )
                time.sleep(POLL_S)

    def heard(self) -> Heard:
        """Return what the host's kernel said, since this was last asked, that ends nothing."""
        return tuple(("host", notice) for notice in self.watch.taken())

    def save(self, path: Path) -> None:
        """Write the state of a machine that has paused to a file."""
        wait_until(self._stands_still, what="the host's machine to stand still", deadline_s=60)
        machine.monitor(self.folder, "migrate", {"uri": f"file:{path}"})
        wait_until(
            lambda: self._migration() in {"completed", "failed"},
            what="the state to be written",
            deadline_s=600,
        )
        if self._migration() != "completed":
            raise LabError(f"{path}: the emulator could not write its state")

    def resume(self) -> None:
        """Let a machine go on that came from a state."""
        wait_until(
            lambda: self._migration() == "completed", what="the state to be read", deadline_s=600
        )
        machine.monitor(self.folder, "cont")

    def _stands_still(self) -> bool:
        return self._status("query-status") == "guest-panicked"

    def _migration(self) -> str:
        return self._status("query-migrate")

    def _status(self, command: str) -> str:
        answer = machine.monitor(self.folder, command)
        return from_plain(_STATUS, answer, f"QEMU's monitor: {command}").status

    def _last_words(self) -> str:
        emulator = last_lines(self.folder / "emulator.log", 5)
        console = last_lines(self.folder / "console.log", 15)
        return "\n".join(f"  {line}" for line in (*emulator, *console))


def message_of(line: bytes) -> dict[str, Any]:
    """Return a message of the host, a JSON object with a ``kind``; ParseError where it is none."""
    message = from_json(_MESSAGE, line, "a message of the host")
    if not isinstance(message.get("kind"), str):
        shown = quoted(line.decode(errors="replace"))
        raise ParseError(f"a message of the host: no kind in it; it said {shown}")
    return message


@contextmanager
def running(virtual: VirtualMachine, order: str, stop: threading.Event) -> Iterator[Running]:
    """Start a host with its order; it ends with this."""
    folder = virtual.hardware.folder
    (folder / "order").write_bytes(order.encode().ljust(ORDER_BYTES))
    for name in ("outbox", "console.log"):
        (folder / name).touch()  # QEMU answers on its monitor before it opens its serial lines
    process = machine.start(virtual.argv, folder, with_me=True)
    started = Running(folder=folder, process=process, stop=stop)
    try:
        if virtual.state:
            started.resume()
        yield started
    finally:
        process.kill()
        process.wait()


@contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """Make a folder for one machine's sockets and logs; it goes with the machine.

    What killed zclabs left goes now: a folder whose lock nobody holds is nobody's. One that is just
    being made has no holder yet, so folders are made and looked at one at a time.
    """
    root.mkdir(parents=True, mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        with _turn_in(root):
            for left in root.glob(f"{_SCRATCH}*"):
                with suppress(OSError), (left / "lock").open("ab") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left)
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=root))
            holder = stack.enter_context((Path(name) / "lock").open("wb"))
            fcntl.flock(holder, fcntl.LOCK_EX)
        yield Path(name)


@contextmanager
def _turn_in(folder: Path) -> Iterator[None]:
    """Be the only one that has a turn in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_initrd(path: Path, files: Mapping[str, Path]) -> None:
    """Write an initramfs of ``files``, by their names in it: equal from equal contents.

    cpio itself would not do: it writes times, and how many links the files have here.
    """
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    with path.open("wb") as archive:
        for inode, name in enumerate(sorted(folders | files.keys()), start=1):
            source = files.get(name)
            mode = stat.S_IFDIR | 0o755 if source is None else stat.S_IFREG | 0o755
            _cpio_entry(archive, name, inode, mode, source)
        _cpio_entry(archive, "TRAILER!!!", 0, 0, None)


def _cpio_entry(archive: BinaryIO, name: str, inode: int, mode: int, source: Path | None) -> None:
    """Write one entry of a cpio archive, as in the kernel's initramfs-buffer-format.rst."""
    size = source.stat().st_size if source else 0
    links, owner, time_s, device = 1, 0, 0, 0
    numbers = (inode, mode, owner, owner, links, time_s, size, *[device] * 4, len(name) + 1, 0)
    archive.write(b"070701" + b"".join(b"%08x" % number for number in numbers))
    archive.write(name.encode() + b"\0")
    _pad(archive)
    if source:
        with source.open("rb") as content:
            shutil.copyfileobj(content, archive, 1 << 20)
        _pad(archive)


def _pad(archive: BinaryIO) -> None:
    archive.write(bytes(-archive.tell() % 4))
