"""From the accounts of a trial in virtual time to its figures: exact, nothing left over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zclab.bench.execute import begin_mark, end_mark
from zclab.errors import ParseError
from zclab.host.cpu import HOST_ROLES, Roles
from zclab.model import COMPONENTS, Workload
from zclab.runs.results import Sample, Trial, samples
from zclab.units import KIB, NS_PER_S, NS_PER_US
from zclab.virtualtime.account import Mark, parse, window
from zclab.virtualtime.profile import Symbols, profile


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A trial's window, and what it moved: KB of payload, or transactions."""

    window: Mark
    roles: Roles
    units: float
    unit: str

    @property
    def figures(self) -> dict[str, float]:
        """The metrics of this window; they replace what the host's scheduler counted."""
        insns = self.window.components(self.roles)
        whole = self.window.insns
        per_unit = {str(name): count for name, count in insns.items()}
        per_unit |= {"total": whole, "dut": whole - insns["peer"]}
        demand = sum(insns[role] for role in HOST_ROLES) / NS_PER_US / self.units
        return {
            **{f"cpu_{name}_s": insns[name] / NS_PER_S for name in COMPONENTS},
            "cpu_idle_s": self.window.idle_ns / NS_PER_S,
            f"service_demand_us_per_{self.unit}": demand,
            **{f"insns_per_{self.unit}_{name}": n / self.units for name, n in per_unit.items()},
        }

    @property
    def evidence(self) -> dict[str, int]:
        """How often the guest was left, by reason, and what the host then executed."""
        facts = {}
        for name, item in sorted(self.window.exits().items()):
            facts[f"exit_{name}"] = item.count
            facts[f"exit_{name}_insns"] = item.kernel + item.user
        return facts

    def profile_table(self, symbols: Symbols) -> str:
        """Return the self-cost per unit of every symbol, as lines of tab-separated values."""
        counts = profile(self.window, self.roles, symbols)
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        head = f"component\tsymbol\tinsns\tinsns_per_{self.unit}\n"
        return head + "".join(
            f"{component}\t{symbol}\t{count}\t{count / self.units:.6g}\n"
            for (component, symbol), count in rows
        )


def counted(text: str, workload: Workload, trial: Trial, roles: Roles) -> Counted:
    """Return a trial's window out of the plugin's output; ParseError where it is not there."""
    moved, unit = trial.evidence.get("transactions"), "transaction"
    if moved is None:
        moved, unit = trial.evidence.get("payload_bytes"), "kb"
    if not isinstance(moved, int) or not 0 < moved < 1 << 64:
        raise ParseError(
            f"the host's word on what a trial moved: found {moved!r}, allowed: a count"
        )
    divisor = KIB if unit == "kb" else 1
    return Counted(
        window=window(parse(text), begin_mark(workload), end_mark(workload)),
        roles=roles,
        units=moved / divisor,
        unit=unit,
    )


def with_exact(
    trial: Trial, measured: Sequence[Sample], exact: Counted
) -> tuple[Trial, tuple[Sample, ...]]:
    """Return a trial and its samples with the exact figures in place of the host's own."""
    figures: Mapping[str, float] = {s.metric: s.value for s in measured} | exact.figures
    explained = trial.model_copy(update={"evidence": {**trial.evidence, **exact.evidence}})
    return explained, samples(trial, figures)
