"""Tasks that look at zclab itself, and at the machine."""

from __future__ import annotations

import os
import sys

from invoke.context import Context

from zclab.build import kernel as kernel_build
from zclab.build.progress import shown
from zclab.experiment import builds
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
        argv += ["--numprocesses=auto", "--dist=loadfile"]
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


@task(help={"lab": "an ssh lab: check its hosts, too"})
@explained
def doctor(_context: Context, lab: str = "") -> None:
    """Check that this machine has all that zclab needs."""
    diagnosis.report(builds.load(lab) if lab else None)
