"""What all unit tests have in common: how hypothesis looks for inputs.

The inputs are the same in each run, so that a change that fails, fails again; nothing is timed,
for the machines of CI are slow now and then.
"""

from __future__ import annotations

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
