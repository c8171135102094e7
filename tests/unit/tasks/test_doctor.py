"""The doctor says what is missing and what to do, and believes nothing it has not tried."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from zclab.build.apt import Apt
from zclab.errors import BuildError
from zclab.host import kvm
from zclab.host.finding import Finding, failed, render
from zclab.runner import LocalRunner, Result
from zclab.runner.fake import FakeRunner
from zclab.tasks import doctor


class Usage(NamedTuple):
    """What shutil.disk_usage returns."""

    total: int
    used: int
    free: int


class OneAnswer(FakeRunner):
    """A runner whose every command ends the same way."""

    def __init__(self, exit_status: int = 0, stdout: str = "", stderr: str = "") -> None:
        super().__init__()
        self.ran: list[tuple[str, ...]] = []
        self._answer = {"exit_status": exit_status, "stdout": stdout, "stderr": stderr}

    def run(self, argv: Sequence[str], **options: Any) -> Result:
        """See Runner."""
        self.ran.append(tuple(argv))
        self.expect(argv, **self._answer)
        return super().run(argv, **options)


def only_these_exist(monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)


@pytest.mark.parametrize(
    ("free_gib", "status"), [(12, "ok"), (11.9, "warn"), (4, "warn"), (3.9, "fail")]
)
def test_disk(
    free_gib: float, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache need not exist yet: its nearest parent's disk is what counts."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, int(free_gib * doctor.GIB)))

    finding = doctor.check_disk(tmp_path / "not" / "yet")

    assert finding.status == status
    assert finding.detail.startswith(f"{free_gib:.1f} GiB free for {tmp_path}/not/yet")
    assert bool(finding.remedy) == (status != "ok")


@pytest.mark.parametrize(
    ("meminfo", "status"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    4194304 kB\n", "ok"),
        ("MemTotal: 9 kB\nMemAvailable:    4194303 kB\n", "fail"),
        ("MemTotal: 9 kB\n", "warn"),
    ],
)
def test_memory(meminfo: str, status: str) -> None:
    assert doctor.check_memory(meminfo).status == status


def test_cpus() -> None:
    assert doctor.check_cpus(2).status == "ok"
    assert doctor.check_cpus(1).status == "warn"


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_these_exist(monkeypatch, "dpkg-query")
    runner = OneAnswer(1, "bc installed\nflex config-files\n", "no packages found matching git")

    finding = doctor.check_packages(runner, ("bc", "flex", "git"))

    assert finding == Finding(
        status="fail",
        name="packages",
        detail="missing: flex, git",
        remedy="as root: apt-get install --no-install-recommends flex git",
    )


def test_a_system_without_dpkg_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    only_these_exist(monkeypatch)

    assert "not a Debian system" in doctor.check_packages(OneAnswer(), ("bc",)).detail


def test_the_package_list_is_one_name_a_line() -> None:
    listed = doctor.PACKAGES.read_text(encoding="utf-8")
    names = doctor.wanted_packages(listed)

    assert "build-essential" in names
    assert all(name == name.strip() and " " not in name for name in names)
    assert len(set(names)) == len(names)


def test_python_packages_of_this_environment() -> None:
    assert doctor.check_python().status == "ok"


def test_a_missing_python_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["no-such-thing>=2", "rich>=13", "absent; extra == 'dev'"]
    monkeypatch.setattr(doctor, "requires", lambda _: wanted)

    finding = doctor.check_python()

    assert (finding.status, finding.detail) == ("fail", "no-such-thing is missing")


class AnApt(Apt):
    """An apt whose mirror is known."""

    mirror = "http://mirror.example/debian/"


class NoApt(Apt):
    """An apt without a mirror."""

    @property
    def mirror(self) -> str:
        """Fail as the real one does."""
        raise BuildError("apt: no Debian archive")


def test_mirror(tmp_path: Path) -> None:
    runner = OneAnswer()

    finding = doctor.check_mirror(runner, AnApt(tmp_path))

    assert finding.status == "ok"
    assert finding.detail == "http://mirror.example/debian/ has trixie"
    assert runner.ran[0][2] == "http://mirror.example/debian/dists/trixie/InRelease"


def test_a_mirror_out_of_reach_or_not_configured(tmp_path: Path) -> None:
    away = doctor.check_mirror(OneAnswer(100, "", "E: one\nE: Could not resolve"), AnApt(tmp_path))
    none = doctor.check_mirror(OneAnswer(), NoApt(tmp_path))

    assert away.status == "fail"
    assert away.detail.endswith("/dists/trixie/InRelease: E: Could not resolve")
    assert (none.status, none.detail) == ("fail", "apt: no Debian archive")


def test_namespaces_are_not_needed_as_root_and_else_tried() -> None:
    tried = OneAnswer()

    assert doctor.check_namespaces(OneAnswer(1), user="root", root=True).status == "ok"
    assert doctor.check_namespaces(tried, user="dev", root=False).status == "ok"
    assert tried.ran == [doctor.NAMESPACE]


@pytest.mark.parametrize(
    ("programs", "ranges", "detail"),
    [
        ((), "dev:100000:65536\n", "no newuidmap"),
        (("newuidmap",), "root:100000:65536\n", "user dev has no range in"),
        (("newuidmap",), "dev:100000:65536\n", "the kernel does not let this user"),
        (("newuidmap",), f"{os.geteuid()}:100000:65536\n", "the kernel does not let this user"),
    ],
)
def test_why_there_are_no_namespaces(
    programs: tuple[str, ...],
    ranges: str,
    detail: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subuid = tmp_path / "subuid"
    subuid.write_text(ranges)
    monkeypatch.setattr(doctor, "SUBORDINATE_IDS", (subuid,))
    only_these_exist(monkeypatch, *programs)

    finding = doctor.check_namespaces(OneAnswer(1), user="dev", root=False)

    assert finding.status == "fail"
    assert finding.detail.startswith(detail)
    assert finding.remedy.startswith("as root: ")


def test_emulator() -> None:
    path = Path("/x/qemu")

    assert doctor.check_emulator(OneAnswer(), None).detail.startswith("not built yet")
    assert doctor.check_emulator(OneAnswer(0, "QEMU 10\nmore"), path).detail == "QEMU 10"
    broken = doctor.check_emulator(OneAnswer(127, "", "libslirp.so.0: not found"), path)
    assert (broken.status, broken.detail) == ("fail", "/x/qemu: libslirp.so.0: not found")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for /dev/kvm with a file that can be opened."""
    node = tmp_path / "kvm"
    node.touch()
    monkeypatch.setattr(kvm, "NODE", node)
    return node


