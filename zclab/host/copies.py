"""Bytes copied by the host's kernel, counted where they are copied.

An independent witness for zero-copy: kprobe events on the kernel's copying primitives with hist
triggers, so that the kernel itself adds up bytes and calls for each thread (Documentation/trace/
kprobetrace.rst and histogram.rst). Nothing but tracefs is needed on the host.

Which functions, and why no byte is counted twice (6.12):

- Towards the guest, vhost's tap_do_read() copies the virtio_net_hdr and then the frame through
  skb_copy_datagram_iter(), and from the guest vhost_net_build_xdp() or tap_get_user() does the
  same with skb_copy_datagram_from_iter(). All of these, and copy_page_to_iter() and
  copy_page_from_iter() beside them, copy nothing themselves: they call _copy_to_iter() and
  _copy_from_iter(), which are the two that are probed.
- skb_copy(), skb_copy_expand() and __pskb_pull_tail() copy data through skb_copy_bits(), which is
  probed in their place. It calls itself only for skbs with a frag_list.
- skb_copy_ubufs() has its own loop and no argument that says how much: it is counted in calls. It
  is what takes a zero-copied frame's pages back from the guest's memory after all.
- vhost_zerocopy_complete() is called once for each frame that was offered by reference, when nobody
  refers to the guest's pages any more: in an interrupt, on top of whichever thread.

What stays unseen is memcpy() inlined into a driver: e1000e copies received frames under 256 bytes
(copybreak), igb up to 256 bytes of header with legacy-rx. Both do so in every mode alike.

Copying primitives live in lib/, which is built without ftrace: kprobe events on them need a kernel
with CONFIG_KPROBE_EVENTS_ON_NOTRACE. What a kernel lets nobody probe is named, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from zclab.errors import ParseError, TrialError
from zclab.model import Direction, ThreadRole, WorkloadName
from zclab.outside import whole_number
from zclab.runner import Runner

ProbeName = Literal[
    "to_guest", "to_guest_headers", "from_guest", "from_guest_headers", "skb", "sent", "taken_back"
]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One kernel function to count.

    ``size`` is the argument that holds the bytes to copy, None where calls are counted only;
    ``only`` a filter on it; ``direction`` the traffic whose payload it carries, None for both.
    """

    name: ProbeName
    symbol: str
    size: str | None = None
    only: str | None = None
    direction: Direction | None = None


# vhost copies a virtio_net_hdr of 10 or 12 bytes once for each frame, which therefore counts the
# frames; the other small copies are its 2 bytes of num_buffers and the 16 of each indirect
# descriptor. No frame, and no part of one that matters, has as few as 16 bytes.
_IS_HEADER = "bytes == 10 || bytes == 12"
_IS_FRAME = "bytes > 16"
# Pulling headers into the linear part is no copy of payload.
_IS_NO_HEADER_PULL = "bytes > 128"

PROBES = (
    Probe(name="to_guest", symbol="_copy_to_iter", size="$arg2", only=_IS_FRAME, direction="rx"),
    Probe(name="to_guest_headers", symbol="_copy_to_iter", size="$arg2", only=_IS_HEADER),
    Probe(
        name="from_guest", symbol="_copy_from_iter", size="$arg2", only=_IS_FRAME, direction="tx"
    ),
    Probe(name="from_guest_headers", symbol="_copy_from_iter", size="$arg2", only=_IS_HEADER),
    Probe(name="skb", symbol="skb_copy_bits", size="$arg4:s32", only=_IS_NO_HEADER_PULL),
    Probe(name="sent", symbol="vhost_zerocopy_complete"),
    Probe(name="taken_back", symbol="skb_copy_ubufs"),
)

HEADER_BYTES: Mapping[WorkloadName, int] = {
    "TCP_STREAM": 66,
    "TCP_RR": 66,
    "TCP_RR_LOADED": 66,
    "UDP_STREAM": 42,
    "UDP_RR": 42,
}
"""Ethernet, IPv4 and TCP (with timestamps) or UDP headers of a frame, which are no payload."""

_GUEST_ROLES: tuple[ThreadRole, ...] = ("vhost", "nic", "qemu", "kvm", "guest")
"""Whose copies are the host's, on the guest's behalf; netperf's own, at the peer, are not."""

