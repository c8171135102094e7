"""What a lab is made of, and the keys that tell two labs apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zclab.build.image import Image
from zclab.build.kernel import KernelArtifact
from zclab.lab.artifacts import Artifacts

KERNEL = KernelArtifact(
    key="k1",
    content="c1",
    bzimage=Path("bzImage"),
    config=Path("config"),
    system_map=Path("System.map"),
    task_offsets={},
    build_log=Path("build.log"),
    version="6.12.107-zclab",
    base="6.12.107-1",
    series_hash="5",
    variant="default",
    cached=True,
)
IMAGE = Image(path=Path("guest.cpio.gz"), key="i1", content="ic1", packages={}, cached=True)


def test_a_guest_kernel_of_its_own_is_one_of_the_contents() -> None:
    same = Artifacts(kernel=KERNEL, guest_kernel=KERNEL, guest_image=IMAGE, host=None)
    debug = replace(same, kernel=replace(KERNEL, content="c2", variant="debug"))

    assert same.contents == {"kernel": "c1", "guest_image": "ic1"}
    assert debug.contents == {"kernel": "c2", "guest_image": "ic1", "guest_kernel": "c1"}