def emulator(folder: Path, script: str) -> Path:
    """Return an emulator that does what a shell script says; $console is its serial console."""
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\nfor last; do :; done\nconsole=${{last#file:}}\n{script}\n")
    path.chmod(0o755)
    return path


def test_kvm_without_a_node_or_a_kernel(node: Path, tmp_path: Path) -> None:
    assert doctor.check_kvm(None, None).detail == "not tried: no emulator and kernel built yet"

    node.unlink()

    finding = doctor.check_kvm(tmp_path / "qemu", tmp_path / "bzImage")
    assert finding.status == "warn"
    assert finding.detail.startswith(f"no {node}: ")


def test_kvm_that_this_user_may_not_open(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)

    assert doctor.check_kvm(None, None).detail == f"{node} is there, but not for this user"


def test_kvm_that_boots_a_kernel_is_usable(node: Path, tmp_path: Path) -> None:
    qemu = emulator(tmp_path, 'echo "Linux version 6.12" > "$console"; exec sleep 60')

    finding = doctor.check_kvm(qemu, tmp_path / "bzImage")

    assert node.exists()
    assert finding.status == "ok"
    assert finding.detail.startswith("booted a kernel, first line in ")


def test_kvm_that_only_answers_is_not_usable(node: Path, tmp_path: Path) -> None:
    """Seen on a real machine: the node opens, QEMU runs, the kernel never prints a line."""
    qemu = emulator(tmp_path, 'echo "SeaBIOS" > "$console"; exec sleep 60')

    found = kvm.try_kvm(qemu, tmp_path / "bzImage", deadline_s=0.3)

    assert found == kvm.Kvm(
        usable=False, reason=f"{node} answers, but booted no kernel within 0.3 s"
    )


@pytest.mark.usefixtures("node")
def test_kvm_that_the_emulator_refuses_is_not_usable(tmp_path: Path) -> None:
    qemu = emulator(tmp_path, "echo warning >&2; echo invalid accelerator kvm >&2; exit 1")

    finding = doctor.check_kvm(qemu, tmp_path / "bzImage")

    said = "QEMU ended without a boot and said: invalid accelerator kvm"
    assert (finding.status, finding.detail) == ("warn", f"unusable: {said}")
    assert finding.remedy


def test_a_tool_that_is_not_there_is_a_finding_not_an_error(tmp_path: Path) -> None:
    finding = doctor.check_emulator(LocalRunner(), tmp_path / "qemu")

    assert finding.status == "fail"
    assert finding.detail.endswith("qemu: not installed")


def test_findings_are_told_in_words_and_aligned() -> None:
    findings = (
        Finding(status="ok", name="disk", detail="80 GiB free"),
        Finding(status="warn", name="kvm", detail="no /dev/kvm", remedy="nothing to do"),
        Finding(status="fail", name="packages", detail="missing: bc", remedy="install bc"),
    )

    assert render(findings).splitlines() == [
        "ok    disk      80 GiB free",
        "warn  kvm       no /dev/kvm",
        "                -> nothing to do",
        "FAIL  packages  missing: bc",
        "                -> install bc",
        "1 ok, 1 warn, 1 FAIL",
    ]
    assert failed(findings)
    assert not failed(findings[:2])
