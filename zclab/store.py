"""Run directories: ``results.json`` and, beside it, what it was made of under ``raw/``.

Results are written after every trial, each time as a whole and atomically, so that an interrupted
run leaves what it has and a reader never sees half a file.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from zclab.errors import ConfigError
from zclab.model import Clock
from zclab.results import Provenance, Results, RunInfo, Sample, Trial

RUNS = Path("runs")
RESULTS_FILE = "results.json"
RAW = "raw"


class RunDirectory:
    """The directory of a run that is going on, and the results so far."""

    def __init__(self, path: Path, run: RunInfo) -> None:
        self.path = path
        self.results = Results(run=run)
        path.mkdir(parents=True)
        self._write()

    @classmethod
    def create(
        cls,
        *,
        lab: str,
        clock: Clock,
        modes: Sequence[str],
        command: str,
        suite: str | None = None,
        seed: int | None = None,
        out: Path | None = None,
    ) -> RunDirectory:
        """Make a new run's directory: ``runs/<id>``, or ``out``, which must not exist yet.

        Raises ConfigError where it cannot be made.
        """
        started = datetime.now(UTC).replace(microsecond=0)
        name = run_id(started, modes, secrets.token_hex(2))
        run = RunInfo(
            id=name,
            started=started.isoformat(),
            lab=lab,
            clock=clock,
            command=command,
            suite=suite,
            seed=seed,
        )
        path = out or RUNS / name
        try:
            return cls(path, run)
        except FileExistsError as exc:
            msg = f"--out: {path} exists: name a new directory, results are never overwritten"
            raise ConfigError(msg) from exc
        except OSError as exc:
            raise ConfigError(f"--out: cannot make {path}: {exc.strerror}") from exc

    def set_provenance(self, provenance: Provenance) -> None:
        """Say what the run was made with."""
        self._update(provenance=provenance)

    def add(self, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        """Add a trial that has ended, however it did, with what it measured."""
        self._update(
            trials=(*self.results.trials, trial), samples=(*self.results.samples, *samples)
        )

    def write_raw(self, name: str, text: str) -> Path:
        """Keep ``text`` as ``raw/<name>``, which may have folders in it; return its path."""
        path = self.path / RAW / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def _update(self, **changes: object) -> None:
        self.results = self.results.model_copy(update=changes)
        self._write()

    def _write(self) -> None:
        text = self.results.model_dump_json(by_alias=True, indent=1)
        _replace(self.path / RESULTS_FILE, f"{text}\n")


def run_id(started: datetime, modes: Sequence[str], token: str) -> str:
    """Return an id that sorts by time and tells by itself: ``20261122-185320-vhost-1a2b``."""
    what = modes[0] if len(modes) == 1 else f"{len(modes)}-modes"
    return f"{started:%Y%m%d-%H%M%S}-{what}-{token}"


def load(path: Path) -> Results:
    """Read the results of a run directory, or of the file itself.

    Raises ConfigError that names the file and everything that is wrong with it, by key path.
    """
    file = path / RESULTS_FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as exc:
        msg = f"{file}: {exc.strerror}: name a run directory, such as one under {RUNS}/"
        raise ConfigError(msg) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: not text: is it a {RESULTS_FILE}?") from exc
    try:
        return Results.model_validate_json(text)
    except ValidationError as exc:
        raise ConfigError("\n".join(_explain(file, exc))) from exc


def _explain(file: Path, error: ValidationError) -> list[str]:
    """Return one line for each mistake: ``results.json: trials[2].status: …``."""
    lines = []
    for mistake in error.errors():
        keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in mistake["loc"])
        where = f"{file}: {keys.lstrip('.')}" if keys else str(file)
        message = re.sub(r"^Input should be", "should be", mistake["msg"])
        found = mistake["input"]
        shown = f", not {found!r}" if isinstance(found, str | int | float | None) else ""
        lines.append(f"{where}: {message}{shown if mistake['type'] != 'missing' else ''}")
    return lines


def _replace(path: Path, text: str) -> None:
    """Write a file so that at any moment it has its old or its new content."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
