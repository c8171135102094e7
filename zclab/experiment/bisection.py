"""Which patch moved a figure: bisection in virtual time, where one measurement is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from zclab.build.cache import cache_dir
from zclab.build.kernel import PATCHES, forget
from zclab.build.ownership import mark
from zclab.build.variants import Commit, GitTree, first_patches, patch_names
from zclab.documents.gates import measured_in
from zclab.errors import ConfigError, TrialError
from zclab.experiment import stored_runs
from zclab.experiment.ab import Kernel, new_folder
from zclab.experiment.bench import bench
from zclab.experiment.builds import build_lab
from zclab.judge import costs
from zclab.options import user_path
from zclab.report.moved import percent
from zclab.report.output import out
from zclab.runs.profiles import Cost
from zclab.runs.results import METRICS
from zclab.runs.resume import Plan
from zclab.runs.store import load
from zclab.virtualtime.lab import VirtualOptions


@dataclass(frozen=True, kw_only=True)
class Step:
    """A kernel to try: ``name`` is what the last change in it is called.

    ``kernel(folder)`` makes it, in a folder that may have another step's.
    """

    name: str
    kernel: Callable[[Path], Kernel]


def series_steps(series: Path, good: str, bad: str) -> list[Step]:
    """Return the kernels with the first ``good`` to the first ``bad`` patches of a series."""
    names = patch_names(series)
    first, last = (_count(option, text, len(names)) for option, text in
                   (("--good", good), ("--bad", bad)))  # fmt: skip
    if first >= last:
        raise ConfigError(f"--good {first} --bad {last}: good should be the smaller number")

    def step(count: int) -> Step:
        def kernel(folder: Path) -> Kernel:
            first_patches(series, count, folder)
            return Kernel(source="", series=str(folder))

        return Step(name=names[count - 1] if count else "no patch", kernel=kernel)

    return [step(count) for count in range(first, last + 1)]


def commit_steps(tree: Path, good: str, bad: str) -> list[Step]:
    """Return the kernels of the commits from ``good`` to ``bad``, along first parents."""
    repository = GitTree(folder=tree)

    def step(commit: Commit) -> Step:
        def kernel(folder: Path) -> Kernel:
            repository.check_out(commit.id, folder)
            return Kernel(source=str(folder), series="none")

        return Step(name=commit.name, kernel=kernel)

    return [step(commit) for commit in repository.commits(good, bad)]


def steps_of(*, series: str, source: str, good: str, bad: str) -> list[Step]:
    """Return the steps of a series' folder (ours by default), or of a git tree's commits."""
    if source:
        return commit_steps(user_path(source, "--source"), good, bad)
    return series_steps(user_path(series, "--series") if series else PATCHES, good, bad)


def first_bad(count: int, is_bad: Callable[[int], bool]) -> int:
    """Return the first of ``count`` steps that is bad; the first is good, the last is bad."""
    good, bad = 0, count - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (good, middle) if is_bad(middle) else (middle, bad)
    return bad


def bisect(
    experiment: Plan,
    virtual: VirtualOptions,
    steps: Sequence[Step],
    *,
    metric: str,
    out_dir: str,
    evidence: bool = False,
) -> str:
    """Find, print and return the name of the step that moved a metric.

    Then print what that step moved, by component and by symbol; ``evidence`` adds the tables of
    the runs before and after it.

    A step is bad where its figure is nearer to the last step's than to the first's. Raises
    ConfigError where the two are equal, or for a metric that the plan does not give once.
    """
    _check_metric(experiment, metric)
    unit = METRICS[metric].unit
    with new_folder(out_dir, "bisect") as runs, steps_folder() as folder:

        @cache
        def figure(index: int) -> float:
            step = steps[index]
            run = runs / f"{index:03}"
            out.print(f"{index} of {len(steps) - 1}: {step.name}")
            kernel = step.kernel(folder)
            bench(
                experiment,
                lambda: build_lab(experiment.lab, source=kernel.source, series=kernel.series),
                replace(virtual, profile=True),
                keep=False,
                out_dir=str(run),
                table=False,
            )
            mean = _mean(run, metric)
            out.print(f"{metric} {mean:g} {unit}")
            return mean

        good, bad = figure(0), figure(len(steps) - 1)
        if good == bad:
            names = f"{steps[0].name} and {steps[-1].name}"
            raise ConfigError(f"{metric} is {good:g} both with {names}")
        index = first_bad(len(steps), lambda i: abs(figure(i) - bad) < abs(figure(i) - good))
        before, after = figure(index - 1), figure(index)
        around = [runs / f"{at:03}" for at in (index - 1, index)]
    change = f"{metric} from {before:g} to {after:g} {unit}"
    share = percent(Cost(base=before, head=after))
    verdict = f"{steps[index].name}: {change}{f', {share}' if share else ''}"
    out.print("", verdict, "", sep="\n", style="bold")
    _explain(*around, evidence=evidence)
    return steps[index].name


def _explain(before: Path, after: Path, *, evidence: bool) -> None:
    """Print what moved between two runs."""
    theirs, ours = load(before), load(after)
    moved = costs.between(stored_runs.side([(after, ours)]), stored_runs.side([(before, theirs)]))
    stored_runs.print_moved(moved, shown=stored_runs.SHOWN)
    if evidence:
        stored_runs.print_evidence([theirs, ours])


@contextmanager
def steps_folder() -> Iterator[Path]:
    """Have one folder for all steps: from one to the next is an incremental build.

    It is in the cache, for a kernel's tree is large for a /tmp, and goes with its work tree.
    """
    mark(cache_dir())
    with TemporaryDirectory(prefix="zclab-", dir=cache_dir()) as parent:
        folder = Path(parent) / "kernel"
        try:
            yield folder
        finally:
            if (folder / "Makefile").is_file():
                forget(folder)


def _check_metric(experiment: Plan, metric: str) -> None:
    """Raise ConfigError for what is no metric, or not one of exactly one cell of a plan."""
    if metric not in METRICS:
        raise ConfigError(f"--metric: found {metric!r}, allowed: {', '.join(METRICS)}")
    boots = [boot for part in experiment.parts for boot in part.boots]
    found = [trial.dimensions for boot in boots for trial in boot.trials]
    having = [one for one in found if one.workload in measured_in(metric)]
    cells = {(one.mode, one.workload, one.direction, one.message_bytes) for one in having}
    if len(cells) != 1:
        raise ConfigError(
            f"--metric {metric}: {len(cells) or 'none'} of the modes and workloads have one; "
            f"choose one with --mode, --direction, --message-bytes and --workload, of "
            f"{', '.join(measured_in(metric))}"
        )


def _mean(run: Path, metric: str) -> float:
    """Return a metric's mean over the starts of the one cell of a run that has it."""
    samples = [sample for sample in load(run).samples if sample.metric == metric]
    if not samples:
        raise TrialError(f"{run}: no figure called {metric}")
    return fmean(sample.value for sample in samples)


def _count(option: str, text: str, most: int) -> int:
    if text.isdecimal() and int(text) <= most:
        return int(text)
    raise ConfigError(f"{option}: found {text!r}, allowed: a number of patches, 0 to {most}")
