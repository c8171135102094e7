"""One base error, and one subclass for each stage that can fail.

An error's text says what failed, where, and what to do next; its ``exit_status`` is what the
command line ends with.
"""

from __future__ import annotations

from typing import ClassVar

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""


class ZclabError(Exception):
    """Anything zclab can explain; everything else is a bug and ends in a traceback."""

    exit_status: ClassVar[int] = 3


class ConfigError(ZclabError):
    """A lab file, a series or an argument is wrong."""

    exit_status = 2


class BuildError(ZclabError):
    """A kernel, emulator or image could not be built."""


class LabError(ZclabError):
    """The lab could not be brought up, or broke while it was in use."""


class KernelReportError(LabError):
    """A kernel of the lab printed a panic, oops, BUG, lockdep or hung-task report."""


class CommandError(LabError):
    """A command on a host or guest failed, or outlived its deadline."""


class DomainError(LabError):
    """libvirt refused, or the guest did not do what it was asked."""


class MigrationError(DomainError):
    """A guest was not migrated: libvirt refused, or it did not get there."""


class MigrationRefusedError(MigrationError):
    """libvirt does not migrate such a guest, wherever it should go."""


class ParseError(ZclabError):
    """A tool's output was not what its parser knows."""


class TrialError(ZclabError):
    """A trial is invalid: its numbers would not mean what its name says."""

    exit_status = 4


class GateError(ZclabError):
    """A comparison failed its gate."""

    exit_status = 5
