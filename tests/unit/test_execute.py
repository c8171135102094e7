"""What makes a trial invalid before any evidence is asked."""

from dataclasses import replace

import pytest

from zclab.bench import execute
from zclab.errors import TrialError
from zclab.netperf import NetperfResult


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
