"""Virtual time: what a host is started with, told, and heard to say."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import KernelReportError, LabError
from zclab.lab.machine import Hardware
from zclab.model import Emulator
from zclab.runs.plan import Order
from zclab.virtualtime import inside, saved_states
from zclab.virtualtime.qemu import ORDER_BYTES, Running, VirtualMachine, scratch, write_initrd
from zclab.virtualtime.saved_states import program_files


def a_machine(folder: Path, **origin: Path) -> VirtualMachine:
    return VirtualMachine(
        hardware=Hardware(
            name="t",
            folder=folder,
            emulator=Path("qemu"),
            firmware=(),
            kernel=Path("bzImage"),
            settings=Emulator(cpus=4),
        ),
        cpu_model="max,-erms,-fsrm",
        **origin,
    )


@contextmanager
def said(folder: Path, outbox: str, console: str = "", code: str = "pass") -> Iterator[Running]:
    """Have a machine that has said so much, until it ends or is ended with this."""
    (folder / "outbox").write_text(outbox)
    (folder / "console.log").write_text(console)
    (folder / "emulator.log").write_text("qemu: terminating\n")
    with subprocess.Popen((sys.executable, "-c", code)) as process:
        try:
            yield Running(folder=folder, process=process, stop=threading.Event())
        finally:
            process.kill()


def test_the_machine_has_one_thread_one_cpu_one_clock_and_no_way_in(tmp_path: Path) -> None:
    words = " ".join(a_machine(tmp_path, initrd=Path("initrd")).argv)

    assert "-accel tcg,thread=single" in words
    assert "-smp 1 -icount shift=0,sleep=off -seed 1 " in words
    assert "clock=vm" in words
    assert "hostfwd" not in words
    assert "virtio-blk" not in words


def test_a_machine_from_a_state_does_not_announce_itself(tmp_path: Path) -> None:
    argv = a_machine(tmp_path, state=Path("state")).argv

    assert argv[-4:] == ("-incoming", "file:state", "-global", "migration.announce-rounds=0")


def test_the_program_for_the_host_brings_no_builders_and_no_libraries_for_terminals() -> None:
    files = program_files()

    assert "zclab/virtualtime/inside.py" in files
    assert "zclab/runner/__init__.py" in files
    assert not [name for name in files if "/build/" in name or "/report" in name]
    texts = [path.read_text() for path in files.values()]
    assert not [text for text in texts if "import rich" in text or "from qemu" in text]


def test_an_order_is_read_from_a_file_that_is_filled_up(tmp_path: Path) -> None:
    order = Order(
        lab=load_lab("emulated"), kernel_name="k", image_name="i", mtu=1500, offloads="on"
    )
    file = tmp_path / "order"
    file.write_bytes(order.model_dump_json().encode().ljust(ORDER_BYTES))

    assert inside.read_order(file) == order


def test_messages_end_where_the_host_pauses(tmp_path: Path) -> None:
    with said(tmp_path, '{"kind": "roles"}\n{"kind": "paused", "at": "host"}\n') as running:
        assert [message["kind"] for message in running.messages()] == ["roles", "paused"]


def test_a_host_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with (
        said(tmp_path, '{"kind": "ro', "the end\n") as running,
        pytest.raises(LabError, match=r"ended by itself\n  qemu: terminating\n  the end"),
    ):
        list(running.messages())


def test_a_kernel_report_on_the_console_ends_the_wait(tmp_path: Path) -> None:
    oops = "[    9.1] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
    with (
        said(tmp_path, "", oops, "import time; time.sleep(30)") as running,
        pytest.raises(KernelReportError, match="BUG: kernel NULL pointer dereference"),
    ):
        list(running.messages())


def test_what_the_kernel_said_before_a_message_is_known_with_it(tmp_path: Path) -> None:
    hang = "[    9.1] e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:\n"
    with said(tmp_path, '{"kind": "trial"}\n{"kind": "end"}\n', hang) as running:
        assert next(running.messages())["kind"] == "trial"
        ((where, notice),) = running.heard()

        assert (where, notice.severity) == ("host", "fails")


def test_no_state_is_kept_in_which_the_nic_hangs(tmp_path: Path) -> None:
    hang = "[    9.1] e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:\n"
    with (
        said(tmp_path, '{"kind": "paused", "at": "host"}\n', hang) as running,
        pytest.raises(LabError, match=r"kernel of the host: .*Detected Hardware Unit Hang"),
    ):
        saved_states._advance(running, "host", tmp_path / "state")


def test_a_run_that_is_stopped_stops_listening(tmp_path: Path) -> None:
    with said(tmp_path, "", "", "import time; time.sleep(30)") as running:
        running.stop.set()
        with pytest.raises(LabError, match="the run was stopped"):
            list(running.messages())


def test_scratch_folders_of_killed_runs_go_and_those_in_use_stay(tmp_path: Path) -> None:
    killed = tmp_path / "virtual-killed"
    killed.mkdir()
    (killed / "lock").touch()
    (killed / "initrd").touch()
    (tmp_path / "virtual-killed-at-once").mkdir()

    with scratch(tmp_path) as first, scratch(tmp_path) as second:
        assert sorted(tmp_path.iterdir()) == sorted((first, second))

    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_is_just_being_made_is_nobody_else_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials side by side begin at the same moment."""
    lock = fcntl.flock

    def slow_lock(file: object, operation: int) -> None:
        if not operation & fcntl.LOCK_NB:
            time.sleep(0.05)
        lock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", slow_lock)
    together = threading.Barrier(4)

    def use(_: int) -> bool:
        with scratch(tmp_path) as folder:
            together.wait(10)
            return folder.is_dir()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, range(4))) == [True] * 4


def test_an_initramfs_is_equal_from_equal_contents(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "file").write_text("content")
    (second / "file").chmod(0o600)
    os.utime(second / "file", (0, 0))
    (second / "link").hardlink_to(second / "file")

    for folder in (first, second):
        write_initrd(folder / "initrd", {"bin/tool": folder / "file", "empty": Path(os.devnull)})

    assert (first / "initrd").read_bytes() == (second / "initrd").read_bytes()


def test_cpio_reads_the_initramfs(tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("content\n")
    write_initrd(tmp_path / "initrd", {"bin/tool": source, "z": source})

    unpack = ("cpio", "--extract", "--make-directories", "--quiet", "--file", tmp_path / "initrd")
    subprocess.run(unpack, cwd=tmp_path, check=True)

    assert (tmp_path / "bin" / "tool").read_text() == "content\n"
    assert (tmp_path / "z").stat().st_mode & 0o777 == 0o755
