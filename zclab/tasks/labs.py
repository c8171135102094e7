"""Tasks that bring labs up and down, and lead into them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from invoke.context import Context

from zclab.build.progress import shown
from zclab.errors import LabError
from zclab.experiment import builds
from zclab.lab import emulated
from zclab.lab.lifecycle import down, up
from zclab.lab.ssh_config import GUEST
from zclab.report.output import out
from zclab.tasks.cli import explained, task

LAB_HELP = {
    "lab": "a file of labs/ without .yaml, or a path",
    "name": "another name for it, so that two of one kind run side by side",
}


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
    way = shlex.join((f"{access.folder}/ssh", loaded.host.address if loaded.host else "host"))
    out.print(f"lab {loaded.name} is up: `invoke lab-ssh`, or {way} by hand")


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
            out.print(f"{name}: up, SSH on 127.0.0.1:{found.port}, kernel {kernel}")
        else:
            out.print(f"{name}: remains of an interrupted start; `invoke lab-down` clears them")
    if not names:
        out.print("no emulated lab is up")


@task(help={**LAB_HELP, "guest": "the guest instead of the host", "command": "run it, then leave"})
@explained
def lab_ssh(
    _context: Context,
    lab: str = "emulated",
    name: str = "",
    guest: bool = False,
    command: str = "",
) -> None:
    """Log in to a lab's host or guest, or run a command there."""
    loaded = builds.load(lab, name=name)
    config = emulated.folder_of(loaded.name) / "ssh_config"
    if not config.exists():
        raise LabError(f"lab {loaded.name} is not up; `invoke lab-up` brings it up")
    host = loaded.host.address if loaded.host else "host"
    argv = ssh_argv(config.parent, GUEST if guest else host, command)
    os.execv(argv[0], argv)  # noqa: S606 - the terminal belongs to ssh now


@task(help=LAB_HELP)
@explained
def lab_console(_context: Context, lab: str = "emulated", name: str = "") -> None:
    """Show and follow the console of a lab's host."""
    loaded = builds.load(lab, name=name)
    console = emulated.folder_of(loaded.name) / "console.log"
    if not console.exists():
        raise LabError(f"lab {loaded.name} has no console log; it was never up")
    argv = ["tail", "-n", "+1", *(["-f"] if emulated.find(loaded.name) else []), str(console)]
    os.execvp(argv[0], argv)  # noqa: S606 - as above
