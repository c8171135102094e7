"""A bundle carries a machine: what was measured here is measured again with all that is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab import golden
from zclab.build.cache import cache_dir
from zclab.documents.labs import load_lab, with_overrides
from zclab.experiment import exchange
from zclab.experiment.bench import bench
from zclab.lab.artifacts import Artifacts
from zclab.progress import silent
from zclab.runs.plan import Part
from zclab.runs.resume import KernelOptions, Plan
from zclab.runs.store import load
from zclab.virtualtime.lab import VirtualOptions
from zclab.virtualtime.saved_states import guest_state, host_state

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("states", ["shared", pytest.param("own", marks=pytest.mark.nightly)])
def test_a_known_result_equals_a_fresh_one_that_the_bundle_gives_in_another_cache(
    artifacts: Artifacts,
    states: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is built there; with states of its own, both levels are booted there, too."""
    virtual = golden.machine(artifacts)
    run, file, theirs = tmp_path / "run", tmp_path / "golden.zclab", tmp_path / "theirs"
    lab = with_overrides(load_lab("emulated"), clock="virtual")
    part = Part(lab=lab, mtu=1500, offloads="on", boots=(golden.start(lab, "vhost"),))
    bench(
        Plan(lab=lab, parts=(part,)),
        lambda: artifacts,
        VirtualOptions(),
        keep=False,
        out_dir=str(run),
        kernel=KernelOptions(),
    )
    exchange.bundle(str(run), str(file), only="")
    host = host_state(virtual, silent)
    kept = (host, guest_state(virtual, host, "vhost", silent)) if states == "shared" else ()
    monkeypatch.setenv("ZCLAB_CACHE", str(theirs))
    for state in kept:
        link = theirs / "artifacts" / state.kind / state.key
        link.parent.mkdir(parents=True)
        link.symlink_to(state.path)
    capsys.readouterr()

    exchange.verify(str(file), trials=1)

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "NOT EQUAL" in line] == []
    assert f"{load(run).trials[0].stem}: equal" in lines
    assert lines[-1].startswith("this machine gives the same figures: 1 of 1 known trials")
    kinds = {path.name for path in (cache_dir() / "artifacts").iterdir()}
    assert kinds == {"bundle", "host-state", "guest-state"}
