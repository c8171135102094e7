"""What a lab is made of: kernel, guest image, and for an emulated one emulator and host image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zclab.build.emulator import EmulatorArtifact, build_emulator
from zclab.build.image import Image, build_guest_image, build_host_image
from zclab.build.kernel import PATCHES, KernelArtifact, Variant, build_kernel
from zclab.build.progress import shown


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Built artifacts; equal keys are equal labs."""

    kernel: KernelArtifact
    emulator: EmulatorArtifact
    host_image: Image
    guest_image: Image

    @property
    def keys(self) -> dict[str, str]:
        """The key of each, which goes into every result."""
        return {
            "kernel": self.kernel.key,
            "emulator": self.emulator.key,
            "host_image": self.host_image.key,
            "guest_image": self.guest_image.key,
        }


def build_all(
    *,
    source: Path | None = None,
    series: Path | None = PATCHES,
    variant: Variant = "default",
) -> Artifacts:
    """Build what is missing, with progress on the terminal, and return all of it."""
    with shown("kernel") as progress:
        kernel = build_kernel(source=source, series=series, variant=variant, progress=progress)
    with shown("emulator") as progress:
        emulator = build_emulator(progress=progress)
    with shown("host image") as progress:
        host_image = build_host_image(progress=progress)
    with shown("guest image") as progress:
        guest_image = build_guest_image(progress=progress)
    return Artifacts(
        kernel=kernel, emulator=emulator, host_image=host_image, guest_image=guest_image
    )
