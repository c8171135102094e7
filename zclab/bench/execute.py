"""Executing a plan: boot, check, measure, gather evidence, store; one guest boot at a time."""

from __future__ import annotations

import shlex
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from zclab.bench import integrity, migrate
from zclab.bench.guest import RunningGuest, running_guest
from zclab.bench.notices import with_notices
from zclab.errors import KernelReportError, MigrationRefusedError, TrialError, ZclabError
from zclab.host import copies, cpu, memory, netdev
from zclab.host.netperf import NetperfResult, netperf_argv, parse
from zclab.lab.pair import Pair
from zclab.lab.session import Session
from zclab.model import MIGRATE, ModeName, ThreadRole, Workload
from zclab.modes.base import Evidence, NicWrites, Window
from zclab.progress import Progress
from zclab.runner import Runner, write_text
from zclab.runs.plan import Boot, Planned
from zclab.runs.results import Sample, Status, Trial, samples
from zclab.units import MIB

RETRANSMIT_STORM = 0.1
"""The share of retransmitted segments from which on a trial is invalid."""

TRACE_MARKER = "/sys/kernel/tracing/trace_marker"

IP_TCP_HEADER_BYTES = 52
"""IPv4 and TCP with timestamps."""

BUGS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What code raises that reads something it was not made for: it fails a trial, not a night."""

PROBED_BYTES = 8 * MIB
PROBED_TRANSACTIONS = 500
"""How much the pass that counts copies moves: probes cost time, so it is not the measured one."""


class Store(Protocol):
    """Where what an experiment finds out goes."""

    def add(self, trial: Trial, samples: Sequence[Sample] = ()) -> None:
        """Add a trial that has ended, however it did, with what it measured."""
        ...

    def write_raw(self, name: str, text: str) -> object:
        """Keep a raw output under a name."""
        ...


def as_planned(_guest: RunningGuest, boot: Boot) -> Boot:
    """Go on with a booted guest as the plan has it."""
    return boot


def execute(
    session: Session,
    boots: Sequence[Boot],
    store: Store,
    progress: Progress,
    *,
    pair: Pair | None = None,
    ready: Callable[[RunningGuest, Boot], Boot] = as_planned,
) -> None:
    """Run all boots of a plan and store every trial as it ends.

    A trial that fails or is invalid is stored with its reason, and the plan goes on; a kernel
    that breaks, or a host that is gone, ends it with an error after the trial is stored. Of trials
    that an interrupt keeps from their end nothing is stored: they have not failed.
    ``ready`` is asked for a boot's trials once its guest is there and carries data. ``pair`` is
    what MIGRATE needs: the session's host, and a second one.
    """
    total = sum(len(boot.trials) for boot in boots)
    done = 0
    features: dict[str, ModeName] = {}
    for planned_boot in boots:
        boot = planned_boot
        left = list(boot.trials)
        progress(done, total, f"{boot.mode}: booting guest {boot.number + 1} of {len(boots)}")
        try:
            with running_guest(session, boot) as guest:
                check_features(features, boot.mode, guest.nic.virtio_features)
                progress(done, total, f"{boot.mode}: checking that data arrives unchanged")
                integrity.check(session.peer, guest.runner, session.lab.network)
                boot = ready(guest, boot)
                left = list(boot.trials)
                while left:
                    progress(done, total, f"{boot.mode}: {left[0].workload.label}")
                    store.add(*measure(guest, left[0], store, pair))
                    left.pop(0)
                    done += 1
        except ZclabError as exc:
            status: Status = "invalid" if isinstance(exc, TrialError) else "failed"
            heard = session.watcher.taken()
            for planned in left:
                store.add(*with_notices(_failed(planned, str(exc), status=status), (), heard))
            done += len(left)
            # Where a boot has no trials yet, nothing but the error tells the reason.
            if not planned_boot.trials or not _goes_on(session, exc):
                raise


def check_features(seen: dict[str, ModeName], mode: ModeName, features: str | None) -> None:
    """Raise TrialError where two modes gave their guests different virtio devices.

    ``features`` is None for another device; ``seen`` has what earlier guests negotiated.
    """
    if features is None:
        return
    seen.setdefault(features, mode)
    if len(seen) > 1:
        shown = ", ".join(f"{features} in {name}" for features, name in seen.items())
        raise TrialError(f"guests negotiated different virtio features: {shown}")


def _goes_on(session: Session, exc: BaseException) -> bool:
    """Tell whether the host is well enough for the next guest after this one failed."""
    if isinstance(exc, KernelReportError) or session.watcher.error():
        return False
    return session.host.run(("true",), check=False).ok


def measure(
    guest: RunningGuest, planned: Planned, store: Store, pair: Pair | None = None
) -> tuple[Trial, tuple[Sample, ...]]:
    """Run one trial; one that fails, or that its evidence contradicts, has no figures.

    So has one during which a kernel said that something went wrong. Raises what ended the guest's
    life, for the trials that it was still to run, too. MIGRATE needs a ``pair`` of hosts.
    """
    before = guest.session.watcher.taken()
    trial, measured = _measured(guest, planned, store, pair)
    return with_notices(trial, measured, guest.session.watcher.taken(), before)


def _measured(
    guest: RunningGuest, planned: Planned, store: Store, pair: Pair | None
) -> tuple[Trial, tuple[Sample, ...]]:
    try:
        if pair and planned.workload.name == MIGRATE:
            return _judged(planned, *migrate.observe(guest, pair, planned))
        return _judged(planned, *_window(guest, planned, store))
    except TrialError as exc:
        return _failed(planned, str(exc), status="invalid"), ()
    except KernelReportError:
        raise
    except ZclabError as exc:
        if isinstance(exc, MigrationRefusedError) and not guest.mode.migrates:
            return _failed(planned, str(exc), status="refused"), ()
        if report := guest.session.watcher.error():
            raise report from exc
        if not guest.domain.is_active():
            raise
        return _failed(planned, str(exc)), ()
    except BUGS as exc:
        return _failed(planned, explained_bug(exc, planned, store)), ()


def _window(
    guest: RunningGuest, planned: Planned, store: Store
) -> tuple[Evidence, dict[str, float]]:
    window, figures = _observe(guest, planned, store)
    evidence = guest.mode.evidence(guest.session, guest.nic, window)
    evidence.facts["payload_bytes"] = window.payload_bytes
    if window.transactions is not None:
        evidence.facts["transactions"] = window.transactions
    return evidence, figures


def explained_bug(bug: Exception, planned: Planned, store: Store) -> str:
    """Keep the traceback of a bug of zclab's own that ended a trial; return the trial's reason."""
    name = f"bugs/{planned.dimensions.stem}.txt"
    store.write_raw(name, "".join(traceback.format_exception(bug)))
    return bug_reason(bug, name)


def bug_reason(bug: Exception, name: str) -> str:
    """Return the reason of a trial that a bug ended, whose traceback is under ``raw/name``."""
    return f"a bug in zclab, please report it with raw/{name}: {type(bug).__name__}: {bug}"


def _judged(
    planned: Planned, evidence: Evidence, figures: Mapping[str, float]
) -> tuple[Trial, tuple[Sample, ...]]:
    dimensions = planned.dimensions
    if evidence.contradictions:
        reason = "; ".join(evidence.contradictions)
        trial = _failed(planned, reason, status="invalid")
        return trial.model_copy(update={"evidence": evidence.facts}), ()
    trial = Trial(**dict(dimensions), status="ok", evidence=evidence.facts)
    return trial, samples(dimensions, figures)


def _observe(
    guest: RunningGuest, planned: Planned, store: Store
) -> tuple[Window, dict[str, float]]:
    session, workload = guest.session, planned.workload
    if workload.warm_up_s:
        seconds = float(workload.warm_up_s)
        _run_netperf(guest, workload.model_copy(update={"duration_s": seconds, "amount": None}))
    counters = guest.mode.counters(session)
    peer = netdev.statistics(session.peer, session.peer_nic)
    before = cpu.snapshot(session.host)
    with _marked(session.host, workload):
        result = _netperf(guest, planned, store)
    after = cpu.snapshot(session.host)
    peer_after = netdev.statistics(session.peer, session.peer_nic)
    counters_after = guest.mode.counters(session)

    _reject_retransmit_storm(result, session.mtu)
    use = cpu.between(before, after, guest.roles)
    # A stream's cost is counted by the byte, a request/response test's by the transaction.
    moved = (
        {"transactions": result.transactions}
        if result.transactions is not None
        else {"payload_bytes": result.payload_bytes}
    )
    figures = {**result.figures, **use.figures(**moved)}
    if workload.name == "TCP_RR_LOADED":
        received = peer_after["rx_bytes"] - peer["rx_bytes"]
        figures["beside_mbps"] = received * 8 / 1e6 / result.elapsed_s
    roles = cpu.thread_roles(after, guest.roles)
    seen, nic_writes = _count_copies(guest, planned, roles, figures)
    way = {"rx": ("tx_bytes",), "tx": ("rx_bytes",), None: ("rx_bytes", "tx_bytes")}
    window = Window(
        workload=workload,
        before=counters,
        after=counters_after,
        peer_bytes=sum(peer_after[name] - peer[name] for name in way[workload.direction]),
        payload_bytes=result.payload_bytes,
        transactions=result.transactions,
        copies=seen,
        nic_writes=nic_writes,
    )
    return window, figures


def begin_mark(workload: Workload) -> str:
    """Return what the host's trace buffer has where a workload's measurement begins."""
    return f"zclab begin {workload.label}"


def end_mark(workload: Workload) -> str:
    """Return what it has where the measurement ends."""
    return f"zclab end {workload.label}"


@contextmanager
def _marked(host: Runner, workload: Workload) -> Iterator[None]:
    """Mark begin and end in the host's trace buffer, for whoever traces or counts there."""
    write_text(host, TRACE_MARKER, begin_mark(workload))
    yield
    write_text(host, TRACE_MARKER, end_mark(workload))


