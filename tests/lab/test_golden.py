"""The figures in the repository are those of this machine, to the last digit."""

from __future__ import annotations

import pytest

from tests.lab import golden
from zclab.lab.artifacts import Artifacts
from zclab.virtualtime.saved_states import parts

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("mode", ["passthrough", "vhost", "zerocopy"])
def test_golden_figures_are_reproduced_to_the_last_digit(artifacts: Artifacts, mode: str) -> None:
    """Or the part of the machine that is another one is named, and nothing was compared."""
    virtual, kept = golden.machine(artifacts), golden.kept()
    now = parts(virtual)
    if others := [name for name in now if now[name] != kept["parts"].get(name)]:
        pytest.skip(f"another machine than in {golden.FILE.name}: {', '.join(others)}")

    assert golden.measured(virtual, mode) == kept["figures"][mode]
