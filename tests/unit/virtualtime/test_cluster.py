"""Trials elsewhere: what goes there, and what is said where nobody is there.

That figures are the same wherever trials ran, and that a killed worker changes none, is shown by
tests/lab/test_executor.py.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from zclab.build.cache import Artifact, get_or_build
from zclab.build.emulator import EmulatorArtifact
from zclab.build.image import Image
from zclab.build.kernel import KernelArtifact
from zclab.build.parcel import Named
from zclab.build.plugin import PluginArtifact
from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import BuildError, ConfigError, LabError
from zclab.experiment.bench import Options, begin, planned, virtual_options
from zclab.lab.artifacts import Artifacts, EmulatedHost
from zclab.runner import wait_until
from zclab.runs.plan import Planned
from zclab.virtualtime import cluster
from zclab.virtualtime.lab import VirtualLab, VirtualOptions

CACHE = Path("/a/cache")


@dataclass(frozen=True)
class Tool:
    """Stands for an artifact."""

    path: Path
    libraries: tuple[Path, ...]
    version: str


@dataclass(frozen=True)
class Box:
    """Stands for a lab."""

    tool: Tool
    size: int


PRELOAD = """
import os, time
from pathlib import Path
from zclab.virtualtime import cluster
from zclab.virtualtime.trials import Outcome
from zclab.runs.results import Trial

def run_trial(virtual, state, planned):
    started = Path(os.environ["STARTED"])
    with started.open("a") as file:
        file.write(f"{planned.dimensions.boot}\\n")
    while os.environ.get("HANG"):
        time.sleep(0.1)
    emulator = virtual.host.emulator.binary.read_text()
    evidence = {"emulator": emulator, "state": (state / "state").read_text()}
    status, reason = ("failed", "no KVM") if os.environ.get("FAIL") else ("ok", None)
    trial = Trial(**dict(planned.dimensions), status=status, reason=reason, evidence=evidence)
    return Outcome(trial=trial, samples=(), raw=())

cluster.run_trial = run_trial
"""
"""What a worker does in place of a trial: it looks whether it has what a trial takes."""


def built(kind: str, name: str) -> Artifact:
    """Put an artifact into this cache that says what it is."""
    return get_or_build(kind, {"recipe": 1}, lambda folder: (folder / name).write_text(kind))


def a_real_lab() -> VirtualLab:
    """Return a lab whose artifacts are in the cache."""
    lab = a_lab()
    emulator, plugin, kernel = (
        built(kind, name)
        for kind, name in (("emulator", "qemu"), ("plugin", "account.so"), ("kernel", "bzImage"))
    )
    host = replace(
        lab.host,
        emulator=replace(lab.host.emulator, key=emulator.key, binary=emulator.path / "qemu"),
        plugin=replace(lab.host.plugin, key=plugin.key, path=plugin.path / "account.so"),
    )
    artifacts = replace(
        lab.artifacts,
        kernel=replace(lab.artifacts.kernel, key=kernel.key, bzimage=kernel.path / "bzImage"),
        host=host,
    )
    return replace(lab, host=host, artifacts=artifacts)


def one_trial(lab: VirtualLab) -> tuple[Planned, ...]:
    plan = planned(lab.lab, Options(modes=["vhost"], workloads=["TCP_RR"], repetitions=1))
    return plan.parts[0].boots[0].trials


def test_workers_are_sent_what_they_lack_and_trials_of_a_killed_one_are_run_by_others(
    dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only worker is killed under a trial; then comes another one, with an empty cache."""
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    lab = a_real_lab()
    state = built("guest-state", "state")
    plan = planned(lab.lab, Options(modes=["vhost"], workloads=["TCP_RR"], repetitions=4))
    trials = [one for part in plan.parts for boot in part.boots for one in boot.trials]
    preload = tmp_path / "preload.py"
    preload.write_text(PRELOAD)
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    doomed = dask.worker("doomed", f"--preload={preload}", HANG="1", STARTED=str(first))

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(
            lambda: list(cluster.outcomes(lab, {"vhost": state}, trials, address=dask.address))
        )
        wait_until(first.exists, what="a trial to begin", deadline_s=60)
        theirs = str(tmp_path / "theirs")
        dask.worker("poor", f"--preload={preload}", ZCLAB_CACHE=theirs, STARTED=str(second))
        os.kill(doomed.pid, signal.SIGKILL)
        outcomes = ended.result(timeout=120)

    assert sorted(outcome.trial.boot for outcome in outcomes) == [0, 1, 2, 3]
    assert {outcome.trial.evidence["emulator"] for outcome in outcomes} == {"emulator"}
    assert {outcome.trial.evidence["state"] for outcome in outcomes} == {"guest-state"}
    assert set(first.read_text().split()) <= set(second.read_text().split())
    kinds = {"emulator", "plugin", "kernel", "guest-state"}
    assert {path.name for path in (tmp_path / "theirs" / "artifacts").iterdir()} == kinds


