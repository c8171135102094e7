"""Run directories: ``results.json`` and, beside it, what it was made of under ``raw/``.

Results are written after every trial, each time as a whole and atomically, so that an interrupted
run leaves what it has and a reader never sees half a file. They are read back before they take the
place of what is there, so that no trial makes a run unreadable.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from zclab.errors import ConfigError, ParseError
from zclab.model import Clock
from zclab.options import is_folder
from zclab.outside import explain, mistakes
from zclab.runs.results import Dimensions, Provenance, Results, Resumed, RunInfo, Sample, Trial

RUNS = Path("runs")
RESULTS_FILE = "results.json"
RAW = "raw"


class RunDirectory:
    """The directory of a run that is going on, and the results so far.

    It is locked as long as this object lives, so that no two zclabs write to it. ``on_trial`` is
    told the results after each trial that was added.
    """

    def __init__(self, path: Path, results: Results) -> None:
        self.path = path
        self.results = results
        self.on_trial: Callable[[Results], None] = lambda _: None
        _lock(self, path)
        write_value(path / RESULTS_FILE, results)

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
        runs: Path = RUNS,
    ) -> RunDirectory:
        """Make a new run's directory: ``<runs>/<id>``, or ``out``, which must not exist yet.

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
        path = out or runs / name
        try:
            path.mkdir(parents=True)
            return cls(path, Results(run=run))
        except FileExistsError as exc:
            msg = f"--out: {path} exists: name a new directory, results are never overwritten"
            raise ConfigError(msg) from exc
        except OSError as exc:
            raise ConfigError(f"--out: cannot make {path}: {exc.strerror}") from exc

    @classmethod
    def reopen(cls, path: Path, *, command: str) -> RunDirectory:
        """Go on with a run that has stopped.

        What had failed is taken out, to be run again, and kept on record with the time and the
        ``command``. Invalid trials stay: to repeat those until they fit would be to choose.
        Raises ConfigError where there is no run, or where another zclab is still writing to it.
        """
        results = load(path)
        failed = tuple(trial for trial in results.trials if trial.status == "failed")
        resumed = Resumed(
            started=datetime.now(UTC).replace(microsecond=0).isoformat(),
            command=command,
            retried=failed,
        )
        run = results.run.model_copy(update={"resumed": (*results.run.resumed, resumed)})
        kept = tuple(trial for trial in results.trials if trial.status != "failed")
        return cls(path, results.model_copy(update={"run": run, "trials": kept}))

    def set_provenance(self, provenance: Provenance) -> None:
        """Say what the run is made with; what was said before has to stay true.

        Raises ConfigError that names everything that has changed since a run began.
        """
        before = self.results.provenance
        provenance = Provenance(**dict(provenance))  # as it would be read back
        changed = list(_changed(before, provenance))
        if changed:
            what = f"{self.path}: these have changed since the run began:"
            remedy = "restore them, or start a new run; no run mixes old and new"
            raise ConfigError("\n".join((what, *changed, remedy)))
        self._update(
            provenance=Provenance(
                cpu_model=before.cpu_model or provenance.cpu_model,
                versions={**provenance.versions, **before.versions},
                artifacts={**provenance.artifacts, **before.artifacts},
                settings={**provenance.settings, **before.settings},
                command_lines={**provenance.command_lines, **before.command_lines},
            )
        )

    def add(self, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        """Add a trial that has ended, however it did, with what it measured.

        Where that could not be read back, the trial is a failed one, and that is its reason.
        """
        before = self.results
        try:
            self._update(trials=(*before.trials, trial), samples=(*before.samples, *samples))
        except ParseError as exc:
            dimensions = {name: getattr(trial, name) for name in Dimensions.model_fields}
            failed = Trial(**dimensions, status="failed", reason=str(exc))
            self._update(trials=(*before.trials, failed))
        self.on_trial(self.results)

    def arrange(self, trials: Sequence[Trial]) -> None:
        """Put the trials, which are those that are there already, into this order."""
        self._update(trials=tuple(trials))

    def write_raw(self, name: str, text: str) -> Path:
        """Keep ``text`` as ``raw/<name>``, which may have folders in it; return its path.

        It is on the disk when this returns: a trial in the results has its raw output.
        """
        path = self.path / RAW / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace(path, text)
        return path

    def add_log(self, name: str, text: str) -> Path:
        """Keep ``text`` as ``raw/<name>.log``, or beside what has that name as ``<name>-2.log``."""
        free, number = f"{name}.log", 1
        while (self.path / RAW / free).exists():
            number += 1
            free = f"{name}-{number}.log"
        return self.write_raw(free, text)

    def discard(self) -> None:
        """Remove the directory again, which create() made, where no trial has ended in it."""
        if not self.results.trials:
            shutil.rmtree(self.path, ignore_errors=True)

    def _update(self, **changes: object) -> None:
        results = self.results.model_copy(update=changes)
        write_value(self.path / RESULTS_FILE, results)
        self.results = results


def run_id(started: datetime, modes: Sequence[str], token: str) -> str:
    """Return an id that sorts by time and tells by itself: ``20261122-185320-vhost-1a2b``."""
    what = modes[0] if len(modes) == 1 else f"{len(modes)}-modes"
    return f"{started:%Y%m%d-%H%M%S}-{what}-{token}"


def load(path: Path) -> Results:
    """Read the results of a run directory, or of the file itself.

    Raises ConfigError that names the file and everything that is wrong with it, by key path. A
    sample without a value, which zclab once wrote for nan, makes its trial a failed one.
    """
    file = path / RESULTS_FILE if is_folder(path) else path
    try:
        text = file.read_text(encoding="utf-8-sig")  # an editor may put a mark before it
    except OSError as exc:
        msg = f"{file}: {exc.strerror}: name a run directory, such as one under {RUNS}/"
        raise ConfigError(msg) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: not text: is it a {RESULTS_FILE}?") from exc
    try:
        return Results.model_validate_json(text)
    except ValidationError:
        return explain(file, Results, _without_empty_samples(text))


def run_folder(path: Path) -> Path | None:
    """Return the folder of the run that load() reads; None for a file that is in no run's folder.

    Such a file may lie anywhere, among what has nothing to do with it.
    """
    if is_folder(path):
        return path
    return path.parent if path.name == RESULTS_FILE else None


def _without_empty_samples(text: str) -> str:
    """Return results with what has null for its value taken out, and those trials failed."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return text
    match document:
        case {"samples": [*samples], "trials": [*trials]}:
            lost: dict[str, list[str]] = {}
            for sample in filter(_is_empty, samples):
                lost.setdefault(_identity(sample), []).append(str(sample.get("metric")))
            for trial in trials:
                if isinstance(trial, dict) and (names := lost.get(_identity(trial))):
                    reason = f"no number was stored of {', '.join(names)}"
                    trial |= {"status": "failed", "reason": reason}
            document["samples"] = [sample for sample in samples if not _is_empty(sample)]
            return json.dumps(document)
    return text


def _is_empty(sample: object) -> bool:
    return isinstance(sample, dict) and sample.get("value", 0) is None


def _identity(plain: Mapping[str, Any]) -> str:
    return json.dumps([plain.get(name) for name in Dimensions.model_fields])


def _lock(owner: object, path: Path) -> None:
    """Lock a folder until its owner is gone, or this process is; raises ConfigError where it is."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    weakref.finalize(owner, os.close, folder)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ConfigError(
            f"{path}: another zclab is still writing to this run; wait until it ends, or stop it"
        ) from exc


