"""The golden trials: one small one for each mode, whose figures are kept in tests/data/golden.json.

``python -m tests.lab.golden`` measures them and writes the file anew. Do that in a commit of its
own, whose message says what has moved: packages of an image, the kernel, the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import LabError
from zclab.lab.artifacts import Artifacts, build_all
from zclab.model import Lab, ModeName
from zclab.progress import silent
from zclab.runs.plan import Boot, plan, select_modes, select_workloads
from zclab.virtualtime.lab import VirtualLab, VirtualOptions
from zclab.virtualtime.saved_states import guest_state, host_state, parts
from zclab.virtualtime.trials import run_trial

FILE = Path(__file__).parents[1] / "data/golden.json"
TRANSACTIONS = 500


def machine(artifacts: Artifacts) -> VirtualLab:
    """Return the machine that the golden trials run on."""
    lab = with_overrides(load_lab("emulated"), clock="virtual")
    return VirtualLab.of(lab, artifacts, VirtualOptions(), mtu=1500, offloads="on")


def start(lab: Lab, mode: str) -> Boot:
    """Return the start of a mode that has its golden trial."""
    workloads = select_workloads(names=["TCP_RR"], amounts={"TCP_RR": TRANSACTIONS}, duration_s=1.0)
    (boot,) = plan(lab, modes=select_modes([mode]), workloads=workloads, repetitions=1)
    return boot


def measured(virtual: VirtualLab, mode: str) -> dict[str, float]:
    """Return the figures of the golden trial of a mode, measured now."""
    boot = start(virtual.lab, mode)
    (trial,) = boot.trials
    state = guest_state(virtual, host_state(virtual, silent), boot.mode, silent)
    outcome = run_trial(virtual, state.path, trial)
    if outcome.trial.status != "ok":
        raise LabError(f"{mode}: {outcome.trial.reason}")
    return {sample.metric: sample.value for sample in outcome.samples}


def kept() -> dict[str, Any]:
    """Return what the file says: the machine's parts, and the figures of each mode."""
    golden: dict[str, Any] = json.loads(FILE.read_text())
    return golden


def renew() -> None:
    """Measure the golden trials, and write their file."""
    virtual = machine(build_all())
    figures = {mode: measured(virtual, mode) for mode in get_args(ModeName)}
    golden = {"parts": parts(virtual), "figures": figures}
    FILE.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    renew()
