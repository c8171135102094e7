"""Each step of the series is a kernel of its own: it builds, and a host boots it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from zclab.build.kernel import PATCHES, build_kernel
from zclab.build.series import read_series
from zclab.lab import emulated
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab
from zclab.progress import silent

pytestmark = [pytest.mark.lab, pytest.mark.nightly, pytest.mark.timeout(2400)]

STEPS = [patch.path for patch in read_series(PATCHES).patches]
MP_IS_KNOWN = "+config MP\n"


def series_up_to(step: Path, folder: Path) -> Path:
    """Write the series as far as ``step``, with the fragment for mp once there is such a symbol."""
    patches = STEPS[: STEPS.index(step) + 1]
    for patch in patches:
        shutil.copy(patch, folder)
    (folder / "series").write_text("".join(f"{patch.name}\n" for patch in patches))
    if any(MP_IS_KNOWN in patch.read_text() for patch in patches):
        shutil.copytree(PATCHES / "config", folder / "config")
    return folder


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.stem[:40])
def test_the_series_builds_and_boots_up_to(
    step: Path, own_lab: Lab, artifacts: Artifacts, tmp_path: Path
) -> None:
    kernel = build_kernel(series=series_up_to(step, tmp_path))
    made_of = replace(artifacts, kernel=kernel, guest_kernel=kernel)

    host = emulated.up(own_lab, made_of, with_me=True, progress=silent).access.host_runner()

    try:
        assert host.run(("uname", "-r")).stdout.strip() == kernel.version
    finally:
        host.close()
