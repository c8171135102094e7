"""Runs as a pandas DataFrame, for notebooks; needs the extra: pip install 'zclab[notebook]'."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from zclab.errors import ConfigError
from zclab.options import user_path
from zclab.runs.results import Results
from zclab.runs.store import load

if TYPE_CHECKING:
    import pandas as pd


def load_frame(*runs: Path | str) -> pd.DataFrame:
    """Return the valid samples of run folders, a row for each; see frame()."""
    return frame(load(user_path(run, "run")) for run in runs)


def frame(runs: Iterable[Results]) -> pd.DataFrame:
    """Return the valid samples of runs, a row for each.

    The columns are those of a sample (its dimensions, metric, value, unit), and before them
    ``run``, ``started``, ``lab``, ``clock`` and ``kernel``, the key of the kernel. Samples of
    trials that did not end ``ok`` are not there.
    """
    try:
        import pandas as pd  # noqa: PLC0415 - only notebooks need it
    except ImportError as exc:
        raise ConfigError(
            "no pandas here; in zclab's environment: pip install -c constraints.txt "
            "-e '.[notebook]'"
        ) from exc
    rows = []
    for results in runs:
        run = results.run
        shared = {
            "run": run.id,
            "started": run.started,
            "lab": run.lab,
            "clock": run.clock,
            "kernel": results.provenance.artifacts.get("kernel", ""),
        }
        good = {trial.identity for trial in results.trials if trial.status == "ok"}
        rows += [
            {**shared, **sample.model_dump()}
            for sample in results.samples
            if sample.identity in good
        ]
    found = pd.DataFrame(rows)
    return (
        found.assign(started=pd.to_datetime(found["started"], utc=True, errors="coerce"))
        if rows
        else found
    )
