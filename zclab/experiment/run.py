"""One run, from a lab and a plan to results on disk."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypedDict

from zclab.bench.execute import check_features, execute
from zclab.bench.notices import with_notices
from zclab.bench.provenance import seen_on_host
from zclab.lab.artifacts import Artifacts
from zclab.lab.lifecycle import console_of, opened, opened_pair, second_console_of, staying_up
from zclab.lab.pair import Pair
from zclab.lab.session import Session
from zclab.model import MIGRATE, Lab, ModeName, Switch
from zclab.progress import Progress
from zclab.runs.plan import Part, Planned
from zclab.runs.results import Provenance
from zclab.runs.store import RunDirectory
from zclab.virtualtime import cluster
from zclab.virtualtime.lab import VirtualLab, VirtualOptions
from zclab.virtualtime.trials import run_trials


class _Settings(TypedDict):
    """How a part's lab is opened."""

    keep: bool
    mtu: int
    offloads: Switch
    force: bool
    progress: Progress


@contextmanager
def lab_for(
    lab: Lab, artifacts: Artifacts, store: RunDirectory, *, keep: bool, progress: Progress
) -> Iterator[None]:
    """Have a lab up; what its console showed is in ``store`` also where it did not come up."""
    consoles = {"host-console": console_of(lab), "second-host-console": second_console_of(lab)}
    try:
        with staying_up(lab, artifacts, keep=keep, progress=progress):
            yield
    finally:
        for name, console in consoles.items():
            if console and console.exists():
                store.add_log(name, console.read_text(errors="replace"))


def run(
    part: Part,
    artifacts: Artifacts,
    store: RunDirectory,
    *,
    force: bool = False,
    progress: Progress,
) -> None:
    """Execute boots in a lab that is up; the results are in ``store`` also on failure."""
    with _opened(part, artifacts, force=force, progress=progress) as (session, pair):
        store.set_provenance(made_with(seen_on_host(session), artifacts, part.lab))
        try:
            execute(session, part.boots, store, progress, pair=pair)
        finally:
            _keep_notices(session, store)
            _keep_guest_console(session, store)


@contextmanager
def _opened(
    part: Part, artifacts: Artifacts, *, force: bool, progress: Progress
) -> Iterator[tuple[Session, Pair | None]]:
    """Open a part's lab; both of its hosts where any of its trials needs the second one."""
    settings: _Settings = {
        "keep": True,
        "mtu": part.mtu,
        "offloads": part.offloads,
        "force": force,
        "progress": progress,
    }
    if any(planned.workload.name == MIGRATE for boot in part.boots for planned in boot.trials):
        with opened_pair(part.lab, artifacts, **settings) as pair:
            yield pair.first.session, pair
    else:
        with opened(part.lab, artifacts, **settings) as session:
            yield session, None


def run_virtual(
    part: Part,
    artifacts: Artifacts,
    store: RunDirectory,
    *,
    options: VirtualOptions,
    progress: Progress,
) -> None:
    """Execute boots in virtual time."""
    virtual = VirtualLab.of(part.lab, artifacts, options, mtu=part.mtu, offloads=part.offloads)
    trials = _by_workload([planned for boot in part.boots for planned in boot.trials])
    features: dict[str, ModeName] = {}

    def on_provenance(seen: Provenance) -> None:
        store.set_provenance(made_with(seen, artifacts, part.lab))

    elsewhere = partial(cluster.outcomes, address=options.executor) if options.executor else None
    outcomes = run_trials(
        virtual,
        trials,
        progress,
        jobs=options.jobs,
        on_provenance=on_provenance,
        execute=elsewhere,
        run=store.results.run.id,
        recheck=options.recheck,
    )
    for outcome in outcomes:
        for name, text in outcome.raw:
            store.write_raw(name, text)
        seen = outcome.trial.evidence.get("virtio_features")
        store.add(outcome.trial, outcome.samples)
        check_features(features, outcome.trial.mode, None if seen is None else str(seen))


def _by_workload(trials: Sequence[Planned]) -> list[Planned]:
    """Return a part's trials so that one cell of the table after the other is complete.

    In virtual time no order changes a figure.
    """
    order = list(dict.fromkeys(planned.workload for planned in trials))
    return sorted(trials, key=lambda planned: order.index(planned.workload))


def made_with(seen: Provenance, artifacts: Artifacts, lab: Lab) -> Provenance:
    """Add to what a host tells of itself what we built it from, how, and by which command."""
    versions = {**seen.versions, "kernel_source": artifacts.kernel.base}
    keys = {**seen.artifacts, **artifacts.contents, "series": artifacts.kernel.series_hash}
    if artifacts.host:
        versions["emulator"] = artifacts.host.emulator.version
        keys["emulator_series"] = artifacts.host.emulator.series_hash
    return seen.model_copy(
        update={
            "versions": versions,
            "artifacts": keys,
            "settings": {**settings_of(lab), **seen.settings},
            "command_lines": {**seen.command_lines, "zclab": shlex.join(sys.argv)},
        }
    )


def settings_of(lab: Lab) -> dict[str, str | int | bool]:
    """Return what a lab's file sets alike for all trials, and what changes their figures.

    What is a dimension of every trial (the NIC) or told by the host (its CPU, and how long its
    NICs wait with interrupts) is not among it. In virtual time an emulated host has one CPU and no
    accelerator, whatever the file says.
    """
    found: dict[str, str | int | bool] = {
        "guest_vcpus": lab.guest.vcpus,
        "guest_memory_mib": lab.guest.memory_mib,
        "guest_queues": lab.guest.queues,
        **lab.tunables.model_dump(exclude={"rx_usecs"}),
    }
    if lab.emulator:
        found["host_memory_mib"] = lab.emulator.memory_mib
        if lab.clock == "wall":
            found["host_cpus"] = lab.emulator.cpus
            found["accelerator"] = lab.emulator.accelerator
    return found


def _keep_notices(session: Session, store: RunDirectory) -> None:
    """Note with the last trial what kernels said after it."""
    *others, last = store.results.trials or (None,)
    heard = session.watcher.taken()
    if last and heard:
        store.arrange((*others, with_notices(last, (), (), heard)[0]))


def _keep_guest_console(session: Session, store: RunDirectory) -> None:
    log = session.guest_files.console_log
    done = session.host.run(("cat", log), check=False)
    if done.ok:
        store.add_log("guest-console", done.stdout)
