"""What people get to see of a run."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from zclab.judge.simulated import PROVENANCE, SimulatedRun
from zclab.model import ModeName
from zclab.report.markdown import markdown
from zclab.report.terminal import render
from zclab.runs.results import Provenance, Results

STREAM = {
    "throughput_mbps": 100.0,
    "service_demand_us_per_kb": 10.0,
    "copied_bytes_per_payload_byte": 1.004,
}
REQUEST_RESPONSE = {
    "transactions_per_s": 12_345.6,
    "service_demand_us_per_transaction": 321.0,
    "latency_p99_us": 88.0,
}


def shown(results: Results, *, colour: bool = False, details: bool = False) -> str:
    file = io.StringIO()
    terminal = {"force_terminal": True, "color_system": "standard"} if colour else {}
    console = Console(file=file, width=100, **terminal)  # type: ignore[arg-type]
    console.print(render(results, details=details))
    return file.getvalue()


def row(text: str, mode: str) -> str:
    """Return the words of a mode's first row."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(mode))


class Runs(SimulatedRun):
    """Results under construction, in which a repetition is a boot."""

    def add(
        self,
        mode: ModeName,
        figures: Mapping[str, float],
        *,
        factor: float = 1.0,
        repetition: int = 0,
        **changes: Any,
    ) -> None:
        """Add a trial with its figures, each times ``factor``."""
        figures = {name: value * factor for name, value in figures.items()}
        super().add(mode, figures, boot=repetition, repetition=repetition, **changes)


def two_modes(factor: float = 1.5, *, boots: int = 3, provenance: Provenance = PROVENANCE) -> Runs:
    runs = Runs(provenance=provenance)
    for repetition in range(boots):
        drift = 0.9 + 0.2 * repetition / (boots - 1)
        runs.add("vhost", STREAM, factor=drift, repetition=repetition)
        runs.add("zerocopy", STREAM, factor=drift * factor, repetition=repetition)
    return runs


def test_a_cell_says_what_was_run() -> None:
    text = shown(two_modes().results)

    assert "TCP_STREAM rx 16384 B  e1000e, MTU 1500, offloads on, 5 s\n" in text


def test_the_baseline_has_figures_with_their_spread() -> None:
    assert row(shown(two_modes().results), "vhost") == "vhost 100 ±10% 10.0 ±10% 1.00"


def test_a_mode_has_ratios_with_their_range() -> None:
    line = row(shown(two_modes().results), "zerocopy")

    assert line == "zerocopy 150 ±10% 1.50x (1.50-1.50) 15.0 ±10% 1.50x (1.50-1.50) 1.51"


def test_request_response_shows_latency() -> None:
    runs = Runs()
    of: dict[str, Any] = {"workload": "TCP_RR", "direction": None, "message_bytes": 1}
    runs.add("vhost", REQUEST_RESPONSE, **of)
    runs.add("zerocopy", REQUEST_RESPONSE, factor=0.5, **of)

    text = shown(runs.results)

    assert "TCP_RR 1 B  e1000e" in text
    assert row(text, "vhost") == "vhost 12,346 321 88.0"
    assert row(text, "zerocopy") == "zerocopy 6,173 0.50x 160 0.50x 44.0 0.50x"


@pytest.mark.parametrize("workload", ["TCP_STREAM", "TCP_RR", "UDP_STREAM"])
def test_tables_fit_in_100_columns(workload: str) -> None:
    runs = Runs()
    figures = STREAM | REQUEST_RESPONSE | {"received_mbps": 12_345.0}
    modes: tuple[ModeName, ...] = ("vhost", "zerocopy", "passthrough")
    for mode in modes:
        for repetition, factor in enumerate((0.5, 99.9)):
            runs.add(mode, figures, factor=factor, repetition=repetition, workload=workload)

    text = shown(runs.results)

    assert max(len(line) for line in text.splitlines()) <= 100
    assert "…" not in text


def test_plain_text_has_no_escape_sequences() -> None:
    assert "\x1b" not in shown(two_modes().results)


@pytest.mark.parametrize(
    ("factor", "throughput", "cpu"), [(1.5, "32", "31"), (0.5, "31", "32")], ids=["more", "less"]
)
def test_better_is_green_and_worse_is_red(factor: float, throughput: str, cpu: str) -> None:
    text = shown(two_modes(factor, boots=6).results, colour=True)

    colours = re.findall(rf"\x1b\[(\d+)m{factor:.2f}x[▲▼]", text)
    assert colours == [throughput, cpu]


