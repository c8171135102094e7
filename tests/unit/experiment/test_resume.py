"""Going on with a run that has stopped: what is left, in which order, and what is refused."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import ConfigError, TrialError
from zclab.experiment import bench as experiment
from zclab.experiment.bench import Options, bench, planned, planned_suite, resume, virtual_options
from zclab.model import Clock
from zclab.runs.plan import Part, Planned
from zclab.runs.results import Provenance, Results, Status, Trial, samples
from zclab.runs.resume import PLAN_FILE, KernelOptions, Plan, in_order, left, load_recorded
from zclab.runs.store import RunDirectory, load
from zclab.tasks.cli import reject_beside

ONE_JOB = virtual_options(jobs=1, profile=False, copy_bytes=8)
OPTIONS = Options(modes=["vhost", "zerocopy"], workloads=["TCP_STREAM", "TCP_RR"], repetitions=2)


def a_plan(clock: Clock = "wall") -> Plan:
    """Return 4 boots of 3 trials; the plan of run-bench has no lot, so its order is known."""
    return planned(load_lab("emulated").model_copy(update={"clock": clock}), OPTIONS)


def trial(of: Planned, status: Status = "ok") -> Trial:
    reason = None if status == "ok" else "no lease"
    return Trial(**dict(of.dimensions), status=status, reason=reason)


def all_of(plan: Plan) -> list[Planned]:
    return [one for part in plan.parts for boot in part.boots for one in boot.trials]


def identities(trials: Iterable[Trial]) -> list[tuple[object, ...]]:
    return [one.identity for one in trials]


def trials(plan: Plan, count: int, status: Status = "ok") -> list[Trial]:
    """Return the first trials of a plan, as they end."""
    return [trial(one, status) for one in all_of(plan)[:count]]


class Machine:
    """Stands in for labs: ends trials until it is stopped, or as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kernel = Mock(key="k1", base="6.12.107-1", series_hash="s1")
        self.ran: list[Trial] = []
        self.stop_after: int | None = None
        self.status: Status = "ok"
        monkeypatch.setattr(experiment, "run_virtual", self.run)
        monkeypatch.setattr(experiment, "build_lab", lambda *_lab, **_options: self.artifacts())

    def artifacts(self) -> Mock:
        """Return what would be built now."""
        return Mock(kernel=self.kernel, contents={"kernel": self.kernel.key}, host=None)

    def run(self, part: Part, _artifacts: Mock, store: RunDirectory, **_options: Any) -> None:
        """See run_virtual()."""
        for one in (one for boot in part.boots for one in boot.trials):
            if self.stop_after is not None and len(self.ran) >= self.stop_after:
                raise KeyboardInterrupt
            ended = trial(one, self.status)
            figures = {"throughput_mbps": float(len(self.ran))} if self.status == "ok" else {}
            store.add(ended, samples(one.dimensions, figures))
            self.ran.append(ended)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def begin(machine: Machine, path: Path, plan: Plan | None = None, **options: Any) -> Path:
    kernel = KernelOptions.of(source="", series="", debug=False)
    return bench(
        plan or a_plan("virtual"),
        machine.artifacts,
        ONE_JOB,
        keep=False,
        out_dir=str(path),
        kernel=options.get("kernel", kernel),
    )


def stopped(machine: Machine, path: Path, *, after: int) -> Results:
    """Begin a run and interrupt it."""
    machine.stop_after = after
    with pytest.raises(KeyboardInterrupt):
        begin(machine, path)
    machine.stop_after = None
    return load(path)


def go_on(path: Path, *, dry_run: bool = False) -> None:
    resume(str(path), jobs=1, executor="", keep=False, dry_run=dry_run)


def test_a_stopped_run_is_finished_without_running_anything_twice(
    machine: Machine, tmp_path: Path
) -> None:
    before = stopped(machine, tmp_path / "run", after=5)

    go_on(tmp_path / "run")

    whole = load(tmp_path / "run")
    plan = a_plan("virtual")
    assert [one.identity for one in machine.ran] == [
        one.dimensions.identity for one in all_of(plan)
    ]
    assert whole.trials == tuple(machine.ran)
    assert whole.samples[: len(before.samples)] == before.samples
    assert len(whole.samples) == 12
    assert whole.run.id == before.run.id
    assert len(whole.run.resumed) == 1


