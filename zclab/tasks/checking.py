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


@task(help={"unit": "only the tests that take seconds", "nightly": "also those that take long"})
def test(_context: Context, unit: bool = False, nightly: bool = False) -> None:
    """Run the tests; lab tests boot a lab."""
    argv = [sys.executable, "-m", "pytest", *(["tests/unit"] if unit else [])]
    argv += [] if nightly else ["-m", "not nightly"]
    # Labs side by side take each other's CPU, and guests are late then: only unit tests share it.
    argv += ["--numprocesses=auto", "--dist=loadfile"] if unit else []
    os.execv(argv[0], argv)  # noqa: S606 - pytest's own signals, output and exit status


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
