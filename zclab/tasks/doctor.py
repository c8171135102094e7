"""What this machine lacks to run a lab, found before an hour of building finds it."""

from __future__ import annotations

import getpass
import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from zclab.build import cache
from zclab.build.apt import Apt
from zclab.build.cache import cache_dir
from zclab.errors import BuildError, CommandError, ConfigError, LabError
from zclab.host.finding import Finding, failed, render
from zclab.host.kvm import FIRMWARE, node_problem, try_kvm
from zclab.lab import emulated
from zclab.report.output import say
from zclab.runner import LocalRunner, Result, Runner
from zclab.units import GIB

PACKAGES = Path(__file__).resolve().parents[2] / "packages.txt"
APT_HELPER = "/usr/lib/apt/apt-helper"
FIRST_BUILD_GIB = 12
LATER_BUILD_GIB = 4
MEMORY_GIB = 4
CPUS = 2
NAMESPACE = ("unshare", "--user", "--map-root-user", "--map-auto", "true")
SUBORDINATE_IDS = (Path("/etc/subuid"), Path("/etc/subgid"))


def diagnose(
    *,
    emulator: Path | None = None,
    firmware: Sequence[Path] = FIRMWARE,
    kernel: Path | None = None,
    runner: Runner | None = None,
) -> tuple[Finding, ...]:
    """Check this machine; ``emulator`` and ``kernel`` (a bzImage) are those built already."""
    local = runner or LocalRunner()
    return (
        *check_folders(),
        check_memory(Path("/proc/meminfo").read_text()),
        check_cpus(len(os.sched_getaffinity(0))),
        check_packages(local, wanted_packages(PACKAGES.read_text())),
        check_python(),
        check_mirror(local, Apt()),
        check_namespaces(local, user=getpass.getuser(), root=os.geteuid() == 0),
        check_emulator(local, emulator),
        check_kvm(emulator, kernel, firmware),
    )


def check_folders() -> tuple[Finding, ...]:
    """Check that the cache and the labs' folder are ones that all tools can work in."""
    try:
        cache, labs = cache_dir(), emulated.root()
    except ConfigError as exc:
        detail, _, remedy = str(exc).rpartition("; ")
        return (Finding(status="fail", name="folders", detail=detail, remedy=remedy),)
    detail = f"cache in {cache}, labs in {labs}"
    return (Finding(status="ok", name="folders", detail=detail), check_disk(cache))


def check_disk(folder: Path) -> Finding:
    """Check the space for sources, build trees and images."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gib = shutil.disk_usage(there).free / GIB
    detail = f"{free_gib:.1f} GiB free for {folder}"
    if free_gib >= FIRST_BUILD_GIB:
        return Finding(status="ok", name="disk", detail=detail)
    return Finding(
        status="warn" if free_gib >= LATER_BUILD_GIB else "fail",
        name="disk",
        detail=f"{detail}; building everything takes {FIRST_BUILD_GIB}",
        remedy="make room, or set ZCLAB_CACHE to a folder on a larger disk",
    )


def check_memory(meminfo: str) -> Finding:
    """Check the available memory in the text of /proc/meminfo."""
    found = re.search(r"^MemAvailable:\s+([0-9]{1,15}) kB$", meminfo, re.MULTILINE)
    if not found:
        return Finding(status="warn", name="memory", detail="unknown: no MemAvailable")
    available_gib = int(found[1]) * 1024 / GIB
    detail = f"{available_gib:.1f} GiB available"
    if available_gib >= MEMORY_GIB:
        return Finding(status="ok", name="memory", detail=detail)
    return Finding(
        status="fail",
        name="memory",
        detail=f"{detail}; the emulated lab and a build need {MEMORY_GIB}",
        remedy="end other programs, or lower emulator.memory_mib in the lab file",
    )


def check_cpus(count: int) -> Finding:
    """Check how many CPUs this process may use."""
    if count >= CPUS:
        return Finding(status="ok", name="cpus", detail=f"{count} CPUs")
    return Finding(
        status="warn",
        name="cpus",
        detail="1 CPU: builds take twice as long, and wall-clock figures are noisier",
        remedy="give this machine a second CPU if you can",
    )


def wanted_packages(listed: str) -> tuple[str, ...]:
    """Return the names in the text of packages.txt."""
    lines = (line.partition("#")[0].strip() for line in listed.splitlines())
    return tuple(line for line in lines if line)


def check_packages(runner: Runner, wanted: Sequence[str]) -> Finding:
    """Check that Debian packages are installed."""
    if not shutil.which("dpkg-query"):
        return Finding(
            status="fail",
            name="packages",
            detail="not a Debian system: no dpkg-query",
            remedy="run zclab on Debian 12 or later, or a derivative with apt",
        )
    argv = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *wanted)
    lines = _try(runner, argv).stdout.splitlines()
    missing = [name for name in wanted if f"{name} installed" not in lines]
    if not missing:
        return Finding(status="ok", name="packages", detail=f"all {len(wanted)} are installed")
    return Finding(
        status="fail",
        name="packages",
        detail=f"missing: {', '.join(missing)}",
        remedy=f"as root: apt-get install --no-install-recommends {' '.join(missing)}",
    )


def check_python() -> Finding:
    """Check that what pyproject.toml requires is installed, and that libvirt's library loads."""
    needed = [line for line in requires("zclab") or () if "extra ==" not in line]
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed]
    problems = [f"{name} is missing" for name in names if not _is_installed(name)]
    try:
        importlib.import_module("libvirt")
    except ImportError as exc:
        problems.append(f"libvirt: {exc}")
    if not problems:
        return Finding(status="ok", name="python", detail=f"all {len(names)} packages are there")
    return Finding(
        status="fail",
        name="python",
        detail="; ".join(problems),
        remedy="rm -r .venv, then ./bootstrap invoke doctor",
    )


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def check_mirror(runner: Runner, apt: Apt) -> Finding:
    """Check that the system's Debian mirror has the release that the lab is made of."""
    try:
        url = f"{apt.mirror.rstrip('/')}/dists/{apt.suite}/InRelease"
    except BuildError as exc:
        return Finding(status="fail", name="mirror", detail=str(exc))
    # apt's own helper goes through the system's proxy; a look must not renew the package lists.
    with tempfile.TemporaryDirectory(prefix="zclab-mirror-") as folder:
        argv = (APT_HELPER, "download-file", url, f"{folder}/InRelease")
        done = _try(runner, argv)
    if done.ok:
        return Finding(status="ok", name="mirror", detail=f"{apt.mirror} has {apt.suite}")
    said = (done.stderr.strip() or done.stdout.strip() or "apt said nothing").splitlines()
    return Finding(
        status="fail",
        name="mirror",
        detail=f"{url}: {said[-1]}",
        remedy="check the network, and that `apt-get update` works; what is cached still runs",
    )


