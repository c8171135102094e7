"""Trials in virtual time on the workers of a dask.distributed scheduler.

What a trial comes to is the same wherever it ran, so a worker that dies costs time and nothing
else: the scheduler gives its trials to others. A worker needs a checkout of the same zclab. What
it lacks of emulator, kernel and states is sent to it through the scheduler, once, and stays in its
cache.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from zclab.build.cache import Artifact, cache_dir, disk_full_explained, prune
from zclab.build.code import code_hash
from zclab.build.parcel import Named, lacking, pack, unpack
from zclab.errors import BuildError, ConfigError, LabError
from zclab.model import ModeName
from zclab.runs.plan import Planned
from zclab.units import MIB
from zclab.virtualtime.lab import VirtualLab
from zclab.virtualtime.saved_states import KEPT_STATES
from zclab.virtualtime.trials import Outcome, run_trial

CHUNK_BYTES = 32 * MIB
CONNECT_S = 30
NO_WORKERS_S = 300
"""How long trials wait while there is no worker at all: one may be starting again."""
POLL_S = 5
DAY_S = 86400
GUEST_STATE = "guest-state"
_TRIES = 3
_ARRIVING = "arriving"


@dataclass(frozen=True, kw_only=True)
class Work:
    """A trial and what it takes, to be run in another process; paths are of ``cache``."""

    virtual: VirtualLab
    state: Path
    planned: Planned
    needs: tuple[Named, ...]
    cache: Path
    code: str


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """What a worker answers that cannot run a trial yet."""

    worker: str
    needs: tuple[Named, ...]


def outcomes(
    virtual: VirtualLab,
    states: Mapping[ModeName, Artifact],
    trials: Sequence[Planned],
    *,
    address: str,
) -> Iterator[Outcome]:
    """Run trials on the workers of the scheduler at ``address``; yield them as they end.

    Raises ConfigError without dask.distributed, and LabError where there is no scheduler or no
    worker, where a worker has another zclab, or where one trial ended several of them.
    """
    todo = [_work(virtual, states[planned.dimensions.mode], planned) for planned in trials]
    with _connected(address) as client:
        pending = {_submit(client, work): work for work in todo}
        tries: Counter[tuple[str, Named]] = Counter()
        try:
            while pending:
                for future in _ended(client, list(pending), address):
                    work = pending.pop(future)
                    result = _result(future, work, address)
                    if isinstance(result, Outcome):
                        yield result
                        continue
                    for artifact in result.needs:
                        tries[result.worker, artifact] += 1
                        _send(client, result.worker, artifact, tries[result.worker, artifact])
                    pending[_submit(client, work)] = work
        finally:
            client.cancel(list(pending))


def attempt(work: Work) -> Outcome | Lacking:
    """Run a trial on a worker, if it has all that this takes."""
    from distributed import get_worker  # noqa: PLC0415 - as in _connected()

    here = str(get_worker().address)
    if code_hash() != work.code:
        raise LabError(
            f"worker {here} has another zclab than this one; check out the same commit there, "
            "and start it again"
        )
    if missing := lacking(work.needs):
        return Lacking(worker=here, needs=missing)
    virtual, state = moved((work.virtual, work.state), work.cache, cache_dir())
    outcome = run_trial(virtual, state, work.planned)
    if outcome.trial.status != "failed":
        return outcome
    reason = f"on worker {here}: {outcome.trial.reason}"
    return replace(outcome, trial=outcome.trial.model_copy(update={"reason": reason}))


def moved(value: Any, old: Path, new: Path) -> Any:
    """Return a value, dataclasses and tuples, with all paths below ``old`` in it below ``new``."""
    if isinstance(value, Path):
        return new / value.relative_to(old) if value.is_relative_to(old) else value
    if isinstance(value, tuple):
        return tuple(moved(one, old, new) for one in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{one.name: moved(getattr(value, one.name), old, new) for one in fields(value)}
        )
    return value


def append(name: str, chunk: bytes) -> None:
    """Take the next part of a parcel, on a worker."""
    folder = cache_dir() / _ARRIVING
    with disk_full_explained(cache_dir()):
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():  # of a worker that was killed meanwhile
            if left.stat().st_mtime < time.time() - DAY_S:
                left.unlink(missing_ok=True)
        with (folder / name).open("ab") as parcel:
            parcel.write(chunk)


def arrived(name: str, artifact: Named, digest: str) -> None:
    """Put what has arrived into a worker's cache."""
    parcel = cache_dir() / _ARRIVING / name
    try:
        unpack(artifact, parcel, digest)
    finally:
        parcel.unlink()
    if artifact.kind == GUEST_STATE:
        prune(artifact.kind, keep=KEPT_STATES)


