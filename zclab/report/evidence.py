"""What shows that each mode was in effect: in a sentence, and by every counter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from zclab.judge.cells import Cell
from zclab.model import MIGRATE, ModeName
from zclab.runs.results import Trial
from zclab.units import format_bytes

_PERCENT = 100


def sentences(cells: Sequence[Cell]) -> dict[str, str]:
    """Return, by mode, a sentence on what its evidence says; nothing where there is none."""
    trials: dict[ModeName, list[Trial]] = {}
    for cell in cells:
        for result in cell.modes:
            told = [trial for trial in result.trials if trial.evidence]
            trials.setdefault(result.mode, []).extend(told)
    return {mode: _sentence(mode, told) for mode, told in trials.items() if told}


def _sentence(mode: ModeName, trials: Sequence[Trial]) -> str:
    """Return what all trials of a mode say, those that migrated a guest apart."""
    moved = [trial for trial in trials if trial.workload == MIGRATE]
    stayed = [trial for trial in trials if trial.workload != MIGRATE]
    told = [_SENTENCES[mode](stayed)] if stayed else []
    return "; ".join((*told, *([_migrations(moved)] if moved else [])))


def _migrations(trials: Sequence[Trial]) -> str:
    """Say what QEMU and the hosts said of migrations, each way."""
    ways = [(trial, way) for trial in trials for way in ("there", "back")]

    def all_of(name: str) -> str:
        return _values([trial.evidence.get(f"{way}_{name}") for trial, way in ways])

    echoed = sum(_number(trial, "payload_bytes") for trial in trials)
    answered = sum(_number(trial, "transactions") for trial in trials)
    parts = [
        f"{len(ways)} migrations, each to a link of kind {'/'.join(dict.fromkeys(_links(ways)))}",
        f"{format_bytes(echoed)} of a stream and {answered:,.0f} transactions came back whole",
        f"QEMU's downtime {all_of('downtime_ms')} ms",
        f"{all_of('pages')} pages in {all_of('passes')} passes",
        f"{all_of('pinned_pages')} pages left pinned",
    ]
    if any("there_zerocopy_ms" in trial.evidence for trial in trials):
        parts.append(f"zero-copying again after {all_of('zerocopy_ms')} ms")
    return "; ".join(parts)


def _links(ways: Sequence[tuple[Trial, str]]) -> Iterator[str]:
    for trial, way in ways:
        yield str(trial.evidence.get(f"{way}_link") or "?")


def counters(cells: Sequence[Cell]) -> dict[str, str]:
    """Return, by mode, every fact that showed that it was in effect."""
    seen: dict[str, dict[str, list[object]]] = {}
    for cell in cells:
        for result in cell.modes:
            for trial in result.trials:
                for name, value in trial.evidence.items():
                    seen.setdefault(result.mode, {}).setdefault(name, []).append(value)
    return {
        mode: ", ".join(f"{name} {_values(values)}" for name, values in found.items())
        for mode, found in seen.items()
    }


def _passthrough(trials: Sequence[Trial]) -> str:
    drivers = f"the guest's {_all(trials, 'guest_driver')} drove the NIC"
    interrupts = sum(_number(trial, "vfio_interrupts") for trial in trials)
    return f"{drivers} through {_all(trials, 'host_driver')}; {interrupts:,.0f} interrupts passed"


def _vhost(trials: Sequence[Trial]) -> str:
    sends = sum(_number(trial, "zerocopy_sends") for trial in trials)
    which = "no send" if not sends else f"{sends:,.0f} sends"
    link = f"the guest's {_all(trials, 'guest_driver')} was on a {_all(trials, 'host_link')}"
    return f"{link}, through vhost-net; {which} went without a copy"


def _zerocopy(trials: Sequence[Trial]) -> str:
    """Say what was not copied, for each setting of offloads, as that decides what is received."""
    groups = {
        switch: [trial for trial in trials if trial.offloads == switch] for switch in ("on", "off")
    }
    parts = []
    for switch, group in groups.items():
        if shares := list(_shares(group)):
            where = f"with offloads {switch} " if all(groups.values()) else ""
            parts.append(f"{where}{' and '.join(shares)} was not copied{_why(group, switch)}")
    link = f"the guest's {_all(trials, 'guest_driver')} was on {_all(trials, 'host_link')}"
    return "; ".join(parts) or f"{link}; no stream shows how much went without a copy"


def _shares(trials: Sequence[Trial]) -> Iterator[str]:
    for direction, what in (("tx", "sent"), ("rx", "received")):
        streams = [trial for trial in trials if trial.direction == direction]
        weight = sum(_number(trial, "payload_bytes") for trial in streams)
        if weight:
            name = f"{direction}_zerocopy_share"
            moved = sum(_number(t, name) * _number(t, "payload_bytes") for t in streams)
            share = min(1.0, moved / weight)  # headers count with small datagrams
            yield f"{_percent(share)} of what the guest {what}"


def _why(trials: Sequence[Trial], switch: str) -> str:
    """Say why what was received went to the host's memory, where it did."""
    received = [trial for trial in trials if trial.direction == "rx"]
    if not any(trial.evidence.get("rx_zerocopy") == "off" for trial in received):
        return ""
    cause = "GRO merges frames" if switch == "on" else "no posted buffer could take its frames"
    return f": {cause}, so the NIC received into host memory{_merged(received)}"


def _merged(received: Sequence[Trial]) -> str:
    """Say how much the NIC's driver merged without an skb for each frame, if it did."""
    name = "rx_merged_share"
    streams = [trial for trial in received if name in trial.evidence]
    weight = sum(_number(trial, "payload_bytes") for trial in streams)
    if not weight:
        return ""
    merged = sum(_number(t, name) * _number(t, "payload_bytes") for t in streams)
    return f"; {_percent(merged / weight)} was merged without an skb a frame, and copied once"


_SENTENCES: Mapping[ModeName, Callable[[Sequence[Trial]], str]] = {
    "passthrough": _passthrough,
    "vhost": _vhost,
    "zerocopy": _zerocopy,
}


def _number(trial: Trial, name: str) -> float:
    value = trial.evidence.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _percent(share: float) -> str:
    return f"{share * _PERCENT:.1f}".removesuffix(".0") + " %"


def _all(trials: Sequence[Trial], name: str) -> str:
    """Return each value that a fact had, ``?`` where it is not there."""
    values = dict.fromkeys(str(trial.evidence.get(name) or "?") for trial in trials)
    return "/".join(values)


def _values(values: Sequence[object]) -> str:
    """Return counters as their range, anything else as the values that occurred."""
    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values) and not any(isinstance(value, bool) for value in values):
        low, high = min(numbers), max(numbers)
        return f"{low:,.10g}" if low == high else f"{low:,.10g}-{high:,.10g}"
    return "/".join(dict.fromkeys(str(value) for value in values))
