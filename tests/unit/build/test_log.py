"""Captured logs of builds that failed: the first error is found, and who is at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.buildlog import Failure, Step, explained, first_failure, parse_step
from zclab.build.command import build_env, run_logged
from zclab.build.series import Patch, Series
from zclab.errors import BuildError

DATA = Path(__file__).parents[2] / "data/build"
DUMMY = "drivers/net/dummy.c"


def test_a_step_is_a_tool_and_its_object() -> None:
    assert Step(tool="CC", what="fs/open.o") == parse_step("  CC      fs/open.o")
    assert Step(tool="BUILD", what="arch/x86/boot/bzImage") == parse_step(
        "  BUILD   arch/x86/boot/bzImage"
    )


@pytest.mark.parametrize("line", ["", "make[1]: Entering", "  from ../a.c:3:", "CC x"])
def test_what_is_no_step_is_not_counted(line: str) -> None:
    assert parse_step(line) is None


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        (
            "log-syntax-error",
            Failure(file=DUMMY, text=f"{DUMMY}:46:21: error: expected expression before ';' token"),
        ),
        (
            "log-undefined-reference",
            Failure(
                file="dummy.c",
                text="dummy.c: dummy_init_module(): undefined reference to `zclab_missing'",
            ),
        ),
        (
            "log-missing-rule",
            Failure(
                file=None,
                text="make[5]: *** No rule to make target"
                " '../arch/um/scripts/Makefile.rules'.  Stop.",
            ),
        ),
        (
            "log-kconfig-error",
            Failure(
                file="drivers/net/Kconfig",
                text='drivers/net/Kconfig:46: unknown statement "bogus"',
            ),
        ),
    ],
)
def test_the_first_error_of_a_captured_log(log: str, failure: Failure) -> None:
    assert failure == first_failure((DATA / log).read_text())


def test_a_log_without_a_known_error_gives_its_last_lines() -> None:
    assert Failure(file=None, text="one\n  two") == first_failure("one\ntwo\n")


def test_an_explained_failure_names_the_patch_and_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is where the message says, although the build's own folder is gone by then."""
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "0007-dummy.patch"
    patch = Patch(name=path.name, path=path, content=b"", touched=(DUMMY,))
    series = Series(folder=tmp_path, patches=(patch,), hash="x")
    log = tmp_path / "log"
    argv = ("sh", "-c", 'cat "$0"; exit 2', str(DATA / "log-syntax-error"))

    with pytest.raises(BuildError) as caught, explained("kernel-default", series, log):
        run_logged(argv, cwd=tmp_path, env=build_env(), log=log)

    kept = tmp_path / "cache/logs/kernel-default.log"
    assert f"kernel-default does not build: {DUMMY}:46:21: error:" in str(caught.value)
    assert f"look first at what changes {DUMMY}: 0007-dummy.patch" in str(caught.value)
    assert str(kept) in str(caught.value)
    assert log.read_text() == kept.read_text()
