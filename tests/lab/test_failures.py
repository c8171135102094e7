"""Whatever breaks in the middle ends with a clear message, and nothing is left running."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab.bench import opened
from zclab.bench import guest
from zclab.build.image import build_guest_image
from zclab.errors import BuildError, CommandError, KernelReportError
from zclab.lab import emulated, machine
from zclab.lab.artifacts import Artifacts
from zclab.lab.session import Session
from zclab.model import Lab
from zclab.runner import wait_until
from zclab.runs.plan import Boot, plan, select_workloads

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
INVOKE = (sys.executable, "-m", "invoke")


def boots_of(lab: Lab) -> list[Boot]:
    return plan(
        lab,
        modes=("vhost",),
        workloads=select_workloads(names=("TCP_RR",), duration_s=1.0),
        repetitions=1,
    )


def ended(folder: Path) -> bool:
    return not machine.processes(folder)


def test_a_panic_of_the_host_ends_the_use_with_its_lines(
    own_lab: Lab, artifacts: Artifacts
) -> None:
    with (
        pytest.raises(KernelReportError, match="sysrq triggered crash"),
        opened(own_lab, artifacts, keep=False) as session,
    ):
        session.host.run(("sh", "-c", "echo c > /proc/sysrq-trigger"))

    assert ended(emulated.folder_of(own_lab.name))


def test_a_start_whose_controller_was_killed_is_cleared_away(
    own_lab: Lab, artifacts: Artifacts
) -> None:
    """By SIGKILL, in the middle of lab-up, so that nothing could be cleaned up by the killed."""
    folder = emulated.folder_of(own_lab.name)
    argv = (*INVOKE, "lab-up", f"--name={own_lab.name}")
    controller = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: machine.processes(folder) != [], what="the emulator to start", deadline_s=120
        )
    finally:
        controller.kill()
        controller.wait()
    assert emulated.find(own_lab.name) is None
    assert own_lab.name in emulated.names()

    done = subprocess.run(
        (*INVOKE, "lab-down", f"--name={own_lab.name}"), cwd=ROOT, capture_output=True, check=True
    )

    assert f"lab {own_lab.name} is down" in done.stdout.decode()
    assert ended(folder)
    assert own_lab.name not in emulated.names()
    assert artifacts.contents


@pytest.mark.parametrize(
    "stage", ["starting the emulated host", "preparing the host", "booting guest"]
)
def test_ctrl_c_ends_a_run_with_130_and_nothing_is_left(own_lab: Lab, stage: str) -> None:
    argv = (*INVOKE, "run-bench", f"--name={own_lab.name}", "--mode=vhost", "--repetitions=1")
    argv += ("--clock=wall",)
    run = subprocess.Popen(
        (*argv, "--workload=TCP_RR"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # CI may have started us in the background, where shells have SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    printed = ""
    assert run.stdout is not None
    for line in run.stdout:
        printed += line
        if stage in line:
            os.killpg(run.pid, signal.SIGINT)
            break
    printed += run.stdout.read()

    assert run.wait() == 130, printed
    assert "interrupted" in printed
    assert "Traceback" not in printed
    assert ended(emulated.folder_of(own_lab.name))


@pytest.mark.usefixtures("lab_up")
def test_a_guest_that_never_answers_is_a_failure_with_its_console(
    lab: Lab, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guest, "GUEST_DEADLINE_S", 45)  # its kernel has to come up in that
    with opened(lab, artifacts) as session:
        mute = with_inittab(session, tmp_path, "::sysinit:/bin/sh -c 'echo I am mute; sleep 999'")
        with (
            pytest.raises(
                CommandError,
                match=r"zclab-\S+-vhost to answer(.|\n)*I am mute(.|\n)*QEMU:(.|\n)*Domain id=",
            ),
            guest.running_guest(mute, boots_of(lab)[0]),
        ):
            pass

        assert session.libvirt.destroy_leftovers(session.names.guests) == []


@pytest.mark.usefixtures("lab_up")
def test_a_guest_that_is_killed_ends_its_trials_with_what_is_left_of_it(
    lab: Lab, artifacts: Artifacts
) -> None:
    name = f"zclab-{lab.name}-vhost"
    with (
        opened(lab, artifacts) as session,
        pytest.raises(
            CommandError, match=rf"{name} has ended\nthe guest's console:\n(.|\n)*reason=crashed"
        ),
        guest.running_guest(session, boots_of(lab)[0]) as running,
    ):
        kill_and_use(running)


@pytest.mark.usefixtures("lab_up")
def test_a_panic_of_the_guest_ends_the_use_with_its_lines(
    lab: Lab, artifacts: Artifacts, tmp_path: Path
) -> None:
    line = "::sysinit:/bin/sh -c 'mount -t proc p /proc; echo c > /proc/sysrq-trigger'"
    with (
        pytest.raises(KernelReportError, match=r"kernel of the guest(.|\n)*sysrq triggered crash"),
        opened(lab, artifacts) as session,
        guest.running_guest(with_inittab(session, tmp_path, line), boots_of(lab)[0]),
    ):
        pass

    with opened(lab, artifacts) as session:
        assert session.libvirt.destroy_leftovers(session.names.guests) == []


def kill_and_use(running: guest.RunningGuest) -> None:
    running.session.host.run(("kill", "-9", str(running.roles.qemu_pid)))
    running.runner.run(("sleep", "60"))


def with_inittab(session: Session, folder: Path, inittab: str) -> Session:
    """Return the session with another guest image, whose init does what ``inittab`` says."""
    (folder / "etc").mkdir()
    (folder / "etc" / "inittab").write_text(f"{inittab}\n")
    overlay = subprocess.run(
        ("cpio", "--quiet", "--create", "--format=newc"),
        cwd=folder,
        input=b"etc\netc/inittab\n",
        capture_output=True,
        check=True,
    ).stdout
    image = folder / "guest.cpio.gz"
    # The kernel unpacks one initramfs after the other, and the last file of a name stays.
    image.write_bytes(session.boot.image.read_bytes() + gzip.compress(overlay))
    other = replace(session, boot=replace(session.boot, image=image, image_name=folder.name))
    target = Path(other.guest_files.initrd)
    session.host.run(("mkdir", "-p", str(target.parent)))
    session.host.put(image, str(target))
    return other


@pytest.fixture
def tiny_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put the cache on a disk of 100 MiB: room for package lists, not for an image."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", folder), check=True)
    try:
        monkeypatch.setenv("ZCLAB_CACHE", str(folder))
        yield folder
    finally:
        subprocess.run(("umount", folder), check=True)


def test_a_full_disk_is_named_and_leaves_no_half_artifact(tiny_cache: Path) -> None:
    with pytest.raises(BuildError, match=r"full|No space left"):
        build_guest_image()

    assert list(tiny_cache.glob("artifacts/*/*/meta.json")) == []


def test_a_typo_in_a_lab_file_is_a_configuration_error(tmp_path: Path) -> None:
    lab = tmp_path / "typo.yaml"
    text = (ROOT / "labs" / "emulated.yaml").read_text()
    lab.write_text(text.replace("nic: e1000e", "nic: e1000x"))

    done = subprocess.run(
        (*INVOKE, "run-bench", f"--lab={lab}"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "emulator.nic: found 'e1000x', allowed: " in done.stderr
