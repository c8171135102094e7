"""What all reports say alike: names, numbers, and the verdict in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zclab.judge.cells import Key, ModeResult, key_of
from zclab.judge.stats import Estimate
from zclab.judge.verdicts import Judged, Verdict
from zclab.model import TRANSACTIONS, ModeName, WorkloadName
from zclab.runs.results import METRICS, Dimensions, Metric, Results, RunInfo
from zclab.units import format_bytes

COPIED = "copied_bytes_per_payload_byte"
"""Shown without a ratio, which would divide by nothing where nothing is copied."""

# What is shown of each workload: its result, its cost, and what explains them. All else is in
# results.json.
COLUMNS: dict[WorkloadName, tuple[str, str, str]] = {
    "TCP_STREAM": ("throughput_mbps", "service_demand_us_per_kb", COPIED),
    "TCP_RR": ("transactions_per_s", "service_demand_us_per_transaction", "latency_p99_us"),
    "TCP_RR_LOADED": ("transactions_per_s", "beside_mbps", "latency_p99_us"),
    "UDP_STREAM": ("received_mbps", "service_demand_us_per_kb", COPIED),
    "UDP_RR": ("transactions_per_s", "service_demand_us_per_transaction", "latency_p99_us"),
    "MIGRATE": ("migration_gap_ms", "migration_s", "migration_after_mbps"),
}

MARKS: dict[Verdict, str] = {
    "better": "▲",
    "worse": "▼",
    "same": "=",
    "undecided": "?",
    "missing": "!",
}
MARKS_EXPLAINED = "▲ better, ▼ worse, = the same, ? undecided"
NONE = "-"
_TOO_LONG = 1e12
"""From here on a figure in full would burst tables and charts."""

Verdicts = dict[tuple[Key, ModeName, str], Judged]


def verdicts_of(judged: Sequence[Judged]) -> Verdicts:
    """Return verdicts by what they are on: cell, mode, metric."""
    return {(key_of(one.dimensions), one.mode, one.metric): one for one in judged}


def cell_name(dimensions: Dimensions) -> str:
    """Return a cell's name without its conditions: ``TCP_STREAM rx 16384 B``, ``… x4``."""
    side_by_side = f"x{dimensions.streams}" if dimensions.streams > 1 else None
    size = f"{dimensions.message_bytes} B"
    words = (dimensions.workload, dimensions.direction, size, side_by_side)
    return " ".join(word for word in words if word)


def conditions(dimensions: Dimensions) -> str:
    """Return under which conditions a cell ran."""
    streams = f", {dimensions.streams} streams" if dimensions.streams > 1 else ""
    warm_up = f" after {dimensions.warm_up_s} s of warm-up" if dimensions.warm_up_s else ""
    length = f"{dimensions.duration_s:g} s"
    if dimensions.amount:
        transactions = dimensions.workload in TRANSACTIONS
        length = (
            f"{dimensions.amount:,} transactions"
            if transactions
            else format_bytes(dimensions.amount)
        )
    where = f"{dimensions.nic}, MTU {dimensions.mtu}, offloads {dimensions.offloads}"
    return f"{where}, {length}{warm_up}{streams}"


def differing(mine: Dimensions, cells: Sequence[Dimensions]) -> Iterator[str]:
    """Yield the conditions of a cell that not all cells have: ``offloads off``."""
    for name, shown in (
        ("nic", mine.nic),
        ("mtu", f"MTU {mine.mtu}"),
        ("offloads", f"offloads {mine.offloads}"),
    ):
        if len({getattr(one, name) for one in cells}) > 1:
            yield shown


def number(value: float, metric: Metric) -> str:
    """Return a figure with three digits, and copies with two decimals."""
    if abs(value) >= _TOO_LONG:
        return f"{value:.3g}"
    if metric.name == COPIED:
        return f"{value:.2f}"
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2  # noqa: PLR2004 - 3 digits
    return f"{value:,.{decimals}f}"


def with_unit(estimate: Estimate, metric: Metric) -> str:
    """Return a figure with its unit."""
    return f"{number(estimate.value, metric)} {metric.unit}"


def half_width(estimate: Estimate, metric: Metric) -> str:
    """Return half of an estimate's interval or range in percent, for what was repeated."""
    if estimate.boots == 1 or not estimate.value or metric.name == COPIED:
        return ""
    return f"±{(estimate.high - estimate.low) / 2 / estimate.value * 100:.0f}%"


def spread_explained(estimates: Sequence[Estimate]) -> str:
    """Say what ± and brackets mean for these estimates."""
    kinds = {estimate.kind for estimate in estimates if estimate.boots > 1}
    if not kinds:
        once = "start" if any(one.kind == "starts" for one in estimates) else "boot"
        return f"one {once} of each mode: how far figures scatter is unknown"
    if kinds == {"interval"}:
        return "± is half the 95% confidence interval; in brackets, that of the ratio"
    if kinds == {"starts"}:
        return "exact figures; ± is half the range over starts; in brackets, that of their ratios"
    return "± is half the range over repetitions; in brackets, the range of their ratios"


