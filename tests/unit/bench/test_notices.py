"""What comes of a trial during which, or before which, a kernel said something."""

from __future__ import annotations

from zclab.bench.notices import NOTED, with_notices
from zclab.host.console import Notice
from zclab.judge.simulated import STREAM
from zclab.runs.results import Dimensions, Trial, samples

DIMENSIONS = Dimensions(**STREAM, mode="vhost", boot=0, repetition=0)
TRIAL = Trial(**DIMENSIONS.model_dump(), status="ok")
FIGURES = samples(DIMENSIONS, {"throughput_mbps": 941.0})
HANG = ("host", Notice(severity="fails", kind="tx hang", title="Detected Tx Unit Hang"))
SLOW = ("host", Notice(severity="noted", kind="slow interrupt", title="perf: interrupt took"))


def test_what_fails_a_trial_takes_its_figures_and_is_its_reason() -> None:
    trial, figures = with_notices(TRIAL, FIGURES, (HANG, SLOW))

    assert (trial.status, figures) == ("failed", ())
    assert trial.reason == "kernel of the host: Detected Tx Unit Hang"
    assert trial.evidence[NOTED] == "host: perf: interrupt took"


def test_what_was_said_before_a_trial_is_noted_and_fails_nothing() -> None:
    trial, figures = with_notices(TRIAL, FIGURES, (SLOW,), (HANG,))

    assert (trial.status, figures) == ("ok", FIGURES)
    assert trial.evidence[NOTED] == "host: Detected Tx Unit Hang; host: perf: interrupt took"


def test_what_was_said_before_a_trial_is_noted_if_it_is_said_again_during_it() -> None:
    trial, _ = with_notices(TRIAL, FIGURES, (HANG,), (HANG,))

    assert trial.status == "failed"
    assert trial.evidence[NOTED] == "host: Detected Tx Unit Hang"


def test_nothing_said_leaves_a_trial_as_it_is() -> None:
    assert with_notices(TRIAL, FIGURES, ()) == (TRIAL, FIGURES)
