"""What build tools print: steps, and the first error among thousands of lines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from zclab.build.cache import cache_dir
from zclab.build.command import ToolError
from zclab.build.series import Series
from zclab.errors import BuildError

_STEP = re.compile(r"  ([A-Z][A-Z0-9_]+) +(\S.*)")
_COMPILER = re.compile(r"(\S+?):(\d+(?::\d+)?): ((?:fatal )?error: .+)")
_KCONFIG = re.compile(r"(\S*Kconfig\S*?):(\d+): ?((?! |warning|syntax error).+)")
_ASSEMBLER = re.compile(r"(\S+\.S):(\d+): (Error: .+)")
_LINKER = re.compile(r"(?:\S*ld(?:\.bfd)?: )?(\S+):\(\S+\): (undefined reference to .+)")
_FUNCTION = re.compile(r".*: in function [`'](\S+)':")
_OTHERS = re.compile(
    r"ERROR: .+|\S+: error: .+|\S*ld(?:\.bfd)?: (?!warning).+|\S*Kconfig\S*: ?syntax error"
    r"|make\[?\d*\]?: \*\*\* .+|.*multiple definition of .+|/bin/sh: .+"
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the build, such as ``CC`` of ``drivers/net/tun.o``."""

    tool: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first error of a build.

    ``file`` is relative to the source, a bare name where a linker knows no more, None where no
    file is named.
    """

    file: str | None
    text: str


def parse_step(line: str) -> Step | None:
    """Return the step that a line of kbuild's announces.

    >>> parse_step("  CC      drivers/net/tun.o")
    Step(tool='CC', what='drivers/net/tun.o')
    """
    found = _STEP.fullmatch(line)
    return Step(tool=found[1], what=found[2]) if found else None


def first_failure(log: str) -> Failure:
    """Return the first error in a build's log.

    The compiler's word comes before the linker's, and theirs before make's, which only says that
    something failed. ``log`` has lines such as::

        ../drivers/net/tun.c:107:2: error: expected ';' before 'return'
        ld: vmlinux.o: in function `tun_get_user':
        tun.c:(.text+0x1f3): undefined reference to `zc_get'
        make[4]: *** [../scripts/Makefile.build:244: drivers/net/tun.o] Error 1
    """
    lines = log.splitlines()
    for pattern in (_COMPILER, _KCONFIG, _ASSEMBLER):
        for line in lines:
            if found := pattern.fullmatch(line):
                file = _in_source(found[1])
                return Failure(file=file, text=f"{file}:{found[2]}: {found[3]}")
    function = ""
    for line in lines:
        if found := _FUNCTION.fullmatch(line):
            function = f"{found[1]}(): "
        elif found := _LINKER.fullmatch(line):
            return Failure(file=found[1], text=f"{found[1]}: {function}{found[2]}")
    for line in lines:
        if _OTHERS.fullmatch(line.strip()):
            return Failure(file=None, text=line.strip())
    return Failure(file=None, text="\n  ".join(lines[-10:]))


@contextmanager
def explained(what: str, series: Series, log: Path) -> Iterator[None]:
    """Turn a failed build into an error that names the first error and the patch at fault.

    The log outlives the build, and has the name of ``what`` is built.
    """
    try:
        yield
    except BuildError as exc:
        kept = cache_dir() / "logs" / f"{what}.log"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, kept)
        if not isinstance(exc, ToolError):
            raise
        failure = first_failure(log.read_text(errors="replace"))
        words = [f"{what} does not build: {failure.text}"]
        if failure.file and (patches := series.touching(failure.file)):
            words.append(f"look first at what changes {failure.file}: {', '.join(patches)}")
        words.append(f"Complete output: {kept}")
        raise BuildError("\n".join(words)) from exc


def _in_source(path: str) -> str:
    """Return a path as the build names it, relative to the source; the build is inside it."""
    return path.removeprefix("../").removeprefix("./")
