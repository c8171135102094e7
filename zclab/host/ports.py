"""Which of a PCI function's interfaces is the port of the NIC.

With switchdev, a function has an interface for each of its virtual functions beside its own, and
in the order of names a representor may be the first.
"""

from __future__ import annotations

import re

from zclab.errors import ParseError

PORTS = """
cd "/sys/bus/pci/devices/$0/net" || exit
for name in *; do
    echo "$name|$(cat "$name/dev_port" 2>/dev/null)|$(cat "$name/phys_port_name" 2>/dev/null)"
done
"""
"""Prints what port_among() reads; its ``$0`` is a PCI address."""

# What the kernel calls a port (devlink_port_phys_port_name_get()); a representor is pf0vf1 or
# c1pf0sf88, say.
_PORT_NAME = re.compile(r"p[0-9]{1,4}(s[0-9]{1,4})?")
_LINE = re.compile(r"^([^|\s]+)\|([^|\n]*)\|([^|\n]*)$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,9}")


def port_among(text: str) -> str:
    """Return which of a function's interfaces is its port, of two ports the first.

    The text has a line ``NAME|dev_port|phys_port_name`` for each, such as ``eth2|0|pf0vf1``, with
    nothing where the driver tells nothing. A single one is the port, whatever the driver calls it.
    Raises ParseError where that does not decide it.
    """
    lines = [found.groups() for found in _LINE.finditer(text)]
    ports = [
        (int(number) if _NUMBER.fullmatch(number) else 0, _order(port), name)
        for name, number, port in lines
        if len(lines) == 1 or not port or _PORT_NAME.fullmatch(port)
    ]
    first = [name for *rank, name in ports if rank == list(min(ports)[:2])]
    if len(first) != 1:
        shown = ", ".join(name for name, _, _ in lines) or "none"
        raise ParseError(
            f"cannot tell which of its interfaces is the port ({shown}): their dev_port and "
            "phys_port_name in /sys/class/net do not say; take another NIC"
        )
    return first[0]


def _order(port: str) -> tuple[int, ...]:
    """Return a port's name as numbers: p2 comes before p10."""
    return tuple(int(number) for number in _NUMBER.findall(port))
