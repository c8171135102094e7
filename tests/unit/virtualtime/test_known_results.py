"""Known results: kept under all that decides them, and never trusted when they cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.virtualtime.test_cluster import a_lab, one_trial
from zclab.build.cache import Artifact
from zclab.errors import LabError
from zclab.model import ModeName
from zclab.progress import silent
from zclab.runs.plan import Planned
from zclab.runs.results import Provenance, Trial, samples
from zclab.virtualtime import known_results
from zclab.virtualtime import trials as virtual
from zclab.virtualtime.lab import VirtualLab
from zclab.virtualtime.saved_states import identity
from zclab.virtualtime.trials import Outcome, run_trials

LAB = a_lab()
(PLANNED,) = one_trial(LAB)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    built = Artifact(kind="state", key="k", path=tmp_path, inputs={}, cached=True)
    monkeypatch.setattr(virtual, "host_state", lambda *_: built)
    monkeypatch.setattr(virtual, "guest_state", lambda *_: built)
    monkeypatch.setattr(virtual, "_provenance", lambda *_: Provenance(cpu_model="max"))


class Machine:
    """Stands in for what runs trials; every trial measures ``rate``."""

    def __init__(self, rate: float = 10000.0, status: str = "ok") -> None:
        self.rate, self.status, self.ran = rate, status, 0

    def __call__(
        self, _lab: VirtualLab, _states: Mapping[ModeName, Artifact], trials: Sequence[Planned]
    ) -> Iterator[Outcome]:
        """See Execute."""
        for one in trials:
            self.ran += 1
            trial = Trial.model_validate({**dict(one.dimensions), "status": self.status})
            measured = samples(one.dimensions, {"transactions_per_s": self.rate})
            yield Outcome(trial=trial, samples=measured, raw=(("netperf/a.txt", "text"),))


def run(machine: Machine, lab: VirtualLab = LAB, *, recheck: int | None = 0) -> list[Outcome]:
    return list(
        run_trials(
            lab,
            [PLANNED],
            silent,
            jobs=1,
            on_provenance=lambda _: None,
            execute=machine,
            run="20261130-1-vhost-abcd",
            recheck=recheck,
        )
    )


def test_a_trial_is_measured_once_and_known_from_then_on() -> None:
    machine = Machine()
    (first,), (second,) = run(machine), run(machine)

    assert machine.ran == 1
    assert first.trial.known_from is None
    assert second.trial.known_from is not None
    assert second.trial.known_from.run == "20261130-1-vhost-abcd"
    assert replace(second, trial=first.trial) == first


def test_another_machine_knows_nothing_of_it() -> None:
    machine = Machine()
    run(machine)
    kernel = replace(LAB.artifacts.kernel, content="another")
    run(machine, replace(LAB, artifacts=replace(LAB.artifacts, kernel=kernel)))

    assert machine.ran == 2


def test_what_failed_is_tried_again() -> None:
    machine = Machine(status="failed")
    run(machine)
    run(machine)

    assert machine.ran == 2


@pytest.mark.parametrize("recheck", [1, None])
def test_a_known_result_that_is_measured_again_has_to_be_the_same(recheck: int | None) -> None:
    run(Machine())

    assert run(Machine(), recheck=recheck)[0].trial.known_from is None
    with pytest.raises(LabError, match=r"not exact: vhost(.|\n)*10001.0, and 10000.0 before"):
        run(Machine(rate=10001.0), recheck=recheck)


def test_what_cannot_be_read_is_measured_again() -> None:
    machine = Machine()
    run(machine)
    key = known_results.key_of(known_results.inputs(LAB, identity(LAB), PLANNED))
    (known_results.artifact_path(known_results.KIND, key) / "known.json").write_text('{"trial": ')
    run(machine)

    assert machine.ran == 2
    assert run(machine)[0].trial.known_from is not None
