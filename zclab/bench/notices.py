"""What kernels say while trials run, and what comes of the trials."""

from __future__ import annotations

from collections.abc import Sequence

from zclab.lab.watch import Heard
from zclab.runs.results import Sample, Trial

NOTED = "kernel_noted"
"""The fact of a trial's evidence that has what was only to be noted."""


def with_notices(
    trial: Trial, measured: Sequence[Sample], during: Heard, before: Heard = ()
) -> tuple[Trial, tuple[Sample, ...]]:
    """Return a trial that knows what kernels said, and its samples if they still mean something.

    What was said ``during`` the trial can fail it. What was said while no trial ran, as a rule
    ``before`` it, can not: it is noted.
    """
    failing = tuple(one for one in during if one[1].severity == "fails")
    noted = (*before, *(one for one in during if one[1].severity != "fails"))
    if noted:
        known = (str(trial.evidence[NOTED]),) if NOTED in trial.evidence else ()
        evidence = {**trial.evidence, NOTED: "; ".join((*known, *lines_of(noted)))}
        trial = trial.model_copy(update={"evidence": evidence})
    if not failing:
        return trial, tuple(measured)
    reasons = [f"kernel of the {line}" for line in lines_of(failing)]
    reasons += [trial.reason] if trial.reason else []
    return trial.model_copy(update={"status": "failed", "reason": "; ".join(reasons)}), ()


def lines_of(heard: Heard) -> tuple[str, ...]:
    """Return each notice with the machine that it is of, as a line."""
    return tuple(f"{where}: {notice}" for where, notice in heard)
