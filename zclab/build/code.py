"""zclab's own code as a hash: what measures and judges is one of the conditions of a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from zclab.build.cache import file_hash, key_of
from zclab.build.command import output_of
from zclab.errors import BuildError

PACKAGE = Path(__file__).parents[1]


@cache
def code_hash() -> str:
    """Return the hash of all of zclab's modules, as they were when this was first asked for."""
    files = sorted(PACKAGE.rglob("*.py"))
    return key_of({str(path.relative_to(PACKAGE)): file_hash(path) for path in files})


def commit() -> str:
    """Return the commit that is checked out, for people to find it again; nothing without git."""
    try:
        return output_of(("git", "rev-parse", "--short=12", "HEAD"), cwd=PACKAGE).strip()
    except BuildError:
        return ""
