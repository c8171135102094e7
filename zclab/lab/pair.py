"""Two hosts that a guest is migrated between: libvirt on either reaches libvirt on the other.

A migration is peer to peer: libvirtd of the guest's host logs in to the other host by SSH, and the
guest's memory goes there over TCP. For that each host gets a key for the time of a session, which
the other host's root account lets in.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from zclab.errors import CommandError, LabError
from zclab.host.pinned import pinned_pages
from zclab.lab.access import write_private
from zclab.lab.keys import KeyPair
from zclab.lab.names import MIGRATION_MACS, Place
from zclab.lab.session import Session
from zclab.model import Endpoint
from zclab.runner import Runner

ADDRESSES: dict[Place, str] = {"first": "198.19.255.1", "second": "198.19.255.2"}
"""What emulated hosts are called on the network between them, of which the prefix is PREFIX."""
PREFIX = 30

_TARGET = "zclab-target"
"""What a host's ssh calls the other host."""

_MAKE_NETWORK = """
for dev in /sys/class/net/*; do
    [ "$(cat "$dev/address")" = "$0" ] || continue
    dev=${dev##*/}
    ip address flush dev "$dev" && ip address add "$1" dev "$dev" && ip link set "$dev" up
    exit
done
echo "no interface has the address $0" >&2
exit 1
"""
_HOST_KEYS = 'for key in /etc/ssh/ssh_host_*_key; do ssh-keygen -y -f "$key"; done'
AUTHORIZED_KEYS = "/root/.ssh/authorized_keys"
# Only whole lines of ours are ever removed. The file may be a link, and its last line may lack its
# end: a line of ours behind it would be part of it.
_LET_IN = """
set -e
umask 077
mkdir -p "${2%/*}"
file=$(readlink -f "$2")
touch "$file"
sed -i "/^restrict .* $0\\$/d" "$file"
[ -n "$1" ] || exit 0
[ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
printf '%s\\n' "restrict $1 $0" >>"$file"
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a guest can be migrated to: the session of that host, and the ways to it.

    ``libvirt_uri`` is its libvirtd, as the libvirtd of the guest's host reaches it, and
    ``migrate_uri`` where the guest's memory is sent. ``pinned_pages`` were pinned there before any
    guest of ours was.
    """

    session: Session
    libvirt_uri: str
    migrate_uri: str
    pinned_pages: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two hosts of a lab, prepared, each as a place to migrate to."""

    first: Target
    second: Target


@contextmanager
def connected(first: Session, second: Session) -> Iterator[Pair]:
    """Have libvirt on each of two hosts reach the other's, until the end."""
    addresses = _addresses(first, second)
    with ExitStack() as undo:
        if first.lab.emulator:
            _make_network(first.host, "first")
            _make_network(second.host, "second")
        to_second = _way(first, second, addresses["second"], _port(first, "second"), undo)
        to_first = _way(second, first, addresses["first"], _port(first, "first"), undo)
        yield Pair(first=to_first, second=to_second)


def _addresses(first: Session, second: Session) -> dict[Place, str]:
    """Return by which address each host is reached from the other one."""
    lab = first.lab
    if lab.emulator:
        return ADDRESSES
    if lab.second is None or lab.second.host is None or lab.host is None:
        raise LabError(f"lab {lab.name} has one host; {second.host.where} is none of it")
    return {
        "first": lab.second.first_address or lab.host.address,
        "second": lab.second.address or lab.second.host.address,
    }


def _port(first: Session, place: Place) -> int:
    """Return the port of a host's SSH server, as the other host reaches it."""
    lab = first.lab
    endpoints: dict[Place, Endpoint | None] = {
        "first": lab.host,
        "second": lab.second.host if lab.second else None,
    }
    endpoint = endpoints[place]
    return (endpoint.port if endpoint else None) or 22


def _make_network(host: Runner, place: Place) -> None:
    """Give an emulated host its address on the network between the two."""
    argv = ("sh", "-c", _MAKE_NETWORK, MIGRATION_MACS[place], f"{ADDRESSES[place]}/{PREFIX}")
    host.run(argv)


def _way(source: Session, to: Session, address: str, port: int, undo: ExitStack) -> Target:
    """Have root on ``source`` log in to root on ``to`` by a new key; both forget it at the end."""
    folder = f"{source.names.folder}/migration"
    mark = f"zclab-migration-{source.names.bridge}"
    keys = KeyPair.generate()
    to.host.run(let_in(mark, keys.public))
    undo.callback(to.host.run, let_in(mark, ""), check=False)
    known = "".join(
        f"{_TARGET} {' '.join(line.split()[:2])}\n"
        for line in to.host.run(("sh", "-c", _HOST_KEYS)).stdout.splitlines()
    )
    source.host.run(("sh", "-c", 'umask 077; rm -rf "$0"; mkdir -p "$0"', folder))
    undo.callback(source.host.run, ("rm", "-rf", folder), check=False)
    program = f"ssh-{secrets.token_hex(4)}"
    files = {
        "key": keys.openssh,
        "known_hosts": known.encode(),
        "ssh_config": _ssh_config(folder, address, port).encode(),
        program: f'#!/bin/sh\nexec ssh -F {folder}/ssh_config "$@"\n'.encode(),
    }
    with tempfile.TemporaryDirectory(prefix="zclab-") as scratch:
        for name, data in files.items():
            local = Path(scratch) / name
            write_private(local, data)
            if name == program:
                local.chmod(0o700)
            source.host.put(local, f"{folder}/{name}")
    _try(source.host, f"{folder}/{program}", to.host.where, address)
    shown = f"[{address}]" if ":" in address else address
    return Target(
        session=to,
        libvirt_uri=f"qemu+ssh://{_TARGET}/system?command={folder}/{program}&no_tty=1",
        migrate_uri=f"tcp://{shown}",
        pinned_pages=pinned_pages(to.host),
    )


def let_in(mark: str, key: str, file: str = AUTHORIZED_KEYS) -> tuple[str, ...]:
    """Return what has root let a public key in, in place of any that has the same ``mark``."""
    return ("sh", "-c", _LET_IN, mark, key, file)


def _try(source: Runner, program: str, where: str, address: str) -> None:
    """Raise LabError that says what to do where one host does not get into the other."""
    try:
        source.run((program, "-T", "--", _TARGET, "true"), timeout_s=60)
    except CommandError as exc:
        raise LabError(
            f"{source.where} does not reach {where} at {address} by SSH, as root: {exc}; a "
            "migration needs that: see second.address, second.first_address and PermitRootLogin"
        ) from exc


def _ssh_config(folder: str, address: str, port: int) -> str:
    return "\n".join(
        (
            f"Host {_TARGET}",
            f"  HostName {address}",
            f"  Port {port}",
            "  User root",
            f"  HostKeyAlias {_TARGET}",
            f"  IdentityFile {folder}/key",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {folder}/known_hosts",
            "  GlobalKnownHostsFile none",
            "  StrictHostKeyChecking yes",
            "  BatchMode yes",
            "  ConnectTimeout 20",
            "  ServerAliveInterval 5",
            "",
        )
    )