_TRACEFS = "/sys/kernel/tracing"
GROUP = "zclab"
"""The group of events; two labs of one host have one each."""
_ENTRY = re.compile(
    rf"^events/{GROUP}\w*/(\w+)/hist:"
    r"\{ common_pid: +([0-9]+) \} hitcount: +([0-9]+)(?: +bytes: +([0-9]+))?",
    re.MULTILINE,
)
_DROPPED = re.compile(rf"^events/{GROUP}\w*/(\w+)/hist: +Dropped: ([0-9]+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How often one thread ran into a probe, and with how many bytes."""

    calls: int
    bytes: int


@dataclass(frozen=True)
class CopyCounts:
    """What the probes saw: for each that is in place, a tally for each thread id."""

    tallies: Mapping[ProbeName, Mapping[int, Tally]]

    def total(
        self, probe: ProbeName, roles: Mapping[int, ThreadRole] | None = None
    ) -> Tally | None:
        """Return what the host's threads did on the guest's behalf, None without the probe.

        Without ``roles`` it is what all threads did.
        """
        if probe not in self.tallies:
            return None
        ours = [
            tally
            for tid, tally in self.tallies[probe].items()
            if roles is None or roles.get(tid, "rest") in _GUEST_ROLES
        ]
        return Tally(
            calls=sum(tally.calls for tally in ours), bytes=sum(tally.bytes for tally in ours)
        )

    def per_payload_byte(
        self,
        direction: Direction,
        workload: WorkloadName,
        payload_bytes: int,
        roles: Mapping[int, ThreadRole],
    ) -> float | None:
        """Return how often the host's kernel copied each byte of a stream's payload.

        ``roles`` maps thread ids to roles (zclab.host.cpu.thread_roles). Acknowledgements go the
        other way, through the other direction's probe, and do not count. None where the kernel
        lets nobody probe what copies in this direction.
        """
        data, headers = _OF_DIRECTION[direction]
        copied, frames = self.total(data, roles), self.total(headers, roles)
        if copied is None or frames is None:
            return None
        in_skbs = self.total("skb", roles) or Tally(calls=0, bytes=0)
        # A frame that was not copied has headers all the same, so that this may be negative.
        payload_copied = copied.bytes + in_skbs.bytes - frames.calls * HEADER_BYTES[workload]
        return max(payload_copied, 0) / payload_bytes

    def evidence(self, roles: Mapping[int, ThreadRole]) -> dict[str, int]:
        """Return what tells a zero-copy mode from a copying one, as far as it can be counted."""
        found = {
            "frames_to_guest": self.total("to_guest_headers", roles),
            "frames_from_guest": self.total("from_guest_headers", roles),
            # It is any thread that happens to find out that a frame has been sent.
            "zerocopy_sends": self.total("sent"),
            "zerocopy_taken_back": self.total("taken_back", roles),
        }
        return {name: tally.calls for name, tally in found.items() if tally is not None}


_OF_DIRECTION: Mapping[Direction, tuple[ProbeName, ProbeName]] = {
    "rx": ("to_guest", "to_guest_headers"),
    "tx": ("from_guest", "from_guest_headers"),
}


@contextmanager
def probing(runner: Runner, group: str = GROUP) -> Iterator[tuple[str, ...]]:
    """Count while the context lasts; yields the functions that this kernel cannot probe."""
    try:
        yield install(runner, group)
    finally:
        remove(runner, group)


def install(runner: Runner, group: str = GROUP) -> tuple[str, ...]:
    """Start counting from 0; return the functions that this kernel cannot probe."""
    remove(runner, group)
    missing = runner.run(("sh", "-s"), stdin=install_script(group)).stdout.split()
    return tuple(dict.fromkeys(missing))


def read(runner: Runner, group: str = GROUP) -> CopyCounts:
    """Read what has been counted since install()."""
    return parse(runner.run(read_argv(group), check=False).stdout)


def read_argv(group: str = GROUP) -> tuple[str, ...]:
    """Return the command that prints what parse() reads."""
    return ("sh", "-c", f"cd {_TRACEFS} && grep -sH . events/{group}/*/hist")


def remove(runner: Runner, group: str = GROUP) -> None:
    """Stop counting and leave no trace; does nothing where nothing counts."""
    runner.run(("sh", "-s"), stdin=remove_script(group))


def remove_script(group: str = GROUP) -> str:
    """Return the shell script that removes all probes of a group.

    Opening a trigger file for writing removes its hist triggers; an event goes once it has none.
    """
    return f"""\
cd {_TRACEFS} 2>/dev/null || exit 0
for event in events/{group}/*/; do
  [ -e "$event/trigger" ] || continue
  : > "$event/trigger"
  name=${{event%/}}
  echo "-:{group}/${{name##*/}}" >> kprobe_events || exit
done
"""


def install_script(group: str = GROUP) -> str:
    """Return the shell script that installs all probes and prints each symbol it cannot."""
    lines = [
        f"[ -e {_TRACEFS}/kprobe_events ] || mount -t tracefs tracefs {_TRACEFS} || exit",
        f"cd {_TRACEFS} || exit",
    ]
    for probe in PROBES:
        size = f" bytes={probe.size}" if probe.size else ""
        values = ":vals=bytes" if probe.size else ""
        only = f" if {probe.only}" if probe.only else ""
        trigger = f"hist:keys=common_pid{values}:size=1024{only}"
        # The trigger alone switches its event on, without filling the trace buffer.
        lines += [
            f"if echo 'p:{group}/{probe.name} {probe.symbol}{size}' 2>/dev/null >> kprobe_events",
            f"then echo '{trigger}' > events/{group}/{probe.name}/trigger || exit",
            f"else echo {probe.symbol}; fi",
        ]
    return "\n".join((*lines, ""))


def parse(text: str) -> CopyCounts:
    """Return the counts in what read_argv() prints, lines of a hist file behind its path.

    For example::

        events/zclab/to_guest/hist:{ common_pid:   431 } hitcount:   2054  bytes:   3109756
        events/zclab/to_guest/hist:Totals:
        events/zclab/to_guest/hist:    Dropped: 0

    Raises TrialError where the kernel dropped counts, and ParseError for events that are not ours.
    """
    tallies: dict[ProbeName, dict[int, Tally]] = {}
    known = {probe.name: probe for probe in PROBES}
    dropped, entries = _DROPPED.findall(text), _ENTRY.findall(text)
    if unknown := {name for name, *_ in (*dropped, *entries)} - set(known):
        names = ", ".join(sorted(unknown))
        raise ParseError(f"copy probes: unknown event zclab/{names}: another zclab's?")
    for name, count in dropped:
        if whole_number(count, f"copy probes: {name}: Dropped"):
            raise TrialError(f"copy probes: {name}: the kernel dropped {count} counts")
        tallies[known[name].name] = {}
    for name, *counts in entries:
        tid, calls, size = (whole_number(count or "0", f"copy probes: {name}") for count in counts)
        if known[name].name not in tallies:
            raise ParseError(f"copy probes: {name}: no Dropped line: what was read is not all")
        tallies[known[name].name][tid] = Tally(calls=calls, bytes=size)
    return CopyCounts(tallies)
