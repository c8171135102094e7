"""Running commands here and on hosts and guests, and waiting on conditions.

A runner hides where its machine is: the code above passes an argv and gets a Result. Nothing is
ever quoted by hand; the SSH runner quotes once.
"""

from __future__ import annotations

from zclab.runner.base import (
    NetnsRunner,
    Process,
    Result,
    Runner,
    read_text,
    wait_until,
    write_text,
)
from zclab.runner.local import LocalRunner
from zclab.runner.ssh import SshRunner

__all__ = [
    "LocalRunner",
    "NetnsRunner",
    "Process",
    "Result",
    "Runner",
    "SshRunner",
    "read_text",
    "wait_until",
    "write_text",
]