def test_a_ratio_that_repetitions_do_not_agree_on_has_no_colour() -> None:
    runs = Runs()
    for repetition, factor in enumerate((0.8, 1.6)):
        runs.add("vhost", STREAM, repetition=repetition)
        runs.add("zerocopy", STREAM, factor=factor, repetition=repetition)

    text = shown(runs.results, colour=True)

    assert "1.20x" in text
    assert "m1.20x" not in text


def test_a_bad_trial_has_its_reason_and_no_figure() -> None:
    runs = two_modes()
    for repetition in range(3):
        runs.add(
            "passthrough",
            {"throughput_mbps": 777.0},
            repetition=repetition,
            status="failed",
            reason="no IOMMU group\nfor 0000:01:00.0",
        )

    text = shown(runs.results)

    assert row(text, "passthrough") == "passthrough - - -"
    assert "  passthrough: 3 of 3 failed: no IOMMU group for 0000:01:00.0\n" in text
    assert "777" not in text


def test_different_reasons_are_told_apart() -> None:
    runs = two_modes()
    runs.add("vhost", {}, repetition=3, status="invalid", reason="backed off")
    runs.add("vhost", {}, repetition=4, status="failed", reason="oops")

    text = shown(runs.results)

    assert "vhost: 1 of 5 invalid: backed off" in text
    assert "vhost: 1 of 5 failed: oops" in text


def test_square_brackets_in_a_reason_are_shown_as_they_are() -> None:
    runs = Runs()
    runs.add("vhost", {}, status="failed", reason="task [vhost-419] hung")

    assert "task [vhost-419] hung" in shown(runs.results)


def test_evidence_is_a_sentence_for_each_mode() -> None:
    runs = Runs()
    passed = {"guest_driver": "e1000e", "host_driver": "vfio-pci", "vfio_interrupts": 4000}
    runs.add("passthrough", STREAM, evidence=passed)
    linked = {"guest_driver": "virtio_net", "payload_bytes": 1000}
    runs.add("vhost", STREAM, evidence={**linked, "host_link": "macvtap", "zerocopy_sends": 0})
    linked["host_link"] = "mp"
    runs.add("zerocopy", STREAM, evidence={**linked, "rx_zerocopy": "off"})
    runs.add("zerocopy", STREAM, direction="tx", evidence={**linked, "tx_zerocopy_share": 0.9987})

    text = " ".join(shown(runs.results).split())

    assert (
        "vhost the guest's virtio_net was on a macvtap, through vhost-net; no send went without a "
        "copy passthrough the guest's e1000e drove the NIC through vfio-pci; 4,000 interrupts "
        "passed zerocopy 99.9 % of what the guest sent and 0 % of what the guest received was not "
        "copied: GRO merges frames, so the NIC received into host memory"
    ) in text


def test_evidence_with_and_without_offloads_is_told_apart() -> None:
    runs = Runs()
    for switch, room, share in (("on", "off", 0.0), ("off", "on", 0.995)):
        facts = {"payload_bytes": 1000, "rx_zerocopy": room, "rx_zerocopy_share": share}
        runs.add("zerocopy", STREAM, offloads=switch, evidence=facts)

    text = " ".join(shown(runs.results).split())

    assert "with offloads on 0 % of what the guest received was not copied: GRO merges" in text
    assert "; with offloads off 99.5 % of what the guest received was not copied" in text


def test_evidence_says_what_was_merged_without_skbs() -> None:
    runs = Runs()
    facts = {"payload_bytes": 1000, "rx_zerocopy": "off", "rx_zerocopy_share": 0.0}
    runs.add("zerocopy", STREAM, evidence={**facts, "rx_merged_share": 0.931})

    text = " ".join(shown(runs.results).split())

    assert "; 93.1 % was merged without an skb a frame, and copied once" in text


def test_a_mode_alone_has_no_columns_for_a_comparison() -> None:
    runs = Runs()
    runs.add("zerocopy", STREAM)

    assert "vs" not in shown(runs.results).split()
    assert "Against" not in shown(runs.results)


def test_the_verdict_is_the_last_word() -> None:
    *_, last = shown(two_modes(boots=6).results).split("\n\n")

    assert last.startswith("Against vhost: zerocopy 2 worse")


