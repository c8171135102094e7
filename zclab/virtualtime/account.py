"""Where every instruction went: what the accounting plugin wrote, by component and by symbol.

The plugin (emulator-plugins/account.c) writes all its accounts at every mark; a window is the
difference between two marks. In virtual time an instruction takes a nanosecond, so that a window's
instructions and its idle nanoseconds are its duration, to the last one. docs/accounting.md says
what each component is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from zclab.errors import ParseError
from zclab.host.cpu import CpuSnapshot, Roles, Thread, thread_roles
from zclab.model import COMPONENTS, Component, Value
from zclab.outside import Count, from_json, quoted

Address = Annotated[str, StringConstraints(pattern=r"^(?:0x)?[0-9a-f]{1,16}$")]

USER = "[user]"
"""The one symbol of all that runs in user mode."""

UNKNOWN, HARDIRQ, SOFTIRQ = -1, -2, -3
"""What the plugin has instead of a pid where there is no thread."""

SWAPPER = 0

_EXIT_NAMES = {
    **{code: f"read_cr{code}" for code in range(0x10)},
    **{0x10 + register: f"write_cr{register}" for register in range(0x10)},
    **{0x20 + register: f"read_dr{register}" for register in range(0x10)},
    **{0x30 + register: f"write_dr{register}" for register in range(0x10)},
    **{0x40 + vector: f"exception_{vector}" for vector in range(0x20)},
    0x60: "interrupt",
    0x61: "nmi",
    0x64: "vintr",
    0x65: "cr0_sel_write",
    0x6E: "rdtsc",
    0x6F: "rdpmc",
    0x72: "cpuid",
    0x74: "iret",
    0x76: "invd",
    0x77: "pause",
    0x78: "hlt",
    0x79: "invlpg",
    0x7B: "io",
    0x7C: "msr",
    0x7D: "task_switch",
    0x7F: "shutdown",
    0x81: "vmmcall",
    0x87: "rdtscp",
    0x89: "wbinvd",
    0x8A: "monitor",
    0x8B: "mwait",
    0x8D: "xsetbv",
    0x400: "npf",
}
"""Names of SVM's exit codes, from the AMD64 manual, volume 2, appendix C; ``npf`` is MMIO, too."""


class Exit(Value):
    """What #VMEXITs of one code made the host do, from each of them to the next VMRUN."""

    code: Count
    count: Count
    kernel: Count
    user: Count

    @property
    def name(self) -> str:
        """The exit's reason in a word."""
        return _EXIT_NAMES.get(self.code, f"exit_{self.code:#x}")


class Context(Value):
    """One thread's instructions, or those of interrupts, in the plugin's words.

    ``pid`` is what user space calls a tid. ``kernel`` and ``user`` leave out what is in ``exits``.
    """

    pid: Annotated[int, Field(ge=SOFTIRQ)]
    tgid: int
    comm: str
    kernel: Count
    user: Count
    guest_kernel: Count
    guest_user: Count
    exits: tuple[Exit, ...]
    host_symbols: dict[Address, Count] | None = None
    guest_symbols: dict[Address, Count] | None = None

    @property
    def host_kernel(self) -> int:
        """All that ran in the host's kernel."""
        return self.kernel + sum(item.kernel for item in self.exits)

    @property
    def host_user(self) -> int:
        """All that ran in the host's user mode."""
        return self.user + sum(item.user for item in self.exits)

    @property
    def guest(self) -> int:
        """What the guest ran in this thread."""
        return self.guest_kernel + self.guest_user

    @property
    def insns(self) -> int:
        """All of it."""
        return self.host_kernel + self.host_user + self.guest


class Mark(Value):
    """All accounts at one moment, or what was added to them in a window."""

    mark: str
    insns: Count
    idle_ns: Count
    contexts: tuple[Context, ...]

    @property
    def elapsed_ns(self) -> int:
        """Virtual time, at one instruction per nanosecond."""
        return self.insns + self.idle_ns

    def exits(self) -> dict[str, Exit]:
        """Return what each reason for leaving a guest cost, all vCPUs together."""
        total: dict[int, Exit] = {}
        for context in self.contexts:
            for item in context.exits:
                total[item.code] = _exit_sum(total.get(item.code), item)
        return {item.name: item for item in total.values() if item.count or item.kernel}

    def components(self, roles: Roles) -> dict[Component, int]:
        """Return instructions by component; they sum to ``insns``."""
        insns: Counter[Component] = Counter(dict.fromkeys(COMPONENTS, 0))
        of_pid = parts(self, roles)
        for context in self.contexts:
            of = of_pid[context.pid]
            insns[of.kernel] += context.host_kernel
            insns[of.user] += context.host_user
            insns["guest"] += context.guest
        return dict(insns)


