"""One use of a NIC at a time: a lock on the host that has it.

The lock is a file's (flock), held by a process there that ends when its stdin does: with zclab, or
with the connection to the host, whatever ends these. So a lock that nobody uses is free, and its
file says only who had it last.
"""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from zclab.errors import LabError
from zclab.runner import Runner, wait_until

FOLDER = "/run/zclab"
DEADLINE_S = 60
SHOWN = 400
"""Characters of what a lock's file says that are shown: anybody could have written it."""

_HELD, _REFUSED, _TAKEN, _SAYS = "held", "refused", "taken ", "says: "
_CONFLICT = 75
"""What flock exits with where another has the lock; it has other statuses for other reasons."""

_CHECK = """
check() {
    [ ! -L "$1" ] || { echo "$1 is a symbolic link, and no lock; remove it" >&2; exit 1; }
}
"""
_SAY = f"""
say() {{
    echo "{_TAKEN}$1"
    {{ head -c {SHOWN} "$folder/$1.lock"; echo; }} | sed 's/^/{_SAYS}/'
}}
"""
"""No line of the file is one of the script's, whatever it has."""

_HOLD = f"""{_CHECK}{_SAY}
trap 'echo {_REFUSED}' EXIT
set -e
umask 022
folder=$0 who=$1
shift
mkdir -p "$folder"
fd=3
for nic; do
    check "$folder/$nic.lock"
    eval "exec $fd>>\\"\\$folder/\\$nic.lock\\""
    flock -n -E {_CONFLICT} "$fd" || {{
        status=$?
        [ "$status" != {_CONFLICT} ] || say "$nic"
        exit "$status"
    }}
    echo "$who since $(date -u +%Y-%m-%dT%H:%M:%SZ), held by process $$ of this host" \\
        >"$folder/$nic.lock"
    fd=$((fd + 1))
done
echo {_HELD}
exec cat >/dev/null
"""

_LOOK = f"""{_CHECK}{_SAY}
folder=$0
for nic; do
    check "$folder/$nic.lock"
    [ -e "$folder/$nic.lock" ] || continue
    flock -n -E {_CONFLICT} "$folder/$nic.lock" true && continue
    status=$?
    [ "$status" = {_CONFLICT} ] || exit "$status"
    say "$nic"
    exit
done
"""


@contextmanager
def held(runner: Runner, nics: Sequence[str], *, folder: str = FOLDER) -> Iterator[None]:
    """Have NICs of one host to ourselves, by their PCI addresses.

    Raises LabError that says who has one, from where and since when. Where the lock is lost on the
    way, so that another may have it, every later command of ``runner`` is a CommandError.
    """
    lines: list[str] = [""]

    def hear(text: str) -> None:
        first, *more = text.split("\n")
        lines[-1] += first
        lines.extend(more)

    argv = ("sh", "-c", _HOLD, folder, owner(), *sorted(nics))
    process = runner.start(argv, on_output=hear, hold_stdin=True)
    try:
        wait_until(
            lambda: _HELD in lines or _REFUSED in lines,
            what=f"{runner.where}: an answer about the locks in {folder}",
            deadline_s=DEADLINE_S,
            interval_s=0.02,
        )
        if _HELD not in lines:
            _raise_where_taken(runner, lines[: lines.index(_REFUSED)])
            process.wait().check()
        process.need(
            f"{runner.where}: the lock on NIC {' and '.join(sorted(nics))} is lost: the connection "
            "to this host was cut, or the process there that held the lock ended; another run may "
            "have the NIC by now. Look at the network and at the host, and start again"
        )
        yield
    finally:
        process.stop()


def check_free(runner: Runner, nics: Sequence[str], *, folder: str = FOLDER) -> None:
    """Raise the error of held() where one of the NICs is in use; nothing is changed."""
    done = runner.run(("sh", "-c", _LOOK, folder, *sorted(nics)))
    _raise_where_taken(runner, done.stdout.splitlines())


def owner() -> str:
    """Say who asks for a lock, in one line: user, machine, process and command."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as containers have
        user = f"user {os.getuid()}"
    command = shlex.join((Path(sys.argv[0]).name, *sys.argv[1:]))
    words = f"{user}@{socket.gethostname()} (PID {os.getpid()}, `{command}`)"
    return _printable(words)


def _raise_where_taken(runner: Runner, lines: Sequence[str]) -> None:
    """Raise LabError where a script's lines say whose a NIC is; a greeting may precede them."""
    for index, line in enumerate(lines):
        if line.startswith(_TAKEN):
            more = (one.removeprefix(_SAYS) for one in lines[index + 1 :] if one.startswith(_SAYS))
            said = _printable(" ".join(more)) or "an unknown owner"
            raise LabError(
                f"{runner.where}: NIC {line.removeprefix(_TAKEN)} is in use by {said}; wait "
                "until it ends. If its machine is gone for good, end that process on this host"
            )


def _printable(text: str) -> str:
    shown = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(shown.split())[:SHOWN]