def test_all_counters_are_one_line_for_each_mode() -> None:
    runs = Runs()
    runs.add("vhost", STREAM, evidence={"driver": "macvtap", "zerocopy_sends": 0})
    runs.add("zerocopy", STREAM, evidence={"driver": "mp", "zerocopy_sends": 4000})
    runs.add("zerocopy", STREAM, repetition=1, evidence={"driver": "mp", "zerocopy_sends": 5120})

    lines = [" ".join(line.split()) for line in shown(runs.results, details=True).splitlines()]

    start = lines.index("evidence")
    assert lines[start + 1 : start + 3] == [
        "vhost driver macvtap, zerocopy_sends 0",
        "zerocopy driver mp, zerocopy_sends 4,000-5,120",
    ]


def test_evidence_that_changed_shows_each_value() -> None:
    runs = Runs()
    runs.add("zerocopy", STREAM, evidence={"active": True})
    runs.add("zerocopy", STREAM, repetition=1, evidence={"active": False})

    assert "active True/False" in shown(runs.results, details=True)


def test_missing_evidence_is_said() -> None:
    assert "no evidence of the mode in effect" in shown(two_modes().results)


def test_the_footer_says_what_the_figures_were_made_with() -> None:
    text = shown(two_modes().results)

    assert "made with host kernel 6.12.107-zclab, emulator 10.0.13\n" in text
    assert "by invoke run-bench --mode=vhost --mode=zerocopy\n" in text


def test_details_have_all_parts_that_the_figures_were_made_with() -> None:
    text = shown(two_modes().results, details=True)
    lines = [" ".join(line.split()) for line in text.split("\n\nAgainst")[0].splitlines()]

    start = lines.index("made with")
    assert lines[start + 1 :] == [
        "host_kernel 6.12.107-zclab",
        "emulator 10.0.13 fedcba987654",
        "kernel 0123456789ab",
        "settings guest_memory_mib 512, threaded_napi True",
        "cpu QEMU TCG CPU version 2.5+",
        "command invoke run-bench --mode=vhost --mode=zerocopy",
    ]


def test_emulated_figures_are_labelled_and_real_ones_are_not() -> None:
    label = "emulated wall clock: compare ratios, not machines"
    metal = Provenance(versions={"kernel": "6.12.107-zclab"})

    assert label in shown(two_modes().results)
    assert label not in shown(two_modes(provenance=metal).results)


def test_a_single_repetition_is_said_to_have_no_spread() -> None:
    runs = Runs()
    runs.add("vhost", STREAM)

    text = shown(runs.results)

    assert "one boot of each mode: how far figures scatter is unknown" in text
    assert "±" not in text


def test_a_run_without_trials_says_so() -> None:
    assert "No trial has ended." in shown(Runs().results)


def test_markdown_has_the_verdict_and_a_row_for_each_cell_and_mode() -> None:
    runs = two_modes(boots=6)
    runs.add("passthrough", {}, status="failed", reason="no IOMMU | no group")

    verdict, _, *table, _, legend = markdown(runs.results).splitlines()

    cell = "TCP_STREAM rx 16384 B"
    assert table == [
        "| workload | mode | result | vs vhost | host CPU | vs vhost | copied B/B | p99 us |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        f"| {cell} | vhost | 100 Mb/s |  | 10.0 us/KB |  | 1.00 |  |",
        f"| {cell} | zerocopy | 150 Mb/s | 1.50x ▲ | 15.0 us/KB | 1.50x ▼ | 1.51 |  |",
        f"| {cell} | passthrough | 1 of 1 failed: no IOMMU \\| no group |  |  |  |  |  |",
    ]
    assert verdict == (
        f"Against vhost: zerocopy 2 worse (most: host CPU 1.50x in {cell}), 1 better "
        f"(throughput 1.50x in {cell}); passthrough none worse, 3 without a valid figure."
    )
    assert legend.endswith("? undecided; emulated wall clock: compare ratios, not machines")


def test_markdown_shows_latency_of_transactions() -> None:
    runs = Runs()
    runs.add("vhost", REQUEST_RESPONSE, workload="TCP_RR", direction=None, message_bytes=1)

    row = "| TCP_RR 1 B | vhost | 12,346 1/s |  | 321 us/trans |  |  | 88.0 |"
    assert row in markdown(runs.results).splitlines()
