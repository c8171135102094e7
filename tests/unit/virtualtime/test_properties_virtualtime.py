"""No word of a host in virtual time, and none of the plugin's, is a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.mutations import check_reader
from zclab.bench.execute import begin_mark, end_mark
from zclab.errors import LabError
from zclab.host.cpu import Roles
from zclab.lab import machine
from zclab.model import Workload
from zclab.outside import from_plain
from zclab.runs.plan import Planned
from zclab.runs.results import Dimensions, Trial, samples
from zclab.virtualtime import account, saved_states, trace
from zclab.virtualtime import trials as virtual
from zclab.virtualtime.figures import counted
from zclab.virtualtime.lab import ACCOUNTS, VirtualLab
from zclab.virtualtime.profile import Symbols, profile
from zclab.virtualtime.qemu import Running, message_of

DATA = Path(__file__).parents[2] / "data/account"
MARKS = (DATA / "marks.jsonl").read_text()
ROLES = Roles(qemu_pid=1, nic=None)
WORKLOAD = Workload(name="TCP_STREAM", direction="rx", message_bytes=16384, duration_s=1.0)
DIMENSIONS = Dimensions(
    mode="vhost",
    workload="TCP_STREAM",
    direction="rx",
    message_bytes=16384,
    mtu=1500,
    offloads="on",
    nic="0000:01:00.0",
    streams=1,
    duration_s=1.0,
    boot=0,
    repetition=0,
)
PLANNED = Planned(workload=WORKLOAD, dimensions=DIMENSIONS)
TRIAL = Trial(**dict(DIMENSIONS), status="ok", evidence={"payload_bytes": 8_388_608})


def line(kind: str, **content: object) -> str:
    """Return a message as the host writes it (zclab.virtualtime.inside.Outbox)."""
    return json.dumps({"kind": kind, **content})


SAID = "\n".join(
    (
        line("raw", name=f"netperf/{DIMENSIONS.stem}.txt", text="ELAPSED_TIME=2.00\n"),
        line(
            "trial",
            trial=TRIAL.model_dump(mode="json"),
            samples=[
                sample.model_dump(mode="json")
                for sample in samples(DIMENSIONS, {"throughput_mbps": 941.5})
            ],
        ),
        line("failed", error="CommandError", message="host: no end within 60 s; it was stopped"),
    )
)
MEMORIES = json.dumps([{"kind": "roles", **asdict(ROLES)}, {"kind": "provenance", "versions": {}}])


def accounts(text: str) -> str:
    """Return the plugin's output with the marks of a workload's begin and end."""
    return text.replace('"guest-end"', f'"{end_mark(WORKLOAD)}"').replace(
        '"guest"', f'"{begin_mark(WORKLOAD)}"'
    )


def trial_of(folder: Path, said: str) -> virtual.Outcome:
    """Run a trial on a host that says this."""

    @contextmanager
    def resumed(*_arguments: object, **_options: object) -> Iterator[SimpleNamespace]:
        lines = said.encode("utf-8", "replace").split(b"\n")
        yield SimpleNamespace(folder=folder, messages=lambda: map(message_of, lines), heard=tuple)

    lab = SimpleNamespace(order=lambda *_: "", profile=False)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(virtual, "resumed", resumed)
        return virtual.run_trial(cast("VirtualLab", lab), folder, PLANNED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a state, and beside it the accounts of a trial from it."""
    (tmp_path / saved_states.MESSAGES).write_text(MEMORIES)
    (tmp_path / ACCOUNTS).write_text(accounts(MARKS))
    return tmp_path


def test_a_trial_ends_with_its_figures(folder: Path) -> None:
    outcome = trial_of(folder, SAID)

    assert outcome.trial.status == "ok"
    assert {"throughput_mbps", "insns_per_kb_total"} <= {one.metric for one in outcome.samples}
    assert [name.partition("/")[0] for name, _ in outcome.raw] == ["netperf", "accounts"]


def test_whatever_a_host_says_is_an_outcome_of_its_trial(folder: Path) -> None:
    def read(said: str) -> None:
        outcome = trial_of(folder, said)

        assert (outcome.trial.status == "ok") == bool(outcome.samples)
        assert not (outcome.trial.reason or "").startswith("a bug"), outcome.trial.reason
        assert outcome.trial.identity == TRIAL.identity

    check_reader(read, SAID, inputs=1000)


def test_a_plugin_that_wrote_nothing_fails_its_trial(folder: Path) -> None:
    (folder / ACCOUNTS).unlink()

    outcome = trial_of(folder, SAID)

    assert outcome.trial.status == "failed"
    assert outcome.trial.reason == "accounting: the plugin's output: No such file or directory"


