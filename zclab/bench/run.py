"""One run, from a lab and a plan to results on disk."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from zclab.bench.execute import check_features, execute
from zclab.bench.plan import Boot
from zclab.bench.provenance import seen_on_host
from zclab.bench.virtual import run_trials
from zclab.bench.virtual_lab import VirtualLab, VirtualOptions
from zclab.lab.artifacts import Artifacts
from zclab.lab.lifecycle import console_of, opened
from zclab.lab.session import Session
from zclab.model import Lab, ModeName, Switch
from zclab.progress import Progress
from zclab.results import Provenance
from zclab.store import RunDirectory


def run(
    lab: Lab,
    artifacts: Artifacts,
    boots: Sequence[Boot],
    store: RunDirectory,
    *,
    keep: bool,
    mtu: int,
    offloads: Switch,
    progress: Progress,
) -> None:
    """Execute a plan on a lab; the results, and the raw logs, are in ``store`` also on failure."""
    console = console_of(lab)
    try:
        with opened(
            lab, artifacts, keep=keep, mtu=mtu, offloads=offloads, progress=progress
        ) as session:
            store.set_provenance(made_with(seen_on_host(session), artifacts))
            try:
                execute(session, boots, store, progress)
            finally:
                _keep_guest_console(session, store)
    finally:
        if console and console.exists():
            store.write_raw("host-console.log", console.read_text(errors="replace"))


def run_virtual(
    lab: Lab,
    artifacts: Artifacts,
    boots: Sequence[Boot],
    store: RunDirectory,
    *,
    options: VirtualOptions,
    mtu: int,
    offloads: Switch,
    progress: Progress,
) -> None:
    """Execute a plan in virtual time."""
    virtual = VirtualLab.of(lab, artifacts, options, mtu=mtu, offloads=offloads)
    trials = [planned for boot in boots for planned in boot.trials]
    features: dict[str, ModeName] = {}

    def on_provenance(seen: Provenance) -> None:
        store.set_provenance(made_with(seen, artifacts))

    outcomes = run_trials(virtual, trials, progress, jobs=options.jobs, on_provenance=on_provenance)
    for outcome in outcomes:
        for name, text in outcome.raw:
            store.write_raw(name, text)
        seen = outcome.trial.evidence.get("virtio_features")
        store.add(outcome.trial, outcome.samples)
        check_features(features, outcome.trial.mode, None if seen is None else str(seen))


def made_with(seen: Provenance, artifacts: Artifacts) -> Provenance:
    """Add to what a host tells of itself what we built it from, and by which command."""
    versions = {**seen.versions, "kernel_source": artifacts.kernel.base}
    keys = {**seen.artifacts, **artifacts.keys, "series": artifacts.kernel.series_hash}
    if artifacts.host:
        versions["emulator"] = artifacts.host.emulator.version
        keys["emulator_series"] = artifacts.host.emulator.series_hash
    return seen.model_copy(
        update={
            "versions": versions,
            "artifacts": keys,
            "command_lines": {**seen.command_lines, "zclab": shlex.join(sys.argv)},
        }
    )


def _keep_guest_console(session: Session, store: RunDirectory) -> None:
    log = session.guest_files.console_log
    done = session.host.run(("cat", log), check=False)
    if done.ok:
        store.write_raw("guest-console.log", done.stdout)