def _work(virtual: VirtualLab, state: Artifact, planned: Planned) -> Work:
    return Work(
        virtual=virtual,
        state=state.path,
        planned=planned,
        needs=tuple(
            dict.fromkeys(
                # Of a run with a bundle, the first three are one artifact.
                (
                    Named.of(virtual.host.emulator.binary),
                    Named.of(virtual.host.plugin.path),
                    Named.of(virtual.artifacts.kernel.bzimage),
                    Named(GUEST_STATE, state.key),
                )
            )
        ),
        cache=cache_dir(),
        code=code_hash(),
    )


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        from distributed import Client  # noqa: PLC0415 - an extra, and half a second to import
    except ImportError as exc:
        raise ConfigError(
            "--executor: dask.distributed is not installed; "
            "./bootstrap pip install -c constraints.txt -e '.[cluster]'"
        ) from exc
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as exc:
        raise LabError(
            f"--executor: no scheduler answers at {address}: {exc}; `dask scheduler` starts one, "
            "and says its address"
        ) from exc
    with client:
        yield client


def _submit(client: Any, work: Work) -> Any:
    return client.submit(attempt, work, pure=False)


def _ended(client: Any, pending: Sequence[Any], address: str) -> Sequence[Any]:
    """Wait until some have ended; LabError where there is nobody left to run them."""
    from distributed import wait  # noqa: PLC0415 - as in _connected()

    idle_s = 0
    while True:
        try:
            return list(wait(pending, timeout=POLL_S, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            idle_s = 0 if client.scheduler_info()["workers"] else idle_s + POLL_S
        if idle_s >= NO_WORKERS_S:
            raise LabError(
                f"--executor: the scheduler at {address} has had no worker for {NO_WORKERS_S} s; "
                f"`dask worker {address} --nthreads 1` on each machine starts one"
            )


def _result(future: Any, work: Work, address: str) -> Outcome | Lacking:
    from distributed import KilledWorker  # noqa: PLC0415 - as in _connected()

    try:
        result: Outcome | Lacking = future.result()
    except KilledWorker as exc:
        raise LabError(
            f"{work.planned.dimensions.mode} {work.planned.workload.label}: several workers ended "
            "while they ran this trial; check their logs and their memory"
        ) from exc
    except CancelledError as exc:
        raise LabError(f"--executor: the scheduler at {address} is gone") from exc
    return result


def _send(client: Any, worker: str, artifact: Named, tried: int) -> None:
    """Send an artifact to a worker that may have got it meanwhile, or may be gone by now."""
    try:
        if not client.run(lacking, [artifact], workers=[worker])[worker]:
            return
        name = f"{artifact.key}-{secrets.token_hex(4)}"
        with tempfile.TemporaryDirectory(prefix="zclab-", dir=cache_dir()) as folder:
            parcel = Path(folder) / name
            digest = pack(artifact, parcel)
            with parcel.open("rb") as content:
                while chunk := content.read(CHUNK_BYTES):
                    client.run(append, name, chunk, workers=[worker])
        client.run(arrived, name, artifact, digest, workers=[worker])
    except BuildError as exc:
        raise BuildError(f"worker {worker}: {exc}") from exc
    except (OSError, KeyError) as exc:
        # Its trials are run by others. One that is there and cannot be reached ends this in time.
        if tried >= _TRIES:
            raise LabError(
                f"worker {worker}: {artifact.kind} could not be sent, {tried} times: {exc}"
            ) from exc
