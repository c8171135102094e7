"""What makes a trial invalid before any evidence is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from zclab.bench import execute
from zclab.bench.execute import Store
from zclab.bench.guest import RunningGuest
from zclab.errors import CommandError, LabError, TrialError
from zclab.host.netperf import NetperfResult
from zclab.judge.simulated import STREAM
from zclab.lab.pair import Pair
from zclab.lab.session import Session
from zclab.lab.watch import Watcher
from zclab.model import Workload
from zclab.progress import silent
from zclab.runner.fake import FakeRunner
from zclab.runs.plan import Boot, Planned
from zclab.runs.results import Dimensions, Trial, samples


def result(retransmissions: float) -> NetperfResult:
    return NetperfResult(
        elapsed_s=1.0,
        sent_bytes=1448 * 1000,
        payload_bytes=1448 * 1000,
        transactions=None,
        figures={"retransmissions": retransmissions},
    )


def test_a_tenth_of_all_segments_sent_again_is_a_storm() -> None:
    execute._reject_retransmit_storm(result(100), 1500)

    with pytest.raises(TrialError, match="sent 101 of 1000 segments again"):
        execute._reject_retransmit_storm(result(101), 1500)


def test_a_transaction_is_a_segment_however_small() -> None:
    """One segment sent again among 500 of a byte each is no storm."""
    answered = replace(result(1), payload_bytes=500, transactions=500)

    execute._reject_retransmit_storm(answered, 1500)

    with pytest.raises(TrialError, match="sent 51 of 500 segments again"):
        execute._reject_retransmit_storm(replace(answered, figures={"retransmissions": 51}), 1500)


def test_equal_features_in_two_modes_are_fine_and_passthrough_has_none() -> None:
    seen: dict[str, execute.ModeName] = {}
    for mode, features in (("vhost", "0x3"), ("passthrough", None), ("zerocopy", "0x3")):
        execute.check_features(seen, mode, features)

    assert seen == {"0x3": "vhost"}


def test_different_features_in_two_modes_are_not_compared() -> None:
    seen: dict[str, execute.ModeName] = {"0x3": "vhost"}

    with pytest.raises(TrialError, match="0x3 in vhost, 0x1 in zerocopy"):
        execute.check_features(seen, "zerocopy", "0x1")


def test_a_guest_that_does_not_boot_says_why_where_its_boot_has_no_trials_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no trial whose reason could tell it, so the error has to."""

    @contextmanager
    def not_running(_session: Session, _boot: Boot) -> Iterator[None]:
        yield from ()
        raise LabError("the guest did not boot")

    monkeypatch.setattr(execute, "running_guest", not_running)
    host = FakeRunner()
    host.expect(("true",))
    watcher = Watcher(abort=host.close)
    healthy = SimpleNamespace(watcher=watcher, host=host)
    boot = Boot(number=0, mode="vhost", repetition=0, trials=())

    with pytest.raises(LabError, match="the guest did not boot"):
        execute.execute(
            cast("Session", healthy), (boot,), cast("execute.Store", SimpleNamespace()), silent
        )


HANG = "[   41.9] e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:\n"
SUPPRESSED = "[   41.9] net_ratelimit: 5 callbacks suppressed\n"
PLANNED = Planned(
    dimensions=Dimensions(**STREAM, mode="vhost", boot=0, repetition=0),
    workload=Workload(name="TCP_STREAM", direction="rx", message_bytes=16384, duration_s=1.0),
)


def measured(monkeypatch: pytest.MonkeyPatch, *, before: str, during: str) -> Trial:
    """Measure a trial while a guest's console says something, and return what came of it."""
    watcher = Watcher(abort=lambda: None)
    console = watcher.sink("guest in mode vhost")

    def talking(
        _guest: RunningGuest, planned: Planned, _store: Store, _pair: Pair | None
    ) -> object:
        console(during)
        trial = Trial(**dict(planned.dimensions), status="ok", evidence={"host_link": "mp"})
        return trial, samples(planned.dimensions, {"throughput_mbps": 900.0})

    monkeypatch.setattr(execute, "_measured", talking)
    guest = SimpleNamespace(session=SimpleNamespace(watcher=watcher))
    console(before)
    trial, kept = execute.measure(
        cast("RunningGuest", guest), PLANNED, cast("Store", SimpleNamespace())
    )
    assert bool(kept) == (trial.status == "ok"), "figures go with a trial that means something"
    return trial


def test_a_trial_in_which_the_nic_hangs_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = measured(monkeypatch, before="", during=HANG)

    assert trial.status == "failed"
    assert trial.reason == (
        "kernel of the guest in mode vhost: e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:"
    )


def test_what_is_to_be_noted_stands_in_the_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = measured(monkeypatch, before="", during=SUPPRESSED * 3)

    assert trial.status == "ok"
    assert trial.evidence == {
        "host_link": "mp",
        "kernel_noted": "guest in mode vhost: net_ratelimit: 5 callbacks suppressed (3 times)",
    }


def test_what_went_wrong_before_a_trial_is_noted_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = measured(monkeypatch, before=HANG, during="")

    assert trial.status == "ok"
    assert "Detected Hardware Unit Hang" in str(trial.evidence["kernel_noted"])


def test_trials_of_a_guest_that_was_killed_say_that_memory_ran_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = Watcher(abort=lambda: None)
    console = watcher.sink("host")

    @contextmanager
    def dying(_session: Session, _boot: Boot) -> Iterator[None]:
        console("[   9.1] Out of memory: Killed process 512 (qemu-system-x86) total-vm:1kB\n")
        yield from ()
        raise CommandError("the guest does not answer")

    monkeypatch.setattr(execute, "running_guest", dying)
    host = FakeRunner()
    host.expect(("true",))
    stored: list[Trial] = []
    store = SimpleNamespace(add=lambda trial, _samples: stored.append(trial))
    boot = Boot(number=0, mode="vhost", repetition=0, trials=(PLANNED,))
    session = cast("Session", SimpleNamespace(watcher=watcher, host=host))

    execute.execute(session, (boot,), cast("Store", store), silent)

    assert [trial.reason for trial in stored] == [
        (
            "kernel of the host: Out of memory: Killed process 512 (qemu-system-x86) "
            "total-vm:1kB; the guest does not answer"
        )
    ]
