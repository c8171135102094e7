"""The table of a run that goes on: each cell is printed once all its trials have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from rich.console import RenderableType

from zclab.judge.cells import Key, cells, key_of
from zclab.judge.verdicts import Verdict
from zclab.model import ModeName
from zclab.report import terminal
from zclab.report.words import Verdicts
from zclab.runs.results import Results

Marks = dict[tuple[ModeName, str], Verdict]


class GrowingTable:
    """Prints a run's table with ``say``; ``planned`` is how many trials each cell will have.

    A verdict is corrected for the number of figures, which grows. A cell is printed again at the
    end where that has changed a verdict of its own.
    """

    def __init__(
        self,
        planned: Mapping[Key, int],
        say: Callable[[RenderableType], None],
        *,
        baseline: ModeName,
    ) -> None:
        self._planned = planned
        self._say = say
        self._baseline = baseline
        self._shown: dict[Key, Marks] = {}
        self._begun = False

    def trial_ended(self, results: Results) -> None:
        """Print the cells that are complete by now and were not printed before."""
        ended = Counter(key_of(trial) for trial in results.trials)
        complete = {key for key in ended if ended[key] >= self._planned.get(key, 0)}
        if left := complete - self._shown.keys():
            self._show(results, left)

    def finish(self, results: Results) -> None:
        """Print what is left of the table, and what stands below it."""
        verdicts = terminal.verdicts_in(results, baseline=self._baseline)
        left = {
            cell.key
            for cell in cells([results])
            if self._shown.get(cell.key) != _marks(verdicts, cell.key)
        }
        self._show(results, left)
        self._say(terminal.render_footer(results, baseline=self._baseline))

    def _show(self, results: Results, keys: set[Key]) -> None:
        if not self._begun:
            self._say(terminal.render_headline(results))
            self._begun = True
        verdicts = terminal.verdicts_in(results, baseline=self._baseline)
        for cell in cells([results], baseline=self._baseline):
            if cell.key in keys:
                clock = results.run.clock
                self._say(terminal.render_cell(cell, clock, verdicts, baseline=self._baseline))
                self._shown[cell.key] = _marks(verdicts, cell.key)


def _marks(verdicts: Verdicts, cell: Key) -> Marks:
    """Return the verdicts on a cell's figures, without the figures that they were drawn from."""
    return {
        (mode, metric): judged.verdict
        for (key, mode, metric), judged in verdicts.items()
        if key == cell
    }
