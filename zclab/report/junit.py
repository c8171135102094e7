"""JUnit XML: a comparison as a CI system shows it, one test case for each figure."""

from __future__ import annotations

import io
from collections.abc import Sequence

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from zclab.judge.verdicts import Judged
from zclab.outside import printable
from zclab.report import words
from zclab.runs.results import BAD, METRICS, Trial


def junit(
    judged: Sequence[Judged], *, name: str, trials: Sequence[Trial] = (), problem: str = ""
) -> str:
    """Return a suite called ``name``: worse fails, missing is an error, undecided is skipped.

    Of ``trials``, those that have no valid figures are errors; so is a ``problem`` that ended it
    all, where nothing else here says so. What an XML file may not have is written as in Python.
    """
    suite = TestSuite(printable(name))
    for one in judged:
        suite.add_testcase(_case(one))
    for trial in trials:
        if trial.status in (*BAD, "refused"):
            suite.add_testcase(_invalid(trial))
    if problem and not suite.failures + suite.errors:
        case = TestCase(name="all of it", classname="run")
        case.result = [Error(printable(problem))]
        suite.add_testcase(case)
    xml = JUnitXml("zclab compare")
    xml.add_testsuite(suite)
    file = io.BytesIO()
    xml.write(file, pretty=True)
    return file.getvalue().decode("utf-8")


def _invalid(trial: Trial) -> TestCase:
    where = f"{words.cell_name(trial)}, {words.conditions(trial)}"
    case = TestCase(name=f"{trial.mode}: trial {trial.boot}", classname=printable(where))
    told = printable(f"{trial.status}: {trial.reason or 'no reason given'}")
    case.result = [Error(told) if trial.status in BAD else Skipped(told)]
    return case


def _case(one: Judged) -> TestCase:
    metric = METRICS[one.metric]
    where = f"{words.cell_name(one.dimensions)}, {words.conditions(one.dimensions)}"
    case = TestCase(name=f"{one.mode}: {metric.title}", classname=printable(where))
    ratio = f"{one.ratio.value:.3f}x" if one.ratio else "no ratio"
    told = f"{one.verdict}: {ratio} of {words.with_unit(one.theirs, metric)}, p = {one.p:.2g}"
    if one.verdict == "worse":
        case.result = [Failure(told)]
    elif one.verdict == "missing":
        case.result = [Error(printable(one.reason))]
    elif one.verdict == "undecided":
        case.result = [Skipped(printable(f"{told}; {one.reason}"))]
    else:
        case.system_out = told
    return case
