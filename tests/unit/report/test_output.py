"""Standard output and error that are no friendly terminal: no traceback, no mark for another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zclab.judge.simulated import SimulatedRun

ROOT = Path(__file__).parents[3]


INVOKE = f"{sys.executable} -m invoke"
FULL = "error: cannot write to stdout: No space left on device\n"
CLOSED = "error: cannot write to stdout: it is closed\n"
STATUS = "exit ${PIPESTATUS[0]}"


def sh(command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Have a shell run a command with a cache and labs of its own."""
    own = {"ZCLAB_CACHE": str(home / "cache"), "ZCLAB_STATE": str(home / "state")}
    return subprocess.run(
        ("bash", "-c", command),
        cwd=ROOT,
        env={**os.environ, **own, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_marks_are_told_apart_in_an_encoding_that_has_none(tmp_path: Path) -> None:
    run = SimulatedRun()
    figures = {"throughput_mbps": 400.0, "service_demand_us_per_kb": 10.0}
    worse = {"throughput_mbps": 200.0, "service_demand_us_per_kb": 5.0}
    run.boots({"vhost": figures, "zerocopy": worse}, boots=6)
    (tmp_path / "one.json").write_text(run.results.model_dump_json(by_alias=True))

    done = sh(f"{INVOKE} report {tmp_path}/one.json", tmp_path, PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stderr) == (0, "")
    assert "0.50xv" in done.stdout
    assert "^ better, v worse, = the same, ? undecided" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [
        ("clean > /dev/full", 3, FULL),
        (f"clean | true; {STATUS}", 141, ""),
        ("clean > /dev/full 2> /dev/full", 3, ""),
        ("clean 2>&- <&-", 0, ""),
        ("--list > /dev/full", 3, FULL),
        ("lab-status --help >&-", 3, CLOSED),
    ],
)
def test_output_that_nobody_can_take_ends_without_a_traceback(
    command: str, status: int, says: str, tmp_path: Path
) -> None:
    done = sh(f"{INVOKE} {command}", tmp_path)

    assert (done.returncode, done.stderr) == (status, says)


@pytest.mark.parametrize("stderr", ["2>&-", "2> /dev/full"])
def test_an_error_that_nobody_can_take_is_still_its_exit_status(
    stderr: str, short_path: Path
) -> None:
    done = sh(f"{INVOKE} lab-ssh {stderr}", short_path)

    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


@pytest.mark.parametrize("stderr", ["2>&-", "2> /dev/full", "2> >(true)"])
def test_progress_that_nobody_can_take_ends_no_run(stderr: str, tmp_path: Path) -> None:
    script = (
        "from zclab.build.progress import shown; from zclab.report.output import guard, say\n"
        "guard()\n"
        "with shown('kernel') as progress:\n"
        "    for _ in range(9): progress(0, None, 'x' * 10_000)\n"
        "say('built')"
    )

    done = sh(f'{sys.executable} -c "{script}" {stderr}', tmp_path)

    assert (done.returncode, done.stdout) == (0, "built\n")


def test_a_closed_stderr_is_no_file_of_ours(tmp_path: Path) -> None:
    """Else the next file that is opened is that, and what a program complains of stands in it."""
    script = (
        "import subprocess; from zclab.report.output import guard\n"
        f"guard(); file = open('{tmp_path}/file', 'w')\n"
        "subprocess.run(('sh', '-c', 'echo noise; echo noise >&2'))"
    )

    done = sh(f'{sys.executable} -c "{script}" <&- >&- 2>&-', tmp_path)

    assert done.returncode == 0
    assert (tmp_path / "file").read_text() == ""
