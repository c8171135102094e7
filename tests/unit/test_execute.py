"""What makes a trial invalid before any evidence is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from zclab.bench import execute
from zclab.bench.plan import Boot
from zclab.errors import LabError, TrialError
from zclab.lab.session import Session
from zclab.netperf import NetperfResult
from zclab.progress import silent
from zclab.testing import FakeRunner


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
    healthy = SimpleNamespace(watcher=SimpleNamespace(error=lambda: None), host=host)
    boot = Boot(number=0, mode="vhost", repetition=0, trials=())

    with pytest.raises(LabError, match="the guest did not boot"):
        execute.execute(
            cast("Session", healthy), (boot,), cast("execute.Store", SimpleNamespace()), silent
        )
