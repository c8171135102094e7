"""Offsets of structures, from what kbuild and the compiler left of a 6.12 kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.offsets import compile_argv, parse
from zclab.errors import BuildError, ParseError

DATA = Path(__file__).parents[2] / "data/build"


def test_a_file_is_compiled_with_the_kernels_own_flags() -> None:
    saved = (DATA / "asm-offsets.cmd").read_text()

    argv = compile_argv(saved, Path("/ours/task-offsets.c"), Path("/out/task-offsets.s"))

    assert argv[:3] == ("ccache", "gcc", "-nostdinc")
    assert "-D__KERNEL__" in argv
    assert '-DKBUILD_MODNAME="asm_offsets"' in argv
    assert argv[-4:] == ("-S", "-o", "/out/task-offsets.s", "/ours/task-offsets.c")
    assert not any("asm-offsets.s" in word for word in argv)


def test_another_command_is_an_error_that_shows_it() -> None:
    with pytest.raises(BuildError, match="not the command of this kernel's asm-offsets: 'x := y'"):
        compile_argv("x := y\n", Path("a.c"), Path("a.s"))


def test_offsets_are_read() -> None:
    offsets = parse((DATA / "task-offsets.s").read_text())

    assert offsets == {"pid": 1320, "tgid": 1324, "comm": 1792}


def test_no_offsets_are_an_error() -> None:
    with pytest.raises(ParseError, match="no offsets"):
        parse(".text\n")
