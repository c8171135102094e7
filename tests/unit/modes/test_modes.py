"""Evidence: what speaks for a mode, and what makes a trial invalid."""

from pathlib import Path

from zclab.host.guest import features_from_bits
from zclab.model import Workload
from zclab.modes import MODES
from zclab.modes.base import Evidence, NicWrites, Window, peer_saw_it
from zclab.modes.passthrough import vfio_interrupts
from zclab.modes.zerocopy import Zerocopy

DATA = Path(__file__).parents[2] / "data"
STREAM = Workload(name="TCP_STREAM", direction="tx", message_bytes=16384, duration_s=1.0)


def window(**changes: object) -> Window:
    values: dict[str, object] = {
        "workload": STREAM,
        "before": {},
        "after": {},
        "peer_bytes": 1100,
        "payload_bytes": 1000,
        "copies": {},
        "transactions": None,
    }
    return Window(**{**values, **changes})


def test_every_mode_is_in_the_table_under_its_own_name() -> None:
    assert {name: mode.name for name, mode in MODES.items()} == {
        "passthrough": "passthrough",
        "vhost": "vhost",
        "zerocopy": "zerocopy",
    }


def test_payload_that_did_not_cross_the_peers_nic_contradicts_any_mode() -> None:
    evidence = Evidence()
    peer_saw_it(evidence, window(peer_bytes=999))

    assert evidence.contradictions == [
        "the peer's NIC moved 999 bytes, less than the payload of 1000"
    ]


def test_a_transmit_trial_that_copied_is_not_called_zerocopy() -> None:
    evidence = Evidence()
    Zerocopy._check_transmit(
        evidence,
        window(before={"tx_zc_bytes": 5}, after={"tx_zc_bytes": 105}, copies={"zerocopy_sends": 0}),
    )

    assert evidence.facts["tx_zerocopy_share"] == 0.1
    assert evidence.contradictions == [
        "only 10.0% of the payload was zero-copied",
        "the copy probe saw no zero-copied send",
    ]


def test_small_frames_are_copied_by_design() -> None:
    small = STREAM.model_copy(update={"name": "UDP_STREAM", "message_bytes": 64})
    evidence = Evidence()
    Zerocopy._check_transmit(evidence, window(workload=small))

    assert evidence.contradictions == []


def test_of_frames_that_may_go_alone_some_have_to_be_zero_copied() -> None:
    lone = STREAM.model_copy(update={"name": "UDP_STREAM", "message_bytes": 1472})
    some, none = Evidence(), Evidence()
    sent = {"copies": {"zerocopy_sends": 1}, "workload": lone, "before": {"tx_zc_bytes": 0}}
    Zerocopy._check_transmit(some, window(after={"tx_zc_bytes": 1}, **sent))
    Zerocopy._check_transmit(none, window(after={"tx_zc_bytes": 0}, **sent))

    assert some.contradictions == []
    assert none.contradictions == ["only 0.0% of the payload was zero-copied"]


RECEIVED = STREAM.model_copy(update={"direction": "rx"})
ON = {"rx_zc_max_frame": 1518}


def test_a_receive_trial_without_zero_copied_bytes_is_not_called_zerocopy() -> None:
    evidence = Evidence()
    Zerocopy._check_receive(
        evidence, window(workload=RECEIVED, before=ON, after={**ON, "rx_copy_bytes": 1000})
    )

    assert evidence.facts == {"rx_zerocopy": "on", "rx_zerocopy_share": 0.0}
    assert evidence.contradictions == ["only 0.0% was received without a copy"]


def test_a_receive_trial_whose_payload_was_zero_copied_is_called_that() -> None:
    evidence = Evidence()
    Zerocopy._check_receive(
        evidence,
        window(
            workload=RECEIVED,
            before={**ON, "rx_zc_bytes": 70, "rx_copy_bytes": 10},
            after={**ON, "rx_zc_bytes": 1050, "rx_copy_bytes": 30},
        ),
    )

    assert evidence.facts["rx_zerocopy_share"] == 0.98
    assert evidence.contradictions == []


def test_no_more_than_everything_is_zero_copied() -> None:
    """A frame's headers are a large part of it where the payload is 64 bytes."""
    evidence = Evidence()
    Zerocopy._check_receive(
        evidence,
        window(workload=RECEIVED, payload_bytes=640, after={**ON, "rx_zc_bytes": 1060}),
    )

    assert evidence.facts["rx_zerocopy_share"] == 1.0


def nic_writes(to_guest_bytes: int) -> NicWrites:
    return NicWrites(
        to_guest_bytes=to_guest_bytes, before={"rx_zc_bytes": 500}, after={"rx_zc_bytes": 1500}
    )


def test_what_the_nic_wrote_to_the_guest_is_what_the_mp_device_counted() -> None:
    agreed, less, more = Evidence(), Evidence(), Evidence()
    after = {**ON, "rx_zc_bytes": 1000}
    for evidence, written in ((agreed, 990), (less, 940), (more, 1060)):
        Zerocopy._check_receive(
            evidence, window(workload=RECEIVED, after=after, nic_writes=nic_writes(written))
        )

    assert agreed.facts["nic_to_guest_bytes"] == 990
    assert agreed.contradictions == []
    assert less.contradictions == [
        "the NIC wrote 940 bytes to the guest's memory, and the mp device counted 1000"
    ]
    assert more.contradictions == [
        "the NIC wrote 1060 bytes to the guest's memory, and the mp device counted 1000"
    ]


def test_a_nic_without_support_for_receive_zero_copy_claims_none() -> None:
    evidence = Evidence()
    Zerocopy._check_receive(evidence, window(workload=RECEIVED, after={"rx_zc_max_frame": 0}))

    assert evidence.facts == {"rx_zerocopy": "off"}
    assert evidence.contradictions == []


def test_frames_that_were_merged_without_skbs_were_copied_once() -> None:
    copied, lost = Evidence(), Evidence()
    after = {"rx_zc_max_frame": 0, "rx_merged_bytes": 980, "rx_copy_bytes": 1010}
    Zerocopy._check_receive(copied, window(workload=RECEIVED, payload_bytes=1000, after=after))
    after["rx_copy_bytes"] = 900
    Zerocopy._check_receive(lost, window(workload=RECEIVED, payload_bytes=1000, after=after))

    assert copied.facts == {"rx_zerocopy": "off", "rx_merged_share": 0.98}
    assert copied.contradictions == []
    assert lost.contradictions == [
        "the driver merged 980 bytes, and only 900 were copied to the guest"
    ]


def test_small_frames_have_to_be_received_without_a_copy_as_well() -> None:
    small = RECEIVED.model_copy(update={"name": "UDP_STREAM", "message_bytes": 64})
    evidence = Evidence()
    Zerocopy._check_receive(evidence, window(workload=small, after=ON))

    assert evidence.contradictions == ["only 0.0% was received without a copy"]


def test_an_expectation_that_is_not_met_is_a_contradiction_with_both_sides() -> None:
    evidence = Evidence()
    evidence.expect("guest_driver", "e1000e", "virtio_net")

    assert evidence.contradictions == ["guest_driver is e1000e, not virtio_net"]


def test_features_are_read_with_bit_0_first() -> None:
    assert features_from_bits("1100" + "0" * 60) == "0x3"
    assert features_from_bits("0" * 32 + "1" + "0" * 31) == hex(1 << 32)


def test_vfio_interrupts_are_those_of_the_function() -> None:
    text = (DATA / "proc" / "interrupts-vfio").read_text()

    assert vfio_interrupts(text, "0000:01:00.0") > 0
    assert vfio_interrupts(text, "0000:02:00.0") == 0
