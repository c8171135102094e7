"""The emulated host's command line, and telling its process from others."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from zclab.errors import LabError
from zclab.lab import machine
from zclab.model import Emulator
from zclab.runner import wait_until


def hardware(folder: Path, emulator: str = "qemu", nic: str = "e1000e") -> machine.Hardware:
    return machine.Hardware(
        name="t",
        folder=folder,
        emulator=Path(emulator),
        firmware=(Path("/usr/share/seabios"),),
        kernel=Path("bzImage"),
        settings=Emulator(nic=nic),
    )


def a_machine(folder: Path, emulator: str = "qemu", nic: str = "e1000e") -> machine.Machine:
    return machine.Machine(
        hardware=hardware(folder, emulator, nic),
        image=Path("host.squashfs"),
        seed=Path("seed.tar"),
        accelerator="tcg",
    )


def test_the_management_network_is_closed_and_on_loopback(tmp_path: Path) -> None:
    argv = a_machine(tmp_path).argv

    user = [word for word in argv if word.startswith("user,")]
    assert user == ["user,id=mgmt,restrict=on,hostfwd=tcp:127.0.0.1:0-:22"]


def test_both_ends_of_the_cable_are_the_model_that_was_asked_for(tmp_path: Path) -> None:
    argv = a_machine(tmp_path, nic="igb").argv

    assert [word.split(",")[0] for word in argv if "bus=port-" in word] == ["igb", "igb"]


def test_an_emulator_that_does_not_start_says_why(tmp_path: Path) -> None:
    emulator = tmp_path / "emulator"
    emulator.write_text("#!/bin/sh\necho 'emulator: no such machine' >&2\nexit 1\n")
    emulator.chmod(0o755)

    with pytest.raises(LabError, match="no such machine"):
        machine.start(a_machine(tmp_path, str(emulator)).argv, tmp_path, with_me=False)


def answer(monitor: socket.socket) -> None:
    """Say on a monitor's socket what QEMU says, for one command, some time after it is there."""
    time.sleep(0.3)
    monitor.listen(1)
    connection, _ = monitor.accept()
    with connection:
        version = {"qemu": {"major": 10, "minor": 0, "micro": 0}, "package": ""}
        answers: list[dict[str, object]] = [{"QMP": {"version": version, "capabilities": []}}]
        while answers:
            connection.sendall(json.dumps(answers.pop()).encode() + b"\n")
            if request := connection.recv(4096):
                # The first one, qmp_capabilities, has no id.
                asked = json.loads(request)
                name = asked.pop("execute")
                answers = [{"return": {"asked": name}, **asked}]


def test_a_monitor_that_does_not_listen_yet_is_asked_again(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.bind(str(tmp_path / "qmp.sock"))
        thread = threading.Thread(target=answer, args=(monitor,), daemon=True)
        thread.start()

        assert machine.monitor(tmp_path, "query-migrate") == {"asked": "query-migrate"}
        thread.join()


def test_a_monitor_that_never_listens_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "LISTEN_DEADLINE_S", 0.1)
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.bind(str(tmp_path / "qmp.sock"))

        with pytest.raises(LabError, match=r"query-migrate: .*refused"):
            machine.monitor(tmp_path, "query-migrate")


def test_processes_are_told_by_the_pid_file_on_their_command_line(tmp_path: Path) -> None:
    code = "import time; time.sleep(60)"
    ours = subprocess.Popen((sys.executable, "-c", code, str(machine.pidfile(tmp_path))))
    other = subprocess.Popen((sys.executable, "-c", code, str(machine.pidfile(tmp_path / "x"))))
    try:
        assert machine.processes(tmp_path) == [ours.pid]

        machine.kill(tmp_path)
        assert ours.wait() == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_an_emulator_of_a_run_ends_with_the_run_even_by_sigkill(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from tests.unit.lab.test_machine import a_machine, machine
folder = Path({str(tmp_path)!r})
machine.start(a_machine(folder, folder / "emulator").argv, folder, with_me=True)
print("started", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    emulator = tmp_path / "emulator"
    emulator.write_text(
        f"#!/bin/sh\necho $$ > {tmp_path}/pid\ntouch {tmp_path}/qmp.sock\nexec sleep 60\n"
    )
    emulator.chmod(0o755)

    done = subprocess.run(
        (sys.executable, "-c", script), capture_output=True, text=True, check=False
    )

    assert done.returncode == -9, done.stderr
    assert done.stdout == "started\n"
    cmdline = Path("/proc") / (tmp_path / "pid").read_text().strip() / "cmdline"
    # Where no init reaps it, as in many containers, it stays as a zombie: without a command line.
    wait_until(
        lambda: not cmdline.exists() or not cmdline.read_bytes(),
        what="the emulator's end",
        deadline_s=10,
    )