def test_a_worker_with_another_zclab_is_refused(
    dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(cluster, "code_hash", lambda: "another")
    lab = a_real_lab()
    states = {"vhost": built("guest-state", "state")}
    dask.worker("theirs")

    with pytest.raises(LabError, match=r"worker tcp://\S+ has another zclab than this one"):
        list(cluster.outcomes(lab, states, one_trial(lab), address=dask.address))


def test_a_failed_trial_says_where_it_was(
    dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    lab = a_real_lab()
    states = {"vhost": built("guest-state", "state")}
    preload = tmp_path / "preload.py"
    preload.write_text(PRELOAD)
    dask.worker("bad", f"--preload={preload}", FAIL="1", STARTED=str(tmp_path / "started"))

    (outcome,) = cluster.outcomes(lab, states, one_trial(lab), address=dask.address)

    assert re.fullmatch(r"on worker tcp://127\.0\.0\.1:\d+: no KVM", str(outcome.trial.reason))


def test_a_worker_without_room_is_named(
    dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    lab = a_real_lab()
    states = {"vhost": built("guest-state", "state")}
    preload = tmp_path / "preload.py"
    preload.write_text(
        "from zclab.virtualtime import cluster\n"
        "from zclab.build.cache import disk_full\n"
        "def unpack(*_):\n"
        "    raise disk_full(cluster.cache_dir())\n"
        "cluster.unpack = unpack\n"
    )
    dask.worker("full", f"--preload={preload}", ZCLAB_CACHE=str(tmp_path / "theirs"))

    with pytest.raises(BuildError, match=r"worker tcp://\S+: .* the disk is full"):
        list(cluster.outcomes(lab, states, one_trial(lab), address=dask.address))


def test_without_workers_it_is_said_how_to_start_one(
    dask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "ours"))
    monkeypatch.setattr(cluster, "POLL_S", 0.1)
    monkeypatch.setattr(cluster, "NO_WORKERS_S", 0.3)
    lab = a_real_lab()
    states = {"vhost": built("guest-state", "state")}

    with pytest.raises(LabError, match=f"`dask worker {dask.address} --nthreads 1`"):
        list(cluster.outcomes(lab, states, one_trial(lab), address=dask.address))


def a_lab() -> VirtualLab:
    kernel = KernelArtifact(
        key="k1",
        content="c1",
        bzimage=CACHE / "bzImage",
        config=CACHE / "config",
        system_map=CACHE / "System.map",
        task_offsets={},
        build_log=CACHE / "build.log",
        version="6.12.107-zclab",
        base="6.12.107-1",
        series_hash="5",
        variant="default",
        cached=True,
    )
    emulator = EmulatorArtifact(
        key="e1",
        content="ec1",
        binary=CACHE / "qemu",
        include=CACHE,
        version="10.0.13",
        base="10.0.13",
        series_hash="6",
        firmware_dirs=(Path("/usr/share/seabios"),),
        cached=True,
    )
    image = Image(path=CACHE / "guest.cpio.gz", key="i1", content="ic1", packages={}, cached=True)
    plugin = PluginArtifact(key="p1", path=CACHE / "account.so", cached=True)
    host = EmulatedHost(emulator=emulator, plugin=plugin, image=image)
    artifacts = Artifacts(kernel=kernel, guest_kernel=kernel, guest_image=image, host=host)
    lab = load_lab("emulated").model_copy(update={"clock": "virtual"})
    return VirtualLab.of(lab, artifacts, VirtualOptions(), mtu=1500, offloads="on")


def test_paths_of_the_cache_are_found_again_in_another_and_others_stay() -> None:
    ours = Box(Tool(Path("/a/cache/tool"), (Path("/usr/lib"), Path("/a/cache/lib")), "1"), 3)

    theirs = cluster.moved(ours, CACHE, Path("/b"))

    assert theirs == Box(Tool(Path("/b/tool"), (Path("/usr/lib"), Path("/b/lib")), "1"), 3)


def test_what_a_trial_takes_is_sent_once_even_where_one_artifact_has_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a bundle does, whose artifacts have keys under which no cache needs to have them."""
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path))
    lab, state, (trial,) = a_real_lab(), built("guest-state", "state"), one_trial(a_lab())
    kinds = [one.kind for one in cluster._work(lab, state, trial).needs]

    bundle = built("bundle", "qemu").path
    host = replace(
        lab.host,
        emulator=replace(lab.host.emulator, binary=bundle / "emulator" / "e1" / "qemu"),
        plugin=replace(lab.host.plugin, path=bundle / "plugin" / "p1" / "account.so"),
    )
    kernel = replace(lab.artifacts.kernel, bzimage=bundle / "kernel" / "k1" / "bzImage")
    bundled = replace(lab, host=host, artifacts=replace(lab.artifacts, kernel=kernel))

    assert kinds == ["emulator", "plugin", "kernel", "guest-state"]
    assert cluster._work(bundled, state, trial).needs == (
        Named("bundle", bundle.name),
        Named("guest-state", state.key),
    )


def test_a_lab_goes_to_another_process_without_what_stops_it_here() -> None:
    ours = a_lab()
    ours.stop.set()

    there = pickle.loads(pickle.dumps(ours))  # noqa: S301 - our own

    assert not there.stop.is_set()
    assert there.order() == ours.order()
    assert cluster.moved(there, CACHE, Path("/b")).host.emulator.binary == Path("/b/qemu")


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)

    with pytest.raises(ConfigError, match=r"not installed; ./bootstrap pip install .*\[cluster\]"):
        list(cluster.outcomes(a_lab(), {}, (), address="tcp://127.0.0.1:1"))


def test_an_address_without_a_scheduler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"

        with pytest.raises(LabError, match=f"no scheduler answers at {address}"):
            list(cluster.outcomes(a_lab(), {}, (), address=address))


def test_the_wall_clock_stays_at_home(tmp_path: Path) -> None:
    elsewhere = virtual_options(jobs=1, profile=False, copy_bytes=8, executor="tcp://x:1")

    with pytest.raises(ConfigError, match="--executor: only trials in virtual time"):
        begin(
            planned(with_overrides(load_lab("emulated"), clock="wall"), Options()),
            elsewhere,
            kernel=None,
            out_dir=str(tmp_path / "run"),
        )
