"""How `invoke test` shares the tests between workers."""

import re
from pathlib import Path

import pytest

from tests.conftest import EXACT, scope_of

LAB = Path(__file__).parents[2] / "lab"


@pytest.mark.parametrize("name", sorted(EXACT))
def test_what_runs_beside_a_lab_by_the_wall_clock_has_none(name: str) -> None:
    text = (LAB / name).read_text()
    assert not re.search(r"\b(lab_up|own_lab|debug_lab\w*|wall_clock)\b", text)


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/lab/test_run_bench.py::test_it[vhost]", "wall clock"),
        ("tests/lab/test_new.py::test_it", "wall clock"),
        ("tests/lab/test_golden.py::test_it[a::b]", "exact"),
        ("tests/unit/lab/test_golden.py::test_it", "tests/unit/lab/test_golden.py"),
    ],
)
def test_labs_by_the_wall_clock_never_run_side_by_side(nodeid: str, scope: str) -> None:
    assert scope_of(nodeid) == scope
