"""Fixtures of the lab tests: the real thing, built and booted once, shared by all.

| fixture     | scope    | what it is                                            |
|-------------|----------|-------------------------------------------------------|
| artifacts   | session  | kernel, emulator and images, from the cache or built  |
| lab         | session  | the declaration of labs/emulated.yaml, under a name of ours |
| lab_up      | function | that lab, up; the first test that wants it starts it  |
| own_lab     | function | a lab of the test's own, to be broken                 |

A test that ends with the error of a lost host, guest or command is run once more, which pytest
counts in its last line: until the emulator was mended, one guest boot in a hundred was lost. Wrong
results, and what kernels report, are not tried again.

``debug_artifacts``, ``debug_lab`` and ``debug_lab_up`` are the first three with the debug kernel
for the host, for nightly tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from zclab.documents.labs import load_lab, with_overrides
from zclab.lab import emulated
from zclab.lab import lifecycle as labs
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts, build_all
from zclab.model import Lab
from zclab.progress import silent

LOST = ("^CommandError: ", "^LabError: ")

# Lockdep and DMA-API debugging switch themselves off where they cannot go on. A test that ends with
# them off has not been under them.
CHECKS = """
zcat /proc/config.gz | grep -x CONFIG_KASAN=y
grep debug_locks: /proc/lockdep_stats
cat /sys/kernel/debug/dma-api/disabled
"""
CHECKING = ["CONFIG_KASAN=y", "debug_locks:", "1", "N"]


def wall_clock(name: str) -> Lab:
    """Return the declaration of a lab that runs as fast as it can, under a name of this process."""
    return with_overrides(load_lab("emulated", name=f"{name}-{os.getpid()}"), clock="wall")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=LOST))


@pytest.fixture(scope="session")
def artifacts() -> Artifacts:
    return build_all()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    shared = wall_clock("test")
    try:
        yield shared
    finally:
        emulated.down(shared.name)


@pytest.fixture
def lab_up(lab: Lab, artifacts: Artifacts) -> Access:
    return labs.up(lab, artifacts, with_me=True, progress=silent)


@pytest.fixture(scope="session")
def debug_artifacts() -> Artifacts:
    return build_all(variant="debug")


@pytest.fixture(scope="session")
def debug_lab() -> Iterator[Lab]:
    shared = wall_clock("debug")
    try:
        yield shared
    finally:
        emulated.down(shared.name)


@pytest.fixture
def debug_lab_up(debug_lab: Lab, debug_artifacts: Artifacts) -> Iterator[Access]:
    access = labs.up(debug_lab, debug_artifacts, with_me=True, progress=silent)
    yield access
    host = access.host_runner()
    try:
        assert host.run(("sh", "-c", CHECKS)).stdout.split() == CHECKING
    finally:
        host.close()


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    own = wall_clock("own")
    try:
        yield own
    finally:
        emulated.down(own.name)
