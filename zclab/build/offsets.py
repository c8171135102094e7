"""Offsets of a kernel's structures, asked of the compiler as the kernel's own asm-offsets.c does.

The lab's kernels have no debug information: a build takes half as long without it. Compiling one
more file with the kernel's own command line tells the same about the few fields that are wanted.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from zclab.errors import BuildError, ParseError
from zclab.outside import quoted

SOURCE = Path(__file__).parents[2] / "emulator-plugins" / "task-offsets.c"
SAVED_COMMAND = "arch/x86/kernel/.asm-offsets.s.cmd"
"""Where kbuild keeps the command that compiled asm-offsets.c, in the build directory."""

_OFFSET = re.compile(r'^\.ascii "->(\w+) \$([0-9]{1,9}) ', re.MULTILINE)


def compile_argv(saved: str, source: Path, assembly: Path) -> tuple[str, ...]:
    """Return the command that compiles ``source`` like asm-offsets.c; ``saved`` is kbuild's file.

    Its first line is ``savedcmd_arch/x86/kernel/asm-offsets.s := gcc -Wp,-MMD,... -S -o
    arch/x86/kernel/asm-offsets.s ../arch/x86/kernel/asm-offsets.c``. Raises BuildError where it
    is not.
    """
    line = saved.partition("\n")[0]
    name, assigned, command = line.partition(" := ")
    try:
        words = shlex.split(command)
    except ValueError:
        words = []  # a quote without its end
    if not (name.startswith("savedcmd_") and assigned and words[-4:-2] == ["-S", "-o"]):
        raise BuildError(
            f"{SAVED_COMMAND}: not the command of this kernel's asm-offsets: {quoted(line)}"
        )
    kept = (word for word in words[:-2] if not word.startswith("-Wp,-MMD,"))
    return (*kept, str(assembly), str(source))


def parse(assembly: str) -> dict[str, int]:
    r"""Return the offsets in what the compiler made: lines ``.ascii "->pid $1400 offsetof(...)"``.

    Raises ParseError where there are none.
    """
    offsets = {name: int(value) for name, value in _OFFSET.findall(assembly)}
    if not offsets:
        raise ParseError(f"{SOURCE.name}: the compiler's output has no offsets in it")
    return offsets
