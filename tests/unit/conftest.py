"""What all unit tests have in common: how hypothesis looks for inputs, and that nothing is left.

The inputs are the same in each run, so that a change that fails, fails again; nothing is timed,
for the machines of CI are slow now and then. A file or a process that is left open is an error of
the test in which Python finds it.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "zclab",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=1000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("zclab")

_LEFT_OPEN = ("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.filterwarnings(*_LEFT_OPEN))
