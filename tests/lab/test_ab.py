"""A planted cost is found: where it is, and how much, to the instruction."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.kernel import PATCHES
from zclab.build.series import read_series
from zclab.build.variants import with_more
from zclab.documents.labs import load_lab, with_overrides
from zclab.experiment.ab import ab
from zclab.experiment.bench import Options, planned, virtual_options
from zclab.experiment.bisection import bisect, series_steps
from zclab.runs.profiles import movements
from zclab.runs.store import load

pytestmark = pytest.mark.lab

DATA = Path(__file__).parents[1] / "data/ab"

CALL = 12
"""Instructions, at most, around what is planted: the call, the return, a loop's set-up."""


@pytest.mark.parametrize(
    ("patch", "symbol", "cost"),
    [
        # 1500 bytes, eight for each instruction of a copy (docs/cost-model.md).
        ("needless-copy.patch", "vhost_net_planted_copy", 1500 / 8),
        ("fifty-instructions.patch", "vhost_net_planted_work", 50),
    ],
)
def test_what_a_patch_adds_to_each_frame_is_found_in_its_place(
    patch: str, symbol: str, cost: float, tmp_path: Path
) -> None:
    lab = with_overrides(load_lab("emulated"), clock="virtual")
    plan = planned(lab, Options(modes=("vhost",), workloads=("TCP_RR",), repetitions=1))

    ab(
        plan,
        virtual_options(jobs=1, profile=True, copy_bytes=8, fresh=True),
        base="ours",
        head=str(DATA / patch),
        out_dir=str(tmp_path / "ab"),
        gates="",
    )

    base, head = tmp_path / "ab/base", tmp_path / "ab/head"
    (cell,) = movements(base, load(base), head, load(head))
    found = {(moved.component, moved.symbol): moved for moved in cell.movements}
    moved = found["vhost", symbol]
    assert moved.base == 0
    # One frame for each transaction, and the few of the connection itself.
    assert cost <= moved.change <= (cost + CALL) * 1.01


@pytest.mark.nightly
def test_bisection_names_the_patch_that_moved_a_figure(tmp_path: Path) -> None:
    """One of two patches on top of the series costs something; the other is a text file."""
    note = tmp_path / "a-note.patch"
    note.write_text("--- /dev/null\n+++ b/drivers/vhost/NOTE\n@@ -0,0 +1 @@\n+planted\n")
    series = tmp_path / "series"
    with_more(PATCHES, [note, DATA / "needless-copy.patch"], series)
    ours = len(read_series(PATCHES).patches)
    lab = with_overrides(load_lab("emulated"), clock="virtual")
    plan = planned(lab, Options(modes=("vhost",), workloads=("TCP_RR",), repetitions=2))

    found = bisect(
        plan,
        virtual_options(jobs=2, profile=False, copy_bytes=8, fresh=True),
        series_steps(series, str(ours), str(ours + 2)),
        metric="insns_per_transaction_vhost",
        out_dir=str(tmp_path / "bisect"),
    )

    assert Path(found).name == "needless-copy.patch"
