"""The tasks of ``invoke --list``; zclab/tasks/ has them, a module for each group."""

from zclab.report.output import guard
from zclab.tasks.building import build_emulator, build_images, build_kernel, clean
from zclab.tasks.checking import check, doctor, test
from zclab.tasks.labs import lab_console, lab_down, lab_ssh, lab_status, lab_up
from zclab.tasks.measuring import ab, bisect, bundle, nightly, run_bench, unbundle, verify
from zclab.tasks.migrating import migrate
from zclab.tasks.reports import compare, profile_diff, report, trend

__all__ = [
    "ab",
    "bisect",
    "build_emulator",
    "build_images",
    "build_kernel",
    "bundle",
    "check",
    "clean",
    "compare",
    "doctor",
    "lab_console",
    "lab_down",
    "lab_ssh",
    "lab_status",
    "lab_up",
    "migrate",
    "nightly",
    "profile_diff",
    "report",
    "run_bench",
    "test",
    "trend",
    "unbundle",
    "verify",
]

guard()
