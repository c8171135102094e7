"""Host CPU time by thread over a window: what a trial cost its host.

Figures from inside a guest are not to be trusted (netperf's own manual), so the host counts. Run
times are those of ``/proc/PID/task/TID/schedstat``, exact in nanoseconds (first field, see
Documentation/scheduler/sched-stats.rst); a vCPU thread's time in the guest is the field
``guest_time`` of its ``stat``, in ticks of 10 ms (proc(5), field 43), so that over a window of 5 s
the split into guest and KVM is good to 0.2 %.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from zclab.errors import ParseError
from zclab.model import ThreadRole
from zclab.outside import quoted, whole_number
from zclab.runner import Runner
from zclab.units import NS_PER_S, NS_PER_US, us_per_kb

# One grep reads everything: on an emulated host each fork costs milliseconds of the very CPU time
# that is being measured. Threads that end while it reads are no error (-s, and true).
_GREP = "cd /proc && grep -sH . uptime [0-9]*/task/[0-9]*/stat [0-9]*/task/[0-9]*/schedstat; true"
SNAPSHOT_ARGV = ("sh", "-c", _GREP)
NS_PER_TICK = 10_000_000
"""A tick of USER_HZ, which is 100 on every architecture that runs KVM."""

HOST_ROLES: tuple[ThreadRole, ...] = ("vhost", "nic", "qemu", "kvm")
"""What service demand is made of: the guest's own work and the peer's are not the host's cost."""

_LINE = re.compile(r"^([0-9]{1,10})/task/([0-9]{1,10})/(stat|schedstat):(.*)$", re.MULTILINE)
_UPTIME = re.compile(r"^uptime:([0-9]{1,12}\.[0-9]{1,9})\b", re.MULTILINE)
_COMM_MAX = 15
_START_TIME, _GUEST_TIME = 22, 43
_AFTER_COMM = 3
"""proc(5) numbers a stat line's fields from 1; the first after the comm is the third."""


@dataclass(frozen=True, kw_only=True)
class Thread:
    """One thread's counters since it started; ``guest_ns`` is contained in ``run_ns``."""

    pid: int
    tid: int
    comm: str
    start_ticks: int
    run_ns: int
    guest_ns: int

    @property
    def key(self) -> tuple[int, int]:
        """What tells the thread from a later one with the same id."""
        return self.tid, self.start_ticks


@dataclass(frozen=True, kw_only=True)
class CpuSnapshot:
    """All threads of a host at ``at_s`` seconds after its start."""

    at_s: float
    threads: tuple[Thread, ...]


@dataclass(frozen=True, kw_only=True)
class Roles:
    """By what a host's threads are told apart.

    ``nic`` is the DUT's netdev, None where the guest has it (passthrough); ``peer_nic`` the
    peer's, None where the peer is another machine.
    """

    qemu_pid: int
    nic: str | None
    peer_nic: str | None = None


@dataclass(frozen=True, kw_only=True)
class CpuUse:
    """CPU time spent in a window of ``elapsed_s`` seconds, in ns by role."""

    elapsed_s: float
    ns: Mapping[ThreadRole, int]

    @property
    def host_ns(self) -> int:
        """What the host spent on the guest's traffic."""
        return sum(self.ns[role] for role in HOST_ROLES)

    def figures(
        self, *, payload_bytes: int | None = None, transactions: int | None = None
    ) -> dict[str, float]:
        """Return the metrics of this window, with the service demand of what it moved.

        ``payload_bytes`` is for streams, ``transactions`` for request/response tests.
        """
        figures = {f"cpu_{role}_s": self.ns[role] / NS_PER_S for role in get_args(ThreadRole)}
        if payload_bytes:
            figures["service_demand_us_per_kb"] = us_per_kb(self.host_ns, payload_bytes)
        if transactions:
            demand = self.host_ns / NS_PER_US / transactions
            figures["service_demand_us_per_transaction"] = demand
        return figures


def snapshot(runner: Runner) -> CpuSnapshot:
    """Read all threads' counters, in one command."""
    return parse(runner.run(SNAPSHOT_ARGV).stdout)


