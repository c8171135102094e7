"""The kernel selftests that the series brings, on the host they are for."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from pathlib import Path

import pytest

from zclab.build.kernel import PATCHES, debian_tree
from zclab.build.series import apply_series, copy_touched, read_series
from zclab.documents.labs import with_overrides
from zclab.host import netdev
from zclab.host.console import ConsoleWatch
from zclab.lab import lifecycle as labs
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts
from zclab.lab.lifecycle import console_of
from zclab.model import Lab
from zclab.progress import silent

pytestmark = pytest.mark.lab

NET = "tools/testing/selftests/net"
ON_HOST = "/tmp/selftests"  # noqa: S108 - of the lab's own host
NEEDED = {"create_and_delete", "io_vhost", "nic_zerocopy", "rx_zerocopy", "merge_as_gro"}
PROGRAMS = ("mp_io", "mp_rx", "mp_gro")
FILES = ("lib.sh", "mp/mp.sh", *(f"mp/{name}" for name in PROGRAMS))
DEADLINE_S = 2100
"""Two minutes or three; under the debug kernel, where some send 200,000 frames, twenty."""

# As log_test() of the kernel's net/lib.sh prints: "TEST: nic_gso          [ OK ]".
RESULT = re.compile(r"^TEST: (\w+) +\[ *(\w+) *\]$", re.MULTILINE)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the series' selftests; static, for the host's libraries are not those of here."""
    tree = tmp_path_factory.mktemp("tree")
    source, series = debian_tree(), read_series(PATCHES)
    copy_touched(series, source, tree)
    apply_series(series, tree, target="the kernel's source")
    shutil.copy2(source / NET / "lib.sh", tree / NET)
    for name in PROGRAMS:
        argv = ("gcc", "-O2", "-Wall", "-Werror", "-static", "-o", name, f"{name}.c")
        subprocess.run(argv, cwd=tree / NET / "mp", check=True)
    return tree / NET


def run_selftests(lab: Lab, access: Access, programs: Path) -> dict[str, str]:
    """Run them on a lab that nobody uses; return each test's result."""
    console = console_of(lab)
    assert console is not None
    host = access.host_runner()
    try:
        host.run(("mkdir", "-p", f"{ON_HOST}/mp"))
        for name in FILES:
            host.put(programs / name, f"{ON_HOST}/{name}")
        nics = (netdev.netdev_of(host, pci) for pci in (lab.nic, lab.peer.nic))
        names = [f"{key}={nic}" for key, nic in zip(("NETIF", "PEERIF"), nics, strict=True)]
        argv = ("env", *names, f"{ON_HOST}/mp/mp.sh")
        done = host.run(argv, timeout_s=DEADLINE_S, check=False)
    finally:
        host.close()
    print(done.stdout, done.stderr)  # noqa: T201 - pytest shows it where the test fails
    assert ConsoleWatch().feed(f"{console.read_text(errors='replace')}\n") is None
    return dict(RESULT.findall(done.stdout))


def judge(results: dict[str, str]) -> None:
    """Fail for a test that failed, and for a run without those that need NICs; show the skipped."""
    assert results.keys() >= NEEDED
    if skipped := [name for name, result in results.items() if result == "SKIP"]:
        warnings.warn(f"selftests that were skipped: {', '.join(skipped)}", stacklevel=2)
    assert [name for name, result in results.items() if result not in {"OK", "SKIP"}] == []


def test_the_mp_device_passes_its_selftests(lab: Lab, lab_up: Access, programs: Path) -> None:
    judge(run_selftests(lab, lab_up, programs))


@pytest.mark.nightly
def test_the_mp_device_passes_its_selftests_on_igb(
    own_lab: Lab, artifacts: Artifacts, programs: Path
) -> None:
    lab = with_overrides(own_lab, nic="igb")
    judge(run_selftests(lab, labs.up(lab, artifacts, with_me=True, progress=silent), programs))


@pytest.mark.nightly
@pytest.mark.timeout(2400)
def test_the_mp_device_passes_its_selftests_under_the_debug_kernel(
    debug_lab: Lab, debug_lab_up: Access, programs: Path
) -> None:
    """With KASAN, lockdep and DMA-API debugging, none of which reports anything."""
    judge(run_selftests(debug_lab, debug_lab_up, programs))
