"""JUnit XML: a comparison as a CI system shows it, one test case for each figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from zclab.judge import Judged
from zclab.report import words
from zclab.results import METRICS


def write_junit(path: Path, judged: Sequence[Judged], *, name: str) -> None:
    """Write a suite called ``name``: worse fails, missing is an error, undecided is skipped."""
    suite = TestSuite(name)
    for one in judged:
        suite.add_testcase(_case(one))
    xml = JUnitXml("zclab compare")
    xml.add_testsuite(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    xml.write(str(path), pretty=True)


def _case(one: Judged) -> TestCase:
    metric = METRICS[one.metric]
    where = f"{words.cell_name(one.dimensions)}, {words.conditions(one.dimensions)}"
    case = TestCase(name=f"{one.mode}: {metric.title}", classname=where)
    ratio = f"{one.ratio.value:.3f}x" if one.ratio else "no ratio"
    told = f"{one.verdict}: {ratio} of {words.with_unit(one.theirs, metric)}, p = {one.p:.2g}"
    if one.verdict == "worse":
        case.result = [Failure(told)]
    elif one.verdict == "missing":
        case.result = [Error(one.reason)]
    elif one.verdict == "undecided":
        case.result = [Skipped(f"{told}; {one.reason}")]
    else:
        case.system_out = told
    return case