def parse(text: str) -> CpuSnapshot:
    """Return the threads in what SNAPSHOT_ARGV printed: lines of a path, a colon, a line.

    For example (stat shortened)::

        uptime:27.52 41.30
        419/task/431/stat:431 (CPU 0/KVM) S 1 419 ... 2212 ... 1080 0 ...
        419/task/431/schedstat:13514012733 81640921 5021

    A thread of which only one line is there ended meanwhile and is left out. Raises ParseError
    where the kernel has no schedstat, or where there is nothing.
    """
    uptime = _UPTIME.search(text)
    if uptime is None:
        raise ParseError(f"host CPU time: no /proc/uptime in what was read: {quoted(text)}")
    stats: dict[tuple[int, int], str] = {}
    threads = []
    for pid, tid, file, line in _LINE.findall(text):
        if file == "stat":
            stats[int(pid), int(tid)] = line
        elif (int(pid), int(tid)) in stats:
            threads.append(_thread(int(pid), stats[int(pid), int(tid)], line))
    if not threads:
        msg = "host CPU time: no /proc/PID/task/TID/schedstat: the kernel needs CONFIG_SCHED_INFO"
        raise ParseError(msg)
    return CpuSnapshot(at_s=float(uptime[1]), threads=tuple(threads))


def between(before: CpuSnapshot, after: CpuSnapshot, roles: Roles) -> CpuUse:
    """Return the CPU time spent between two snapshots of one host.

    A thread that started in between counts from its start. One that ended in between has taken
    its time with it: vCPU, vhost and NAPI threads outlive a trial, so that only helpers are lost.
    Raises ParseError where a thread's time ran backwards.
    """
    earlier = {thread.key: thread for thread in before.threads}
    ns: Counter[ThreadRole] = Counter(dict.fromkeys(get_args(ThreadRole), 0))
    for thread in after.threads:
        start = earlier.get(thread.key)
        run_ns = thread.run_ns - (start.run_ns if start else 0)
        guest_ns = thread.guest_ns - (start.guest_ns if start else 0)
        if run_ns < 0 or guest_ns < 0:
            raise ParseError(f"host CPU time: that of {quoted(thread.comm)} ran backwards")
        role = _role(thread, roles)
        if role == "kvm":
            # Ticks may count a little more guest time than the thread ran.
            ns["guest"] += min(guest_ns, run_ns)
            ns["kvm"] += max(run_ns - guest_ns, 0)
        else:
            ns[role] += run_ns
    return CpuUse(elapsed_s=after.at_s - before.at_s, ns=dict(ns))


def thread_roles(snapshot: CpuSnapshot, roles: Roles) -> dict[int, ThreadRole]:
    """Return each thread's role by its id; vCPU threads are ``kvm``."""
    return {thread.tid: _role(thread, roles) for thread in snapshot.threads}


def _thread(pid: int, stat: str, schedstat: str) -> Thread:
    # The comm may hold spaces and parentheses; the last parenthesis ends it.
    head, _, tail = stat.rpartition(") ")
    tid, _, comm = head.partition(" (")
    fields = tail.split()
    try:
        return Thread(
            pid=pid,
            tid=whole_number(tid, "tid"),
            comm=comm,
            start_ticks=whole_number(fields[_START_TIME - _AFTER_COMM], "starttime"),
            run_ns=whole_number(schedstat.split(maxsplit=1)[0], "schedstat"),
            guest_ns=whole_number(fields[_GUEST_TIME - _AFTER_COMM], "guest_time") * NS_PER_TICK,
        )
    except (IndexError, ParseError) as exc:
        raise ParseError(f"host CPU time: not a stat line of proc(5): {quoted(stat)}") from exc


def _role(thread: Thread, roles: Roles) -> ThreadRole:
    comm = thread.comm
    # Since 6.4 the vhost worker is a thread of the QEMU process, before a kernel thread.
    if comm.startswith("vhost-"):
        return "vhost"
    if thread.pid == roles.qemu_pid:
        # QEMU names its threads where libvirt asks for it; only a vCPU's ever has guest time.
        return "kvm" if thread.guest_ns or re.fullmatch(r"CPU \d+/KVM", comm) else "qemu"
    if roles.nic and _serves(comm, roles.nic):
        return "nic"
    if comm in ("netperf", "netserver") or (roles.peer_nic and _serves(comm, roles.peer_nic)):
        return "peer"
    return "rest"


def _serves(comm: str, netdev: str) -> bool:
    """Whether a kernel thread polls ``netdev`` (``napi/eth0-8193``) or takes its interrupts.

    An interrupt thread is named after its action, ``irq/27-eth0-rx-0``; short comms are cut off
    after 15 characters.
    """
    if comm.startswith("irq/"):
        action = comm.partition("-")[2]
        return action == netdev or action.startswith(f"{netdev}-")
    prefix = f"napi/{netdev}-"
    return comm.startswith(prefix) or comm == prefix[:_COMM_MAX]
