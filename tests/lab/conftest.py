"""Fixtures of the lab tests: the real thing, built and booted once, shared by all.

| fixture     | scope    | what it is                                            |
|-------------|----------|-------------------------------------------------------|
| artifacts   | session  | kernel, emulator and images, from the cache or built  |
| lab         | session  | the declaration of labs/emulated.yaml, under a name of ours |
| lab_up      | session  | that lab, up                                          |
| session     | module   | a prepared session on it: cable, peer, libvirt        |
| own_lab     | function | a lab of the test's own, to be broken                 |

``debug_artifacts``, ``debug_lab`` and ``debug_lab_up`` are the first three with the debug kernel
for the host, for nightly tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from zclab.config import load_lab
from zclab.lab import emulated
from zclab.lab import lifecycle as labs
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts, build_all
from zclab.lab.session import Session
from zclab.model import Lab
from zclab.progress import silent


@pytest.fixture(scope="session")
def artifacts() -> Artifacts:
    return build_all()


@pytest.fixture(scope="session")
def lab() -> Lab:
    return load_lab("emulated", name=f"test-{os.getpid()}")


@pytest.fixture(scope="session")
def lab_up(lab: Lab, artifacts: Artifacts) -> Iterator[Access]:
    try:
        yield labs.up(lab, artifacts, with_me=True, progress=silent)
    finally:
        emulated.down(lab.name)


@pytest.fixture(scope="module")
def session(lab: Lab, artifacts: Artifacts, lab_up: Access) -> Iterator[Session]:  # noqa: ARG001
    with labs.opened(lab, artifacts, keep=True, mtu=1500, offloads="on", progress=silent) as opened:
        yield opened


@pytest.fixture(scope="session")
def debug_artifacts() -> Artifacts:
    return build_all(variant="debug")


@pytest.fixture(scope="session")
def debug_lab() -> Lab:
    return load_lab("emulated", name=f"debug-{os.getpid()}")


@pytest.fixture(scope="session")
def debug_lab_up(debug_lab: Lab, debug_artifacts: Artifacts) -> Iterator[Access]:
    try:
        yield labs.up(debug_lab, debug_artifacts, with_me=True, progress=silent)
    finally:
        emulated.down(debug_lab.name)


@pytest.fixture
def own_lab() -> Iterator[Lab]:
    own = load_lab("emulated", name=f"own-{os.getpid()}")
    try:
        yield own
    finally:
        emulated.down(own.name)