def test_a_suite_goes_on_in_the_order_that_was_drawn(machine: Machine, tmp_path: Path) -> None:
    lab = load_lab("emulated").model_copy(update={"clock": "virtual"})
    plan = planned_suite(lab, "latency", Options(repetitions=2), seed=7)
    machine.stop_after = 10
    with pytest.raises(KeyboardInterrupt):
        begin(machine, tmp_path / "run", plan)
    machine.stop_after = None

    go_on(tmp_path / "run")

    assert [one.identity for one in machine.ran] == [
        one.dimensions.identity for one in all_of(plan)
    ]
    assert load(tmp_path / "run").run.seed == 7


def test_an_interrupted_run_says_how_to_go_on(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(machine, tmp_path / "r", after=5)

    told = " ".join(capsys.readouterr().out.split())
    assert "7 of 12 trials have not run; `invoke run-bench --resume=" in told


def test_with_nothing_left_nothing_is_built_or_run(machine: Machine, tmp_path: Path) -> None:
    begin(machine, tmp_path / "run")
    machine.kernel.key = "another, which nobody looks at"
    before = load(tmp_path / "run")

    go_on(tmp_path / "run")

    assert len(machine.ran) == 12
    assert load(tmp_path / "run") == before


def test_failed_trials_are_run_again_and_stay_on_record(machine: Machine, tmp_path: Path) -> None:
    machine.status = "failed"
    with pytest.raises(TrialError, match="12 of 12 trials have no valid figures"):
        begin(machine, tmp_path / "run")
    machine.status = "ok"

    go_on(tmp_path / "run")

    results = load(tmp_path / "run")
    assert {one.status for one in results.trials} == {"ok"}
    assert len(results.trials) == len(results.samples) == 12
    assert [one.reason for one in results.run.resumed[0].retried] == ["no lease"] * 12


def test_invalid_trials_are_kept_for_repeating_them_would_be_choosing(
    machine: Machine, tmp_path: Path
) -> None:
    machine.status = "invalid"
    for start in (lambda: begin(machine, tmp_path / "run"), lambda: go_on(tmp_path / "run")):
        with pytest.raises(TrialError, match="12 of 12 trials have no valid figures"):
            start()

    assert len(machine.ran) == 12


def test_another_kernel_is_refused_by_name_before_anything_runs(
    machine: Machine, tmp_path: Path
) -> None:
    before = stopped(machine, tmp_path / "run", after=5)
    machine.kernel.key, machine.kernel.series_hash = "k2", "s2"

    with pytest.raises(ConfigError, match="have changed since the run began") as caught:
        go_on(tmp_path / "run")

    assert "  kernel: k2 now, k1 when it began" in str(caught.value)
    assert "  series: s2 now, s1 when it began" in str(caught.value)
    assert load(tmp_path / "run").trials == before.trials


def test_what_the_host_says_has_to_stay_true_but_for_the_command(tmp_path: Path) -> None:
    store = RunDirectory.create(
        lab="l", clock="wall", modes=["vhost"], command="x", out=tmp_path / "run"
    )
    seen = Provenance(
        cpu_model="EPYC",
        versions={"qemu": "10.0.13"},
        settings={"guest_memory_mib": 512},
        command_lines={"zclab": "invoke run-bench", "host_kernel": "quiet"},
    )
    store.set_provenance(Provenance(versions={"kernel_source": "6.12.107-1"}))
    store.set_provenance(seen)
    store.set_provenance(Provenance(versions={"kernel_source": "6.12.107-1"}))
    store.set_provenance(
        seen.model_copy(update={"command_lines": {"zclab": "--resume", "host_kernel": "quiet"}})
    )

    assert store.results.provenance.versions == {"qemu": "10.0.13", "kernel_source": "6.12.107-1"}
    assert store.results.provenance.command_lines["zclab"] == "invoke run-bench"
    for changes, told in (
        ({"cpu_model": "Xeon"}, "cpu_model: Xeon now, EPYC when"),
        ({"settings": {"guest_memory_mib": 1024}}, "guest_memory_mib: 1024 now, 512 when"),
        ({"command_lines": {"host_kernel": "iommu=pt"}}, "host_kernel: iommu=pt now, quiet when"),
    ):
        with pytest.raises(ConfigError, match=told):
            store.set_provenance(seen.model_copy(update=changes))


def test_another_zclab_is_refused(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(machine, tmp_path / "run", after=5)
    monkeypatch.setattr("zclab.runs.resume.code_hash", lambda: "another")

    with pytest.raises(ConfigError, match="zclab has changed since that run began"):
        go_on(tmp_path / "run")


def test_a_run_without_a_plan_is_refused(machine: Machine, tmp_path: Path) -> None:
    begin(machine, tmp_path / "run", kernel=None)

    with pytest.raises(ConfigError, match=f"run/{PLAN_FILE}: No such file .* start it again"):
        go_on(tmp_path / "run")


def test_a_run_that_is_going_on_is_refused_and_one_that_was_killed_is_not(tmp_path: Path) -> None:
    """The lock goes with the process, whatever ends it."""
    path = tmp_path / "run"
    code = (
        "import sys; from pathlib import Path; from zclab.runs.store import RunDirectory\n"
        "run = RunDirectory.create(\n"
        "    lab='l', clock='wall', modes=['vhost'], command='x', out=Path(sys.argv[1]))\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", code, path), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"locked\n"

        with pytest.raises(ConfigError, match="another zclab is still writing to this run"):
            RunDirectory.reopen(path, command="y")

        holder.send_signal(signal.SIGKILL)
    assert RunDirectory.reopen(path, command="y").results.run.command == "x"


def test_a_dry_run_lists_what_is_left(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped(machine, tmp_path / "run", after=5)
    capsys.readouterr()

    go_on(tmp_path / "run", dry_run=True)

    text = capsys.readouterr().out
    lines = text.splitlines()
    assert "7 of 12 trials are left" in " ".join(text.split())
    assert len([line for line in lines if line.startswith("boot ")]) == 7
    assert len(machine.ran) == 5
    assert load(tmp_path / "run").run.resumed == ()


def test_the_rest_of_a_boot_is_another_boot() -> None:
    """In the wall clock, values of two boots must not pass for those of one."""
    plan = a_plan()

    rest = left(plan, trials(plan, 4))

    boots = rest.parts[0].boots
    assert [(boot.number, boot.mode, boot.repetition, len(boot.trials)) for boot in boots] == [
        (4, "zerocopy", 0, 2),
        (2, "zerocopy", 1, 3),
        (3, "vhost", 1, 3),
    ]
    assert {one.dimensions.boot for one in boots[0].trials} == {4}


def test_a_boot_that_was_cut_short_twice_is_a_third_one() -> None:
    plan = a_plan()
    first = trials(plan, 4)
    second = trial(left(plan, first).parts[0].boots[0].trials[0])

    rest = left(plan, [*first, second])

    assert [boot.number for boot in rest.parts[0].boots] == [5, 2, 3]


def test_a_start_in_virtual_time_keeps_its_number() -> None:
    plan = a_plan("virtual")

    rest = left(plan, trials(plan, 4))

    assert [boot.number for boot in rest.parts[0].boots] == [0, 1, 1]


def test_trials_that_ended_later_stand_where_the_plan_has_them() -> None:
    plan = a_plan()
    ended = trials(plan, 12)

    assert in_order(plan, ended[::-1]) == tuple(ended)


def test_the_record_says_all_that_decides_the_figures(machine: Machine, tmp_path: Path) -> None:
    plan = a_plan("virtual")
    folder = begin(machine, tmp_path / "run", plan)

    recorded = load_recorded(folder)

    assert recorded.plan == plan
    assert (recorded.copy_bytes, recorded.profile) == (8, False)


def test_a_series_means_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    kernel = KernelOptions.of(source="linux", series="mine", debug=True)

    assert (kernel.source, kernel.series) == (str(tmp_path / "linux"), str(tmp_path / "mine"))
    assert KernelOptions.of(source="", series="none", debug=False).series == "none"


def test_options_that_the_run_itself_says_are_refused_by_name(tasks: ModuleType) -> None:
    body = tasks.run_bench.body
    untouched = {
        name: [] if parameter.default is parameter.empty else parameter.default
        for name, parameter in inspect.signature(body).parameters.items()
    }

    reject_beside("resume", body, {**untouched, "resume": "runs/x", "jobs": 2}, allow=("jobs",))

    with pytest.raises(ConfigError, match="--resume: not allowed with --mode, --mtu: the run"):
        reject_beside("resume", body, {**untouched, "mode": ["vhost"], "mtu": 9000, "resume": "x"})
