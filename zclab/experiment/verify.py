"""Is virtual time exact on this machine: make everything twice, and say where two runs part.

Host state, guest states and trials are each made twice, side by side, from the same inputs. The
two have to say the same and to go through the same changes of context at the same instructions.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from zclab.build.cache import cache_dir
from zclab.build.ownership import mark
from zclab.build.progress import shown
from zclab.errors import TrialError
from zclab.lab.artifacts import Artifacts
from zclab.model import ModeName
from zclab.progress import Progress
from zclab.report.output import out
from zclab.runs.plan import Planned
from zclab.runs.resume import Plan
from zclab.virtualtime.lab import VirtualLab, VirtualOptions
from zclab.virtualtime.qemu import STATE
from zclab.virtualtime.saved_states import MESSAGES, make_guest, make_host, program_files
from zclab.virtualtime.trace import Compared, compare_files
from zclab.virtualtime.trials import Outcome, run_trial

TRACE = "trace"
FIRST, SECOND = "first", "second"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One thing that was made twice: how the traces compare, and what else differs."""

    name: str
    compared: Compared
    differences: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """Whether nothing told the two from each other."""
        return not (self.compared.parting or self.differences)

    def __str__(self) -> str:
        if self.exact:
            return f"{self.name}: equal, {self.compared.events:,} changes of context"
        lines = [f"{self.name}: NOT EQUAL"]
        if self.compared.parting:
            lines.append(str(self.compared.parting))
        else:
            lines.append(f"the first {self.compared.events:,} changes of context are equal")
        return "\n".join((*lines, *self.differences))


def verify(experiment: Plan, build: Callable[[], Artifacts], virtual: VirtualOptions) -> None:
    """Make everything of a plan twice; TrialError where two runs were not one and the same."""
    part = experiment.parts[0]
    lab = VirtualLab.of(part.lab, build(), virtual, mtu=part.mtu, offloads=part.offloads)
    trials = [planned for boot in part.boots for planned in boot.trials]
    bad = 0
    mark(cache_dir())
    with (
        tempfile.TemporaryDirectory(prefix="verify-", dir=cache_dir()) as folder,
        shown("verify") as progress,
    ):
        for stage in stages(lab, trials, Path(folder), progress):
            out.print(str(stage), highlight=False, markup=False)
            bad += not stage.exact
    if bad:
        raise TrialError(f"virtual time is not exact here: {bad} of the above are not equal")
    out.print("virtual time is exact here")


def stages(
    virtual: VirtualLab, trials: Sequence[Planned], folder: Path, progress: Progress
) -> Iterator[Stage]:
    """Make the host's state, each mode's and each trial twice, and yield how the two compare.

    What comes later starts from the first of two states, so that each stage stands for itself.
    """
    code = program_files()
    modes = tuple(dict.fromkeys(planned.dimensions.mode for planned in trials))
    total = 1 + len(modes) + len(trials)

    def host(made: Path) -> str:
        make_host(virtual, code, made, made / TRACE)
        return (made / MESSAGES).read_text()

    progress(0, total, "booting the host, twice")
    yield _twice("host", host, folder / "host", virtual)
    for number, mode in enumerate(modes, start=1):

        def guest(made: Path, mode: ModeName = mode) -> str:
            make_guest(virtual, folder / "host" / FIRST / STATE, mode, made, made / TRACE)
            return (made / MESSAGES).read_text()

        progress(number, total, f"{mode}: booting a guest, twice")
        yield _twice(f"guest in mode {mode}", guest, folder / mode, virtual)
    for number, planned in enumerate(trials, start=1 + len(modes)):
        name = f"{planned.dimensions.mode}: {planned.workload.label}"

        def trial(made: Path, planned: Planned = planned) -> str:
            state = folder / planned.dimensions.mode / FIRST
            return _shown(run_trial(virtual, state, planned, made / TRACE))

        progress(number, total, f"{name}, twice")
        yield _twice(name, trial, folder / f"trial {number}", virtual)


def _twice(name: str, make: Callable[[Path], str], folder: Path, virtual: VirtualLab) -> Stage:
    """Make a thing in two folders side by side, and compare the traces and what came of it."""
    folders = [folder / FIRST, folder / SECOND]
    for one in folders:
        one.mkdir(parents=True)
    with ThreadPoolExecutor(len(folders)) as pool:
        try:
            first, second = pool.map(make, folders)
        except BaseException:
            virtual.stop.set()
            raise
    stage = Stage(
        name=name,
        compared=compare_files(folders[0] / TRACE, folders[1] / TRACE),
        differences=tuple(_differences(first, second)),
    )
    (folders[0] / TRACE).unlink()
    shutil.rmtree(folders[1])
    return stage


def _shown(outcome: Outcome) -> str:
    """Return all that came of a trial as text, a figure a line."""
    if outcome.trial.status != "ok":
        raise TrialError(outcome.trial.reason or "the trial has no valid figures")
    facts = {sample.metric: sample.value for sample in outcome.samples}
    return "\n".join(f"{name}: {value}" for name, value in (facts | outcome.trial.evidence).items())


def _differences(first: str, second: str) -> Iterator[str]:
    """Yield the lines in which what came of two runs differs."""
    yield from (
        line
        for line in unified_diff(first.splitlines(), second.splitlines(), n=0, lineterm="")
        if line[:2] not in {"--", "++", "@@"}
    )
