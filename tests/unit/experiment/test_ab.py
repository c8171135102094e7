"""Two kernels: what an option means, and what moved between two profiles."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from zclab.build.kernel import PATCHES
from zclab.build.series import read_series
from zclab.documents.labs import load_lab
from zclab.errors import ConfigError
from zclab.experiment import stored_runs
from zclab.experiment.ab import ab, kernel_of, new_folder
from zclab.experiment.bench import Options, planned, virtual_options
from zclab.judge.simulated import TRANSACTIONS, SimulatedRun
from zclab.runs.profiles import Cost, Movement, movements, profile_name
from zclab.runs.results import Results, Trial
from zclab.runs.store import RESULTS_FILE

ROW = ["vhost", "100.0", "160.0", "+60.0", "+60.0%"]
PATCH = Path(__file__).parents[2] / "data/ab/needless-copy.patch"


def a_run(folder: Path, starts: list[str], **conditions: Any) -> Results:
    """Write a run of one cell with a profile for each start."""
    run = SimulatedRun(clock="virtual")
    where = TRANSACTIONS | {"amount": 4000} | conditions
    for boot, profile in enumerate(starts):
        run.add("vhost", {}, boot=boot, repetition=boot, **where)
        write_profile(folder, run.results.trials[-1], profile)
    return run.results


def write_profile(folder: Path, trial: Trial, profile: str) -> None:
    file = folder / "raw" / profile_name(trial)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"component\tsymbol\tinsns\tinsns_per_transaction\n{profile}")


def test_what_a_symbol_costs_is_the_mean_over_the_starts(tmp_path: Path) -> None:
    base, head = tmp_path / "base", tmp_path / "head"
    before = a_run(base, ["vhost\thandle_rx\t400\t100\n", "vhost\thandle_rx\t480\t120\n"])
    after = a_run(head, ["vhost\thandle_rx\t640\t160\nnic\te1000_clean\t4\t1\n"])

    (cell,) = movements(base, before, head, after)

    assert (cell.dimensions.mode, cell.what) == ("vhost", "instructions per transaction")
    assert cell.movements == (
        Movement(component="vhost", symbol="handle_rx", base=110.0, head=160.0),
        Movement(component="nic", symbol="e1000_clean", base=0.0, head=1.0),
    )
    assert cell.components == {"vhost": Cost(base=110, head=160), "nic": Cost(base=0, head=1)}


def test_cells_under_other_conditions_are_not_mixed(tmp_path: Path) -> None:
    """The mean of a cell with offloads and one without was taken for what a symbol costs."""
    base, head = tmp_path / "base", tmp_path / "head"
    profiles = {"on": "vhost\tf\t0\t10\n", "off": "vhost\tf\t0\t90\n"}
    for folder in (base, head):
        runs = [a_run(folder, [text], offloads=name) for name, text in profiles.items()]
        trials = tuple(trial for run in runs for trial in run.trials)
    both = runs[0].model_copy(update={"trials": trials})

    found = movements(base, both, head, both)

    assert [(cell.dimensions.offloads, cell.whole.base) for cell in found] == [
        ("on", 10.0),
        ("off", 90.0),
    ]


def test_one_cell_of_each_run_is_compared_whatever_its_conditions(tmp_path: Path) -> None:
    base, head = tmp_path / "base", tmp_path / "head"
    on = a_run(base, ["vhost\tf\t0\t10\n"], offloads="on")
    off = a_run(head, ["vhost\tf\t0\t90\n"], offloads="off")

    (cell,) = movements(base, on, head, off)

    assert cell.whole == Cost(base=10, head=90)


def test_profile_diff_says_what_moved_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, cost in (("base", 100), ("head", 160)):
        results = a_run(tmp_path / name, [f"vhost\thandle_rx\t0\t{cost}\n"])
        (tmp_path / name / RESULTS_FILE).write_text(results.model_dump_json(by_alias=True))
    page = tmp_path / "out" / "page.html"

    stored_runs.profile_diff(str(tmp_path / "base"), str(tmp_path / "head"), html=str(page))

    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("vhost, TCP_RR 1 B: +60.0 instructions per transaction in all, +60.0%")
    assert any(line.split() == ["handle_rx", *ROW] for line in lines)
    assert "<svg" in page.read_text()


def test_runs_without_profiles_are_told_how_to_get_them(tmp_path: Path) -> None:
    results = a_run(tmp_path, [])

    with pytest.raises(ConfigError, match="run-bench --clock=virtual --profile"):
        movements(tmp_path, results, tmp_path, results)


def test_patches_go_on_top_of_the_series() -> None:
    with kernel_of("--head", str(PATCH)) as kernel:
        names = [patch.path.name for patch in read_series(Path(kernel.series)).patches]

    assert names[:-1] == [patch.path.name for patch in read_series(PATCHES).patches]
    assert names[-1] == PATCH.name


def test_a_patch_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    patch = tmp_path / "one, two.patch"
    patch.write_bytes(PATCH.read_bytes())

    with kernel_of("--head", str(patch)) as kernel:
        assert len(read_series(Path(kernel.series)).patches) == 1 + len(
            read_series(PATCHES).patches
        )


def test_a_patch_that_is_given_twice_is_refused() -> None:
    refused = pytest.raises(ConfigError, match="one and the same patch; leave one out")

    with refused, kernel_of("--head", f"{PATCH},{PATCH}"):
        pass


@pytest.mark.parametrize(("text", "series"), [("ours", ""), ("none", "none")])
def test_kernels_by_name(text: str, series: str) -> None:
    with kernel_of("--base", text) as kernel:
        assert (kernel.source, kernel.series) == ("", series)


def test_a_series_and_a_tree_are_told_apart(tmp_path: Path) -> None:
    for name in ("Kconfig", "Makefile", "arch/x86/Kconfig"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    with kernel_of("--head", str(tmp_path)) as kernel:
        assert (kernel.source, kernel.series) == (str(tmp_path), "none")
    with kernel_of("--head", str(PATCHES)) as kernel:
        assert (kernel.source, kernel.series) == ("", str(PATCHES))

    (tmp_path / "mails").mkdir()
    shutil.copy(PATCH, tmp_path / "mails" / "0001-x.patch")
    with kernel_of("--head", str(tmp_path / "mails")) as kernel:
        assert (kernel.source, kernel.series) == ("", str(tmp_path / "mails"))


@pytest.mark.parametrize("text", ["no-such.patch", f"{PATCH},no-such.patch", "/"])
def test_anything_else_is_refused(text: str) -> None:
    refused = pytest.raises(ConfigError, match=r"--head: found .*, allowed: ours, none")

    with refused, kernel_of("--head", text):
        pass


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").write_text("a file")
    monkeypatch.chdir(tmp_path)

    refused = pytest.raises(ConfigError, match="--out: cannot make a folder in runs: File exists")

    with refused, new_folder("", "ab"):
        pass


def test_a_folder_for_runs_stays_where_something_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder("", "ab") as folder:
        (folder / "base").mkdir()
    with new_folder("", "ab") as empty:
        pass

    assert folder.is_dir()
    assert not empty.exists()
    with pytest.raises(ConfigError, match="exists: name a new folder"), new_folder("runs", "ab"):
        pass


@pytest.mark.parametrize("out", ["", "chosen"])
@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("head", "no-such.patch", "--head: found 'no-such.patch'"),
        ("base", "no-such.patch", "--base: found 'no-such.patch'"),
        ("gates", "no-such", "no gate 'no-such'"),
        ("head", "none", "set ZCLAB_STATE to a folder"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    option: str, value: str, problem: str, out: str, nowhere: Path
) -> None:
    """The last is refused when it comes to building, with the folder of a run there already."""
    plan = planned(load_lab("emulated"), Options(modes=["vhost"], workloads=["TCP_RR"]))
    options = {"base": "ours", "head": "none", "gates": "", "out_dir": out, option: value}

    with pytest.raises(ConfigError, match=problem):
        ab(plan, virtual_options(jobs=1, profile=True, copy_bytes=8), **options)

    assert [path for path in nowhere.rglob("*") if path.name != "runs"] == []


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that the test is in, where nothing can be built."""
    monkeypatch.chdir(tmp_path)
    for variable in ("ZCLAB_STATE", "ZCLAB_CACHE"):
        monkeypatch.setenv(variable, "/dev/null/x")
    return tmp_path