def test_a_raw_output_of_the_host_is_kept_below_raw_and_nowhere_else(folder: Path) -> None:
    outcome = trial_of(folder, line("raw", name="../../.bashrc", text="rm -r /"))

    assert outcome.raw == ()
    assert outcome.trial.status == "failed"
    assert "name" in str(outcome.trial.reason)


def test_figures_of_another_trial_are_not_this_ones(folder: Path) -> None:
    outcome = trial_of(folder, SAID.replace('"boot": 0', '"boot": 7'))

    assert outcome.trial.status == "failed"
    assert outcome.trial.boot == 0


def test_a_bug_of_ours_fails_its_trial_and_keeps_its_traceback(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(virtual, "counted", broken)
    outcome = trial_of(folder, SAID)

    assert outcome.trial.status == "failed"
    assert "a bug in zclab" in str(outcome.trial.reason)
    name, text = outcome.raw[-1]
    assert name == f"bugs/{DIMENSIONS.stem}.txt"
    assert "ZeroDivisionError: division by zero" in text


def test_accounts_of_a_plugin() -> None:
    symbols = Symbols((DATA / "System.map").read_text())

    def read(text: str) -> None:
        exact = counted(text, WORKLOAD, TRIAL, ROLES)

        assert all(value >= 0 for value in (*exact.figures.values(), *exact.evidence.values()))

    def read_profile(text: str) -> None:
        for mark in account.parse(text):
            profile(mark, ROLES, symbols)

    lines = MARKS.splitlines()
    window = accounts("\n".join(one for one in lines if '"guest' in one))
    check_reader(read, window, inputs=300)
    check_reader(read_profile, profiled(), inputs=1000)


def profiled() -> str:
    """Return an account with symbols, as the plugin writes it."""
    context = {
        "pid": 7,
        "tgid": 7,
        "comm": "init",
        "kernel": 12,
        "user": 4,
        "guest_kernel": 3,
        "guest_user": 0,
        "exits": [],
        "host_symbols": {"ffffffff81000000": 2, "ffffffff81000010": 10},
        "guest_symbols": {"ffffffff81000000": 3},
    }
    return json.dumps({"mark": "begin", "insns": 19, "idle_ns": 50, "contexts": [context]})


def test_traces() -> None:
    first = "812345678 4100200 thread 212 vhost-207\n812345904 4100200 interrupt asm_sysvec\n"

    check_reader(
        lambda text: trace.compare(text.splitlines(True), first.splitlines(True)),
        first.replace("asm_sysvec", "asm_exc"),
    )


def test_what_a_host_said_on_its_way_to_a_state(tmp_path: Path) -> None:
    def read(text: str) -> None:
        (tmp_path / saved_states.MESSAGES).write_text(text, errors="replace")
        from_plain(virtual._ROLES, saved_states.said(tmp_path, "roles"), "roles")

    check_reader(read, MEMORIES, inputs=200)


def test_a_damaged_state_says_how_to_have_it_made_anew(tmp_path: Path) -> None:
    state = tmp_path / "guest-state" / "0123"
    state.mkdir(parents=True)
    (state / saved_states.MESSAGES).write_text('[{"kind": "ro')

    with pytest.raises(LabError, match=r"messages\.json: .* `invoke clean --kind=guest-state`"):
        saved_states.said(state, "roles")


@pytest.mark.parametrize("error", ["INTERRUPTED", "annotations", "NoSuchError", "int", "__doc__"])
def test_an_error_that_is_none_of_ours_is_one_of_the_lab(error: str) -> None:
    found = saved_states.error_of({"kind": "failed", "error": error, "message": "it broke"})

    assert type(found) is LabError
    assert str(found) == "it broke"


def test_the_monitors_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(folder=tmp_path, process=cast("Any", None), stop=cast("Any", None))

    def port(answer: object) -> None:
        monkeypatch.setattr(machine, "monitor", lambda *_: answer)
        machine.forwarded_port(tmp_path)

    def status(text: str) -> None:
        try:
            answer: object = json.loads(text)
        except (ValueError, RecursionError):
            answer = text
        monkeypatch.setattr(machine, "monitor", lambda *_: answer)
        running._stands_still()

    forwarded = "TCP[HOST_FORWARD]  13  127.0.0.1  44321  10.0.2.15  22  0  0"
    check_reader(status, '{"status": "running", "running": true}')
    check_reader(port, forwarded)
