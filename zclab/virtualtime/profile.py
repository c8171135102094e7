"""Self-cost by component and kernel symbol, and how it differs between two windows.

Where a few instructions more shift batching and with it every figure of throughput, what a symbol
costs per frame moves by what was changed in it. Counts come from zclab.account, with
``profile=on``; names come from the System.map of the kernel, which host and guest share.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping

from zclab.errors import ParseError
from zclab.host.cpu import Roles
from zclab.model import Component
from zclab.runs.profiles import Key
from zclab.virtualtime.account import USER, Mark, parts

_LINE = re.compile(r"^([0-9a-f]{16}) [tTwW] (\S+)$", re.MULTILINE)
_PART = re.compile(r"\.(cold|part\.\d+|constprop\.\d+|isra\.\d+)")
_NO_SYMBOL = "[unknown]"


class Symbols:
    """The text symbols of a kernel; ``of`` says which one an address is in."""

    def __init__(self, system_map: str) -> None:
        """Read lines such as ``ffffffff811ead20 t tracing_mark_write``; ParseError without any."""
        found = {int(address, 16): name for address, name in reversed(_LINE.findall(system_map))}
        if not found:
            raise ParseError("System.map: no line in it is a text symbol")
        self._names = dict(sorted(found.items()))
        self._addresses = tuple(self._names)

    def of(self, address: int) -> str:
        """Return a function's name; what the compiler split off from it belongs to it."""
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return _NO_SYMBOL
        return _PART.sub("", self._names[self._addresses[index]])


def profile(mark: Mark, roles: Roles, symbols: Symbols) -> dict[Key, int]:
    """Return instructions by component and symbol; they sum to the mark's.

    User mode is one symbol of each component. Raises ParseError where symbols were not counted,
    or sum to something else than the accounts.
    """
    insns: Counter[Key] = Counter()
    of = parts(mark, roles)
    for context in mark.contexts:
        where = of[context.pid]
        where_counts: tuple[tuple[Component, Mapping[str, int] | None, int], ...] = (
            (where.kernel, context.host_symbols, context.host_kernel),
            ("guest", context.guest_symbols, context.guest_kernel),
        )
        for component, counts, whole in where_counts:
            if counts is None or sum(counts.values()) != whole:
                raise ParseError(
                    f"accounting: mark {mark.mark!r}: symbols of {context.comm!r} are not the "
                    f"{whole} instructions of its account; run with profile=on"
                )
            for address, count in counts.items():
                insns[component, symbols.of(int(address, 16))] += count
        insns[where.user, USER] += context.host_user
        insns["guest", USER] += context.guest_user
    return {key: count for key, count in insns.items() if count}
