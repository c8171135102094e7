"""Bytes copied by the host, from hist files captured around TCP streams on an emulated host."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.errors import CommandError, ParseError, TrialError
from zclab.host.copies import (
    PROBES,
    CopyCounts,
    ProbeName,
    Tally,
    install,
    install_script,
    parse,
    probing,
    read,
    read_argv,
    remove_script,
)
from zclab.model import ThreadRole
from zclab.runner.fake import FakeRunner

DATA = Path(__file__).parents[2] / "data" / "tracefs"
SHELL = ("sh", "-s")

# The vhost worker's thread id in each capture.
RX_ROLES: dict[int, ThreadRole] = {87: "vhost", 159: "peer"}
TX_ROLES: dict[int, ThreadRole] = {88: "vhost"}


def captured(name: str) -> CopyCounts:
    return parse((DATA / f"{name}.txt").read_text())


def counted(**probes: dict[int, Tally]) -> CopyCounts:
    names: tuple[ProbeName, ...] = tuple(probe.name for probe in PROBES)
    return CopyCounts({name: probes.get(name, {}) for name in names})


def test_vhost_copies_each_received_byte_once() -> None:
    """The stream was 30,011,280 bytes; 157 segments more arrived twice."""
    copied = captured("tcp_rx").per_payload_byte("rx", "TCP_STREAM", 30_011_280, RX_ROLES)

    assert copied == pytest.approx((30_285_312 - 708 * 66) / 30_011_280)
    assert copied == pytest.approx(1.0, abs=0.01)


def test_zero_copy_transmission_copies_headers_only() -> None:
    copied = captured("tcp_tx_zerocopy").per_payload_byte("tx", "TCP_STREAM", 8_011_776, TX_ROLES)

    assert copied is not None
    assert copied < 0.001


def test_zero_copied_sends_are_evidence() -> None:
    evidence = captured("tcp_tx_zerocopy").evidence(TX_ROLES)

    assert evidence["zerocopy_sends"] > 0.9 * evidence["frames_from_guest"]
    assert evidence["zerocopy_taken_back"] == 0


def test_copying_vhost_has_no_zero_copied_sends() -> None:
    assert captured("tcp_rx").evidence(RX_ROLES) == {
        "frames_to_guest": 708,
        "frames_from_guest": 264,
        "zerocopy_sends": 0,
        "zerocopy_taken_back": 0,
    }


def test_a_captured_tally() -> None:
    total = captured("tcp_rx").total("to_guest", RX_ROLES)

    assert total == Tally(calls=20_906, bytes=30_285_312)


@pytest.mark.parametrize("role", ["peer", "rest"])
def test_others_copies_do_not_count(role: ThreadRole) -> None:
    counts = counted(to_guest={9: Tally(calls=1, bytes=1000)})

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {9: role}) == 0


@pytest.mark.parametrize("role", ["vhost", "nic", "qemu", "kvm"])
def test_the_host_s_copies_count(role: ThreadRole) -> None:
    counts = counted(to_guest={9: Tally(calls=1, bytes=1000)})

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {9: role}) == 1


def test_a_thread_without_a_role_is_not_the_host_s() -> None:
    counts = counted(to_guest={9: Tally(calls=1, bytes=1000)})

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {}) == 0


def test_the_other_direction_s_acknowledgements_do_not_count() -> None:
    counts = counted(
        to_guest={9: Tally(calls=1, bytes=1000)}, from_guest={9: Tally(calls=99, bytes=6534)}
    )

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {9: "vhost"}) == 1


def test_headers_are_no_payload() -> None:
    counts = counted(
        from_guest={9: Tally(calls=10, bytes=15_140)},
        from_guest_headers={9: Tally(calls=10, bytes=120)},
    )

    assert counts.per_payload_byte("tx", "UDP_STREAM", 14_720, {9: "vhost"}) == 1


def test_frames_of_which_not_even_the_header_was_copied_are_not_counted_below_zero() -> None:
    counts = counted(to_guest_headers={9: Tally(calls=10, bytes=100)})

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {9: "vhost"}) == 0


def test_copies_between_skbs_count_in_either_direction() -> None:
    counts = counted(skb={9: Tally(calls=1, bytes=500)})

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, {9: "nic"}) == 0.5
    assert counts.per_payload_byte("tx", "TCP_STREAM", 1000, {9: "nic"}) == 0.5


def test_a_direction_that_cannot_be_probed_is_unknown_not_zero() -> None:
    lines = (DATA / "tcp_rx.txt").read_text().splitlines(keepends=True)
    counts = parse("".join(line for line in lines if "/to_guest/" not in line))

    assert counts.per_payload_byte("rx", "TCP_STREAM", 1000, RX_ROLES) is None
    assert counts.per_payload_byte("tx", "TCP_STREAM", 1000, RX_ROLES) is not None


def test_evidence_leaves_out_what_cannot_be_probed() -> None:
    assert parse("").evidence({}) == {}


def test_dropped_counts_invalidate_the_trial() -> None:
    text = (DATA / "tcp_rx.txt").read_text().replace("Dropped: 0", "Dropped: 3", 1)

    with pytest.raises(TrialError, match="from_guest: the kernel dropped 3 counts"):
        parse(text)


def test_another_version_s_events_are_not_taken_for_ours() -> None:
    with pytest.raises(ParseError, match="zclab/older"):
        parse("events/zclab/older/hist:    Dropped: 0\n")


def test_each_probe_reads_the_argument_that_holds_the_size() -> None:
    """As 6.12 declares them: _copy_to_iter(addr, bytes, i), skb_copy_bits(skb, offset, to, len)."""
    lines = install_script().splitlines()

    assert [line.split("'")[1] for line in lines if line.startswith("if echo")] == [
        "p:zclab/to_guest _copy_to_iter bytes=$arg2",
        "p:zclab/to_guest_headers _copy_to_iter bytes=$arg2",
        "p:zclab/from_guest _copy_from_iter bytes=$arg2",
        "p:zclab/from_guest_headers _copy_from_iter bytes=$arg2",
        "p:zclab/skb skb_copy_bits bytes=$arg4:s32",
        "p:zclab/sent vhost_zerocopy_complete",
        "p:zclab/taken_back skb_copy_ubufs",
    ]


def test_each_trigger_counts_for_each_thread_what_its_probe_is_for() -> None:
    lines = install_script().splitlines()
    frames = "hist:keys=common_pid:vals=bytes:size=1024 if bytes > 16"
    headers = "hist:keys=common_pid:vals=bytes:size=1024 if bytes == 10 || bytes == 12"
    calls = "hist:keys=common_pid:size=1024"

    assert [line.split("'")[1] for line in lines if line.startswith("then echo")] == [
        *(frames, headers, frames, headers),
        *("hist:keys=common_pid:vals=bytes:size=1024 if bytes > 128", calls, calls),
    ]


def test_install_begins_anew_and_names_each_function_it_cannot_probe_once() -> None:
    with FakeRunner() as host:
        host.expect(SHELL, stdin=remove_script())
        host.expect(SHELL, stdin=install_script(), stdout="_copy_to_iter\n_copy_to_iter\n")

        assert install(host) == ("_copy_to_iter",)


def test_probes_go_even_where_the_trial_fails() -> None:
    with FakeRunner() as host:
        host.expect(SHELL, stdin=remove_script())
        host.expect(SHELL, stdin=install_script())
        host.expect(SHELL, stdin=remove_script())

        with pytest.raises(CommandError, match="netperf"), probing(host):
            raise CommandError("netperf failed")


def test_read_takes_what_there_is() -> None:
    with FakeRunner() as host:
        host.expect(read_argv(), stdout=(DATA / "tcp_rx.txt").read_text())

        assert read(host) == captured("tcp_rx")