def _reject_retransmit_storm(result: NetperfResult, mtu: int) -> None:
    """Raise TrialError where TCP sent so much twice that its rate is one of losses."""
    again = result.figures.get("retransmissions", 0)
    segments = max(result.payload_bytes / (mtu - IP_TCP_HEADER_BYTES), result.transactions or 0)
    if again > RETRANSMIT_STORM * segments:
        raise TrialError(f"retransmit storm: TCP sent {again:.0f} of {segments:.0f} segments again")


def _netperf(guest: RunningGuest, planned: Planned, store: Store) -> NetperfResult:
    argv, output = _run_netperf(guest, planned.workload)
    name = f"netperf/{planned.dimensions.stem}.txt"
    store.write_raw(name, f"$ {shlex.join(argv)}\n{output}")
    return parse(output, planned.workload)


def _run_netperf(guest: RunningGuest, workload: Workload) -> tuple[tuple[str, ...], str]:
    """Run a workload; return the command and what it printed."""
    sender, target = guest.sender(workload)
    argv = netperf_argv(workload, target=target)
    return argv, sender.run(argv, timeout_s=workload.duration_s * 3 + 60).stdout


def _count_copies(
    guest: RunningGuest,
    planned: Planned,
    roles: Mapping[int, ThreadRole],
    figures: dict[str, float],
) -> tuple[dict[str, int], NicWrites | None]:
    """Move some more of the workload with the copy probes in place, and watch the NIC."""
    workload = planned.workload
    amount = PROBED_TRANSACTIONS if workload.direction is None else PROBED_BYTES
    sender, target = guest.sender(workload)
    host, probes = guest.session.host, guest.session.names.probes
    with _watching_nic(guest, workload) as nic_writes, copies.probing(host, probes):
        output = sender.run(
            netperf_argv(workload, target=target, amount=amount), timeout_s=120
        ).stdout
        counts = copies.read(host, probes)
    result = parse(output, workload)
    # What a guest sent was copied, whether or not it arrived.
    probed = result.sent_bytes if workload.direction == "tx" else result.payload_bytes
    if workload.direction is not None:
        copied = counts.per_payload_byte(workload.direction, workload.name, probed, roles)
        if copied is not None:
            figures["copied_bytes_per_payload_byte"] = copied
    return counts.evidence(roles), nic_writes[0] if nic_writes else None


@contextmanager
def _watching_nic(guest: RunningGuest, workload: Workload) -> Iterator[list[NicWrites]]:
    """Watch what the NIC writes while the context lasts; the list has it when that has ended.

    It stays empty where nobody can tell, and where the NIC is the guest's: what it writes to is the
    IOMMU's to say. A page is the guest's if it was so before and is so after: a page that the NIC
    wrote to for the host may have become the guest's since.
    """
    session, found = guest.session, list[NicWrites]()
    if session.trace_nic is None or guest.attachment.nic is None or workload.direction != "rx":
        yield found
        return
    before = guest.mode.counters(session)
    pages = memory.pages_of(session.host, guest.roles.qemu_pid)
    with session.trace_nic() as spans:
        yield found
    after = guest.mode.counters(session)
    pages &= memory.pages_of(session.host, guest.roles.qemu_pid)
    found.append(
        NicWrites(to_guest_bytes=memory.bytes_within(spans, pages), before=before, after=after)
    )


def _failed(planned: Planned, reason: str, *, status: Status = "failed") -> Trial:
    return Trial(**dict(planned.dimensions), status=status, reason=reason)