def parse(text: str) -> tuple[Mark, ...]:
    """Return the marks of a plugin's output, a JSON object a line.

    For example (one context of many)::

        {"mark": "begin", "insns": 1900, "idle_ns": 50, "contexts": [{"pid": 7, "tgid": 7,
         "comm": "init", "kernel": 1500, "user": 400, "guest_kernel": 0, "guest_user": 0,
         "exits": []}]}

    Raises ParseError for anything else, and where the parts are not the whole.
    """
    return tuple(_mark(number, line) for number, line in enumerate(text.splitlines(), start=1))


def between(before: Mark, after: Mark) -> Mark:
    """Return what was executed between two marks of one run, as a mark of its own.

    Raises ParseError where an account ran backwards.
    """
    earlier = {context.pid: context for context in before.contexts}
    name = f"{before.mark}..{after.mark}"
    try:
        return Mark(
            mark=name,
            insns=after.insns - before.insns,
            idle_ns=after.idle_ns - before.idle_ns,
            contexts=tuple(_context_between(earlier.get(c.pid), c) for c in after.contexts),
        )
    except ValidationError as exc:
        raise ParseError(f"accounting: {quoted(name)}: an account ran backwards") from exc


def window(marks: Iterable[Mark], begin: str, end: str) -> Mark:
    """Return what was executed between two marks by name; raises ParseError without both."""
    named = {mark.mark: mark for mark in marks}
    missing = [label for label in (begin, end) if label not in named]
    if missing:
        raise ParseError(
            f"accounting: no mark {' or '.join(map(repr, missing))}: the run did not get there; "
            "see the host's console"
        )
    return between(named[begin], named[end])


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which components a context's kernel and user part belong to."""

    kernel: Component
    user: Component


def parts(mark: Mark, roles: Roles) -> dict[int, Parts]:
    """Return each context's components by its pid."""
    threads = tuple(
        Thread(pid=c.tgid, tid=c.pid, comm=c.comm, start_ticks=0, run_ns=c.insns, guest_ns=c.guest)
        for c in mark.contexts
        if c.pid > SWAPPER
    )
    found = {
        UNKNOWN: Parts(kernel="rest", user="rest"),
        HARDIRQ: Parts(kernel="interrupts", user="interrupts"),
        SOFTIRQ: Parts(kernel="interrupts", user="interrupts"),
        SWAPPER: Parts(kernel="scheduler", user="rest"),
    }
    for tid, role in thread_roles(CpuSnapshot(at_s=0, threads=threads), roles).items():
        # A vCPU thread's user mode is QEMU, which emulates for the guest there.
        found[tid] = Parts(kernel=role, user="qemu" if role == "kvm" else role)
    return found


_MARK = TypeAdapter(Mark)


def _mark(number: int, line: str) -> Mark:
    mark = from_json(_MARK, line, f"accounting: line {number} is not a mark of the plugin")
    total = sum(context.insns for context in mark.contexts)
    if total != mark.insns:
        raise ParseError(
            f"accounting: mark {quoted(mark.mark)}: the accounts sum to {total} of {mark.insns} "
            "instructions: a bug in emulator-plugins/account.c"
        )
    return mark


def _context_between(before: Context | None, after: Context) -> Context:
    if before is None:
        return after
    exits = {item.code: item for item in before.exits}
    return Context(
        pid=after.pid,
        tgid=after.tgid,
        comm=after.comm,
        kernel=after.kernel - before.kernel,
        user=after.user - before.user,
        guest_kernel=after.guest_kernel - before.guest_kernel,
        guest_user=after.guest_user - before.guest_user,
        exits=tuple(_exit_sum(item, exits.get(item.code), sign=-1) for item in after.exits),
        host_symbols=_less(after.host_symbols, before.host_symbols),
        guest_symbols=_less(after.guest_symbols, before.guest_symbols),
    )


def _exit_sum(first: Exit | None, second: Exit | None, sign: int = 1) -> Exit:
    """Add two exits of one code, or subtract the second; None stands for none."""
    known = first or second
    if known is None:
        raise ValueError("two exits that are none")
    one, other = ([e.count, e.kernel, e.user] if e else [0, 0, 0] for e in (first, second))
    count, kernel, user = (a + sign * b for a, b in zip(one, other, strict=True))
    return Exit(code=known.code, count=count, kernel=kernel, user=user)


def _less(
    after: Mapping[str, int] | None, before: Mapping[str, int] | None
) -> dict[str, int] | None:
    if after is None:
        return None
    before = before or {}
    left = {address: count - before.get(address, 0) for address, count in after.items()}
    return {address: count for address, count in left.items() if count}
