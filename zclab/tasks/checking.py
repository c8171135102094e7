"""Tasks that look at zclab itself, and at the machine."""

from __future__ import annotations

import os
import sys

from invoke.context import Context

from zclab.build import kernel as kernel_build
from zclab.build.progress import shown
from zclab.errors import ConfigError
from zclab.experiment import builds, survey
from zclab.report.output import say
from zclab.tasks import doctor as diagnosis
from zclab.tasks import lint
from zclab.tasks.cli import explained, task
from zclab.units import GIB


@task(help={"unit": "only the tests that take seconds", "nightly": "also those that take long"})
def test(_context: Context, unit: bool = False, nightly: bool = False) -> None:
    """Run the tests; lab tests boot a lab."""
    argv = [sys.executable, "-m", "pytest", *(["tests/unit"] if unit else [])]
    argv += [] if nightly else ["-m", "not nightly"]
    if unit:
        # More workers than CPUs: tests of SSH and of processes wait for most of their time.
        workers = len(os.sched_getaffinity(0)) * 3 // 2
        argv += [f"--numprocesses={workers}", "--dist=worksteal"]
    elif _two_labs_fit():
        # tests/conftest.py keeps labs from taking each other's CPU. -v: a test may take minutes.
        argv += ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder", "-v"]
    os.execv(argv[0], argv)  # noqa: S606 - pytest's own signals, output and exit status


def _two_labs_fit() -> bool:
    """Tell whether a lab by the wall clock can run beside one in virtual time."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return len(os.sched_getaffinity(0)) > 1 and memory >= 8 * GIB


@task
@explained
def check(_context: Context) -> None:
    """Check style, types, layers, shell, links and the patches."""
    with shown("kernel source") as progress:
        tree = kernel_build.debian_tree(progress=progress)
    lint.check(checkpatch=tree / "scripts" / "checkpatch.pl", say=say)


@task(
    help={
        "lab": "an ssh lab: check its hosts, too, and list their NICs",
        "host": "the same for a host that no lab names yet, as in `ssh HOST`",
        "peer": "with --host: the machine at the other end of the cable, if it is another one",
        "write": "find two free NICs that a cable joins, and write a lab of this name for them",
    }
)
@explained
def doctor(
    _context: Context, lab: str = "", host: str = "", peer: str = "", write: str = ""
) -> None:
    """Check that this machine, and a lab's hosts, have all that zclab needs."""
    hosts = survey.Hosts.of(builds.load(lab) if lab else None, host, peer)
    if hosts:
        survey.report(diagnosis.this_machine(), hosts, name=write)
    elif write:
        raise ConfigError("--write: needs --host, or --lab with a lab of kind ssh")
    else:
        diagnosis.report()
