"""What a lab is made of: kernel and guest image, and for an emulated one the host itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zclab.build.emulator import EmulatorArtifact, build_emulator
from zclab.build.image import Image, build_guest_image, build_host_image
from zclab.build.kernel import PATCHES, KernelArtifact, Variant, build_kernel
from zclab.build.parallel import Beside
from zclab.build.plugin import PluginArtifact, build_plugin
from zclab.build.progress import shown_together


@dataclass(frozen=True, kw_only=True)
class EmulatedHost:
    """What stands in for a host's hardware and installation."""

    emulator: EmulatorArtifact
    plugin: PluginArtifact
    image: Image


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Built artifacts; equal contents are equal labs.

    ``kernel`` is the host's, the one under test; ``host`` is None where there is a real one.
    """

    kernel: KernelArtifact
    guest_kernel: KernelArtifact
    guest_image: Image
    host: EmulatedHost | None

    @property
    def contents(self) -> dict[str, str]:
        """The hash over the content of each, which goes into every result."""
        contents = {"kernel": self.kernel.content, "guest_image": self.guest_image.content}
        if self.guest_kernel.content != self.kernel.content:
            contents["guest_kernel"] = self.guest_kernel.content
        if self.host:
            emulator, image = self.host.emulator.content, self.host.image.content
            contents |= {"emulator": emulator, "host_image": image}
        return contents


def build_all(
    *,
    emulated: bool = True,
    source: Path | None = None,
    series: Path | None = PATCHES,
    variant: Variant = "default",
) -> Artifacts:
    """Build what is missing, with progress on the terminal, and return all of it.

    Guests boot the default variant: what a debug kernel is to find is in the host, and in a guest,
    a level of emulation further in, it would cost minutes for each boot. Images are built beside
    the rest: they wait for the mirror and for dpkg, and leave the cores to the compilers.
    """
    titles = ("kernel", "guest kernel", "emulator", "guest image", "host image")
    with shown_together(titles) as (of_kernel, of_guest_kernel, of_emulator, of_guest, of_host):

        def images() -> tuple[Image, Image | None]:
            guest = build_guest_image(progress=of_guest)
            return guest, build_host_image(progress=of_host) if emulated else None

        with Beside(images) as beside:
            kernel = build_kernel(source=source, series=series, variant=variant, progress=of_kernel)
            guest_kernel = kernel
            if variant != "default":
                guest_kernel = build_kernel(source=source, series=series, progress=of_guest_kernel)
            if emulated:
                emulator = build_emulator(progress=of_emulator)
                plugin = build_plugin(emulator, progress=of_emulator)
        guest_image, host_image = beside.result()
    host = None
    if host_image:
        host = EmulatedHost(emulator=emulator, plugin=plugin, image=host_image)
    return Artifacts(kernel=kernel, guest_kernel=guest_kernel, guest_image=guest_image, host=host)
