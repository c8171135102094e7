"""What tc says of a NIC's interface: qdiscs that somebody set up, and filters that take frames."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

# Filters are asked for where there can be any: every command costs. The function that begins a
# section is the caller's.
ASK = r"""
traffic() {
    begin "qdiscs:$1"; qdiscs=$(tc -json qdisc show dev "$1" 2>/dev/null); echo "$qdiscs"
    case $qdiscs in *'"clsact"'* | *'"ingress"'*) ;; *) return ;; esac
    for way in ingress egress; do
        begin "$way:$1"; tc -json filter show dev "$1" "$way" 2>/dev/null
    done
}
"""
"""A shell function that tells of the interface ``$1``, in the sections that found_in() reads."""

USUAL = frozenset({"mq", "fq_codel", "fq", "pfifo_fast", "pfifo", "noqueue"})
"""Qdiscs that queue frames and do nothing else: the kernel's own, and what people set instead."""

FILTERED = frozenset({"ingress", "clsact"})
"""Qdiscs that do nothing but hold filters."""

_BY_ITSELF = "0:"
"""The handle of every qdisc that the kernel attaches by itself, of whatever kind that is."""

_KIND = re.compile(r'"kind":\s*"([\w-]{1,32})"')
UNREADABLE = "an unknown one"
"""Stands for what tc prints as no JSON: older ones do of the options of rare qdiscs and filters."""


class _Told(BaseModel):
    """What is used of an object of tc's; there is more in it."""

    model_config = ConfigDict(frozen=True, strict=True)

    kind: str = ""
    handle: str = ""


_TOLD = TypeAdapter(tuple[_Told, ...])


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The kinds of qdiscs on an interface that somebody set up, and of filters, each once."""

    qdiscs: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()


def found_in(sections: Mapping[str, str], netdev: str) -> Traffic:
    """Return what the output of ASK says of an interface; nothing where that host has no tc."""
    qdiscs = [
        one.kind
        for one in _told(sections.get(f"qdiscs:{netdev}", ""))
        if one.kind not in USUAL | FILTERED and one.handle != _BY_ITSELF
    ]
    filters = [
        one.kind
        for way in ("ingress", "egress")
        for one in _told(sections.get(f"{way}:{netdev}", ""))
    ]
    return Traffic(qdiscs=_once(qdiscs), filters=_once(filters))


def _told(text: str) -> tuple[_Told, ...]:
    """Return what tc tells: ``[{"kind":"htb","handle":"1:","root":true,…}]``.

    Of no JSON the kinds are taken, and none of them for the kernel's own: something is there.
    """
    try:
        return _TOLD.validate_json(text) if text.strip() else ()
    except ValidationError:
        kinds = _KIND.findall(text)
        known = tuple(_Told(kind=kind) for kind in kinds if kind not in USUAL)
        return known or (_Told(kind=UNREADABLE),)


def _once(kinds: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind or UNREADABLE for kind in kinds))