def _changed(before: Provenance, now: Provenance) -> Iterator[str]:
    """Yield what two provenances both tell, and differently; the command may be another one."""
    if before.cpu_model and now.cpu_model and before.cpu_model != now.cpu_model:
        yield f"  cpu_model: {now.cpu_model} now, {before.cpu_model} when it began"
    for kind in ("versions", "artifacts", "settings", "command_lines"):
        was, is_now = getattr(before, kind), getattr(now, kind)
        for name in (name for name in was if name in is_now and name != "zclab"):
            if was[name] != is_now[name]:
                yield f"  {name}: {is_now[name]} now, {was[name]} when it began"


def write_value(path: Path, value: BaseModel) -> None:
    """Write a value as JSON, in the place of an older one once it has been read back.

    Raises ParseError where it cannot be, and what was there stays.
    """

    def read_back(written: Path) -> None:
        try:
            type(value).model_validate_json(written.read_bytes())
        except ValidationError as exc:
            raise ParseError("; ".join(("not stored", *mistakes(path, exc)))) from exc

    try:
        text = value.model_dump_json(by_alias=True, indent=1)
    except ValueError as exc:
        raise ParseError(f"not stored: {path}: cannot be written as JSON: {exc}") from exc
    replace(path, f"{text}\n", check=read_back)


def replace(path: Path, text: str, *, check: Callable[[Path], object] | None = None) -> None:
    """Write a file so that at any moment it has its old or its new content.

    The new one is called by another name until ``check`` has had a look at it.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check:
            check(temporary)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
