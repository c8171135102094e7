"""Tasks that bring labs up and down, and lead into them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from invoke.context import Context

from zclab.build.progress import shown
from zclab.errors import ConfigError, LabError
from zclab.experiment import builds
from zclab.lab import emulated
from zclab.lab.lifecycle import down, up
from zclab.lab.ssh_config import GUEST
from zclab.model import Lab
from zclab.report.output import out
from zclab.tasks.cli import explained, task

LAB_HELP = {
    "lab": "a file of labs/ without .yaml, or a path",
    "name": "another name for it, so that two of one kind run side by side",
}


FIRST, SECOND = 1, 2
HOST_HELP = "1, or 2 for the second host of a lab with two"


def _folder(lab: Lab, host: int) -> Path:
    """Return the folder of a lab's host; ConfigError where it has no such host."""
    folder = emulated.folder_of(lab.name)
    if host == FIRST:
        return folder
    if host != SECOND or lab.second is None:
        allowed = "1, 2" if lab.second else f"1; lab '{lab.name}' has one host"
        raise ConfigError(f"--host: found {host}, allowed: {allowed}")
    return emulated.second_folder(folder)


def _destination(lab: Lab, host: int) -> str:
    """Return what ssh calls a lab's host."""
    endpoint = lab.second.host if host == SECOND and lab.second else lab.host
    return endpoint.address if endpoint else "host"


def ssh_argv(folder: Path, destination: str, command: str) -> tuple[str, ...]:
    """Return the ssh that logs in, or runs a command: one word, which the far shell gets as typed.

    ssh takes options behind the host, too; ``--`` ends them.
    """
    argv = (str(folder / "ssh"), destination)
    return (*argv, "--", command) if command else argv


@task(
    help={
        **LAB_HELP,
        "nic": "e1000e or igb, instead of what the lab file says",
        "source": "as for build-kernel",
        "series": "as for build-kernel",
        "debug": "as for build-kernel",
    }
)
@explained
def lab_up(
    _context: Context,
    lab: str = "emulated",
    name: str = "",
    nic: str = "",
    source: str = "",
    series: str = "",
    debug: bool = False,
) -> None:
    """Start a lab; wait until SSH answers and libvirt connects."""
    loaded = builds.load(lab, name=name, nic=nic)
    artifacts = builds.build_lab(loaded, source=source, series=series, debug=debug)
    with shown(f"lab {loaded.name}") as progress:
        access = up(loaded, artifacts, with_me=False, progress=progress)
    way = shlex.join((f"{access.folder}/ssh", _destination(loaded, FIRST)))
    out.print(f"lab {loaded.name} is up: `invoke lab-ssh`, or {way} by hand")
    if loaded.second:
        folder = emulated.second_folder(access.folder)
        way = shlex.join((f"{folder}/ssh", _destination(loaded, SECOND)))
        out.print(f"its second host: `invoke lab-ssh --host=2`, or {way} by hand")


@task(help=LAB_HELP)
@explained
def lab_down(_context: Context, lab: str = "emulated", name: str = "") -> None:
    """End a lab, and remove what it left."""
    loaded = builds.load(lab, name=name)
    out.print(f"lab {loaded.name} {'is down' if down(loaded) else 'was not up'}")


@task
@explained
def lab_status(_context: Context) -> None:
    """List the labs that are up."""
    names = emulated.names()
    for name in names:
        if found := emulated.find(name):
            kernel = found.contents["kernel"][:12]
            ports = [found.port, *([found.second_port] if found.second_port else [])]
            where = " and ".join(f"127.0.0.1:{port}" for port in ports)
            out.print(f"{name}: up, SSH on {where}, kernel {kernel}")
        else:
            out.print(f"{name}: remains of an interrupted start; `invoke lab-down` clears them")
    if not names:
        out.print("no emulated lab is up")


@task(
    help={
        **LAB_HELP,
        "host": HOST_HELP,
        "guest": "the guest on that host instead of the host",
        "command": "run it, then leave",
    }
)
@explained
def lab_ssh(
    _context: Context,
    lab: str = "emulated",
    name: str = "",
    host: int = FIRST,
    guest: bool = False,
    command: str = "",
) -> None:
    """Log in to a lab's host or guest, or run a command there."""
    loaded = builds.load(lab, name=name)
    config = _folder(loaded, host) / "ssh_config"
    if not config.exists():
        raise LabError(f"lab {loaded.name} is not up; `invoke lab-up` brings it up")
    destination = _destination(loaded, host)
    argv = ssh_argv(config.parent, GUEST if guest else destination, command)
    os.execv(argv[0], argv)  # noqa: S606 - the terminal belongs to ssh now


@task(help={**LAB_HELP, "host": HOST_HELP})
@explained
def lab_console(
    _context: Context, lab: str = "emulated", name: str = "", host: int = FIRST
) -> None:
    """Show and follow the console of a lab's host."""
    loaded = builds.load(lab, name=name)
    console = _folder(loaded, host) / "console.log"
    if not console.exists():
        raise LabError(f"lab {loaded.name} has no console log; it was never up")
    argv = ["tail", "-n", "+1", *(["-f"] if emulated.find(loaded.name) else []), str(console)]
    os.execvp(argv[0], argv)  # noqa: S606 - as above
