"""What ``ip -json link show`` prints: counters, and which link is on which."""

from __future__ import annotations

from pydantic import TypeAdapter

from zclab.errors import ParseError
from zclab.outside import Count, Said, from_json, quoted


class _Moved(Said):
    packets: Count
    bytes: Count


class _Moves(Said):
    rx: _Moved
    tx: _Moved


class _Counted(Said):
    stats64: _Moves


class _Kind(Said):
    info_kind: str | None = None


class Link(Said):
    """A link: ``link`` is what it is on, and hardware has no ``linkinfo``."""

    link: str | None = None
    linkinfo: _Kind = _Kind()

    @property
    def kind(self) -> str | None:
        """Such as ``macvtap``; None for hardware."""
        return self.linkinfo.info_kind


_COUNTED = TypeAdapter(list[_Counted])
_LINKS = TypeAdapter(list[Link])


def parse_links(text: str, what: str) -> list[Link]:
    """Return the links in what ``ip -json -details link show`` prints; ``what`` is for errors.

    For example (most of it left out)::

        [{"ifname": "macvtap0", "link": "eth1", "linkinfo": {"info_kind": "macvtap"}}]
    """
    return from_json(_LINKS, text, what)


def parse_statistics(text: str, what: str) -> dict[str, int]:
    """Return the counters in what ``ip -json -stats link show`` prints of one interface.

    For example (most of it left out)::

        [{"stats64": {"rx": {"bytes": 90, "packets": 1}, "tx": {"bytes": 0, "packets": 0}}}]
    """
    links = from_json(_COUNTED, text, what)
    if len(links) != 1:
        raise ParseError(f"{what}: found {len(links)} links, allowed: one; it said {quoted(text)}")
    ways = {"rx": links[0].stats64.rx, "tx": links[0].stats64.tx}
    return {
        f"{way}_{name}": count
        for way, moved in ways.items()
        for name, count in (("packets", moved.packets), ("bytes", moved.bytes))
    }