def reasons(result: ModeResult) -> Iterator[str]:
    """Yield why trials of a mode do not count, each reason once: ``2 of 3 failed: no lease``."""
    bad = [
        (trial.status, trial.reason or "no reason given")
        for trial in result.trials
        if trial.status != "ok"
    ]
    for status, reason in dict.fromkeys(bad):
        count = bad.count((status, reason))
        yield f"{count} of {len(result.trials)} {status}: {' '.join(reason.split())}"


def caveat(results: Results) -> str:
    """Say what figures of an emulated host mean; nothing for those of a real one."""
    made_with = results.provenance
    if "emulator" not in made_with.versions and "emulator" not in made_with.artifacts:
        return ""
    if results.run.clock == "wall":
        return "emulated wall clock: compare ratios, not machines"
    return "virtual time: exact work of an idealised machine, not the speed of a real one"


def resumed(run: RunInfo) -> str:
    """Say how often a run was resumed, and what ran again; nothing for most runs."""
    if not run.resumed:
        return ""
    times = "once" if len(run.resumed) == 1 else f"{len(run.resumed)} times"
    retried = sum(len(one.retried) for one in run.resumed)
    again = f"; {retried} failed trials ran again" if retried else ""
    return f"stopped and resumed {times}{again}"


def known(results: Results) -> str:
    """Say which trials an earlier run measured; nothing where this one measured all."""
    origins = [trial.known_from for trial in results.trials if trial.known_from]
    if not origins:
        return ""
    last = max(origins, key=lambda origin: origin.date)
    others = len({origin.run for origin in origins}) - 1
    more = f" and {others} more" if others else ""
    bundles = dict.fromkeys(origin.bundle for origin in origins if origin.bundle)
    imported = f", imported from bundle {', '.join(bundles)}" if bundles else ""
    return (
        f"{len(origins)} of {len(results.trials)} trials are known from run {last.run}{more}, "
        f"measured on {last.date}{imported}; --fresh measures them again"
    )


def sentence(judged: Sequence[Judged], against: str) -> str:
    """Return the verdict on all figures, mode by mode: what is worse first, then what is better."""
    if not judged:
        return f"No verdict: nothing valid to compare with {against}."
    modes = dict.fromkeys(one.mode for one in judged)
    clauses = (f"{mode} {_clause([one for one in judged if one.mode == mode])}" for mode in modes)
    return f"Against {against}: {'; '.join(clauses)}."


def undecided(judged: Sequence[Judged]) -> Iterator[str]:
    """Yield why figures are undecided or missing, each reason once with the figures it is of."""
    reasons: dict[str, list[str]] = {}
    for one in judged:
        if one.reason:
            reasons.setdefault(one.reason, []).append(figure_name(one))
    for reason, figures in reasons.items():
        shown = figures[0] if len(figures) == 1 else f"{figures[0]} and {len(figures) - 1} more"
        yield f"{shown}: {reason}"


def figure_name(one: Judged) -> str:
    """Return what was compared: ``TCP_RR 1 B, vhost: transactions``."""
    return f"{cell_name(one.dimensions)}, {one.mode}: {METRICS[one.metric].title}"


def _clause(judged: Sequence[Judged]) -> str:
    parts = []
    for verdict, what in (
        ("worse", "worse"),
        ("missing", "without a valid figure"),
        ("better", "better"),
        ("same", "the same"),
    ):
        found = [one for one in judged if one.verdict == verdict]
        if found:
            parts.append(f"{len(found)} {what}{_extreme(found)}")
        elif verdict == "worse":
            parts.append("none worse")
    undecided = [one for one in judged if one.verdict == "undecided"]
    if undecided:
        parts.append(f"{len(undecided)} undecided{_advice(undecided)}")
    return ", ".join(parts)


def _extreme(found: Sequence[Judged]) -> str:
    """Return the one that differs most, in brackets."""
    ratios = [
        (abs(one.ratio.value - 1), one.ratio.value, one)
        for one in found
        if one.ratio and one.verdict in {"better", "worse"}
    ]
    if not ratios:
        return ""
    _, ratio, one = max(ratios, key=lambda found: found[0])
    most = "most: " if len(found) > 1 else ""
    title = METRICS[one.metric].title
    return f" ({most}{title} {ratio:.2f}x in {cell_name(one.dimensions)})"


def _advice(undecided: Sequence[Judged]) -> str:
    needed = [one.more_boots for one in undecided if one.more_boots]
    if not needed:
        return ""
    if len(needed) == len(undecided):
        return f" ({max(needed)} more repetitions would decide)"
    return f" ({max(needed)} more repetitions would decide {len(needed)} of them)"
