"""A trial that cannot be read is a failed one with its reason, and the plan goes on."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from zclab.bench import execute
from zclab.documents.labs import load_lab
from zclab.errors import CommandError, LabError, ParseError, TrialError
from zclab.lab.session import Session
from zclab.lab.watch import Watcher
from zclab.modes.base import Evidence, Window
from zclab.progress import silent
from zclab.runs.plan import Boot, plan, select_workloads
from zclab.runs.results import Sample, Trial


class Kept:
    """A store that keeps what it gets."""

    def __init__(self) -> None:
        self.trials: list[Trial] = []
        self.samples: list[Sample] = []
        self.raw: dict[str, str] = {}

    def add(self, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        """See execute.Store."""
        self.trials.append(trial)
        self.samples += samples

    def write_raw(self, name: str, text: str) -> None:
        """See execute.Store."""
        self.raw[name] = text


def run_boot(monkeypatch: pytest.MonkeyPatch, observed: Iterable[object]) -> Kept:
    """Run a boot of as many trials as are observed; what is no pair of results is raised."""
    store, results = Kept(), list(observed)
    coming = iter(results)

    def observe(*_arguments: object) -> object:
        result = next(coming)
        if isinstance(result, Exception):
            raise result
        return result

    @contextmanager
    def running(_session: Session, _boot: Boot) -> Iterator[object]:
        mode = SimpleNamespace(evidence=lambda *_: Evidence())
        domain = SimpleNamespace(is_active=lambda: True)
        nic = SimpleNamespace(virtio_features=None)
        yield SimpleNamespace(session=session, mode=mode, domain=domain, nic=nic, runner=None)

    session = cast(
        "Session",
        SimpleNamespace(
            watcher=Watcher(abort=lambda: None),
            peer=None,
            lab=SimpleNamespace(network=None),
        ),
    )
    monkeypatch.setattr(execute, "running_guest", running)
    monkeypatch.setattr(execute, "_observe", observe)
    monkeypatch.setattr(execute.integrity, "check", lambda *_: "")
    lab = load_lab("emulated")
    workloads = select_workloads(names=["TCP_RR"], message_bytes=range(1, len(results) + 1))
    boots = plan(lab, modes=["vhost"], workloads=workloads, repetitions=1)
    execute.execute(session, boots, store, silent)
    return store


def measured(value: float) -> tuple[Window, dict[str, float]]:
    window = Window(
        workload=select_workloads(names=["TCP_RR"])[0],
        before={},
        after={},
        peer_bytes=1,
        payload_bytes=1,
        transactions=1,
        copies={},
    )
    return window, {"transactions_per_s": value}


@pytest.mark.parametrize(
    ("problem", "status", "reason"),
    [
        (ParseError("ip: it said 'Welcome'"), "failed", "ip: it said 'Welcome'"),
        (CommandError("guest: no end within 60 s"), "failed", "guest: no end within 60 s"),
        (LabError("the monitor does not answer"), "failed", "the monitor does not answer"),
        (TrialError("transactions_per_s is 0"), "invalid", "transactions_per_s is 0"),
        (measured(float("nan")), "failed", "transactions_per_s: found nan, allowed: a number"),
        (measured(float("inf")), "failed", "transactions_per_s: found inf, allowed: a number"),
        (ZeroDivisionError("division by zero"), "failed", "a bug in zclab"),
        (IndexError("list index out of range"), "failed", "a bug in zclab"),
    ],
)
def test_a_trial_that_cannot_be_read_has_its_reason_and_the_plan_goes_on(
    problem: object, status: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = run_boot(monkeypatch, [measured(1.0), problem, measured(3.0)])

    assert [trial.status for trial in store.trials] == ["ok", status, "ok"]
    assert reason in str(store.trials[1].reason)
    assert [sample.value for sample in store.samples] == [1.0, 3.0]


def test_the_traceback_of_a_bug_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    store = run_boot(monkeypatch, [KeyError("stats64")])

    ((name, text),) = store.raw.items()
    assert name == f"bugs/{store.trials[0].stem}.txt"
    assert "KeyError: 'stats64'" in text
    assert f"raw/{name}" in str(store.trials[0].reason)