def check_namespaces(runner: Runner, *, user: str, root: bool) -> Finding:
    """Check that images can be made: mmdebstrap needs root, or user namespaces with a range of ids.

    Of the several things that can forbid them, each system has its own; so one is made.
    """
    if root:
        return Finding(status="ok", name="namespaces", detail="not needed: this is root")
    if _try(runner, NAMESPACE).ok:
        return Finding(status="ok", name="namespaces", detail=f"user {user} can make images")
    if not shutil.which("newuidmap"):
        detail, remedy = "no newuidmap", "as root: apt-get install uidmap"
    elif lacking := [str(path) for path in SUBORDINATE_IDS if not _has_ids(path, user)]:
        detail = f"user {user} has no range in {' and '.join(lacking)}"
        ranges = "--add-subuids 100000-165535 --add-subgids 100000-165535"
        remedy = f"as root: usermod {ranges} {user}"
    else:
        detail = "the kernel does not let this user make user namespaces"
        remedy = "as root: sysctl kernel.unprivileged_userns_clone=1, or run zclab as root"
    return Finding(status="fail", name="namespaces", detail=detail, remedy=remedy)


def _has_ids(path: Path, user: str) -> bool:
    owners = (user, str(os.geteuid()))
    lines = path.read_text(errors="replace").splitlines() if path.exists() else ()
    return any(line.split(":")[0] in owners for line in lines)


def check_emulator(runner: Runner, emulator: Path | None) -> Finding:
    """Check that the emulator starts, if it is built."""
    if emulator is None:
        detail = "not built yet; the first run builds it, in a few minutes"
        return Finding(status="ok", name="emulator", detail=detail)
    done = _try(runner, (str(emulator), "--version"))
    said = (done.stdout.strip() or done.stderr.strip() or "nothing").splitlines()[0]
    if done.ok:
        return Finding(status="ok", name="emulator", detail=said)
    return Finding(
        status="fail",
        name="emulator",
        detail=f"{emulator}: {said}",
        remedy="install what it misses, or remove the cache with `invoke clean` and build again",
    )


def check_kvm(
    emulator: Path | None, kernel: Path | None, firmware: Sequence[Path] = FIRMWARE
) -> Finding:
    """Check whether KVM boots a kernel; the emulated lab does without, so this never fails."""
    without = "nothing to do: labs of 'accelerator: tcg' and 'auto' run without KVM"
    if problem := node_problem():
        return Finding(status="warn", name="kvm", detail=problem, remedy=without)
    if emulator is None or kernel is None:
        detail = "not tried: no emulator and kernel built yet"
        return Finding(status="ok", name="kvm", detail=detail)
    kvm = try_kvm(emulator, kernel, firmware=firmware)
    if kvm.usable:
        return Finding(status="ok", name="kvm", detail=kvm.reason)
    return Finding(status="warn", name="kvm", detail=f"unusable: {kvm.reason}", remedy=without)


def _try(runner: Runner, argv: Sequence[str]) -> Result:
    """Run a command; where it cannot even be run, that is a result too."""
    try:
        return runner.run(argv, timeout_s=60, check=False)
    except CommandError as exc:
        where, argv = runner.where, tuple(argv)
        return Result(where=where, argv=argv, exit_status=127, stdout="", stderr=str(exc))


def this_machine() -> tuple[Finding, ...]:
    """Return what this machine has of what zclab needs."""
    emulator = kernel = None
    with suppress(ConfigError):  # a cache that cannot be one is a finding
        emulator = cache.newest("emulator", "qemu-system-x86_64")
        kernel = cache.newest("kernel", "bzImage")
    return diagnose(emulator=emulator, kernel=kernel)


def report() -> None:
    """Say whether this machine can do the job, and fail where it cannot."""
    findings = this_machine()
    say(render(findings))
    if failed(findings):
        raise LabError("this machine lacks something; each FAIL says what to do")
