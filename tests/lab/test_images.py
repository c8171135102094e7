"""Images are the same to the byte wherever, whenever and by whomever they are made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zclab.build.image import build_guest_image, build_host_image

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
# A user's that nobody of ours has: closed to others, half a day away, and of another language.
ELSEWHERE = {"TZ": "Pacific/Auckland", "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}


def test_images_made_twice_are_the_same(tmp_path: Path) -> None:
    """In another folder, and under another umask, time zone and locale."""
    cache = tmp_path / "another" / "cache"
    subprocess.run(
        (sys.executable, "-m", "invoke", "build-images"),
        cwd=ROOT,
        env={**os.environ, **ELSEWHERE, "ZCLAB_CACHE": str(cache)},
        umask=0o077,
        check=True,
    )

    for first in (build_host_image(), build_guest_image()):
        kind = first.path.parent.parent.name
        (again,) = (cache / "artifacts" / kind).glob(f"*/{first.path.name}")
        if again.parent.name != first.key:
            pytest.skip("the mirror has newer packages than the image in the cache")
        # What is beside an image is part of what a machine in virtual time starts from.
        for name in (path.name for path in first.path.parent.iterdir()):
            assert (again.parent / name).read_bytes() == (first.path.parent / name).read_bytes()
