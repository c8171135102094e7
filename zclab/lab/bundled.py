"""An emulated lab's artifacts on their way into a bundle, and out of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zclab.build import emulator, image, kernel
from zclab.build.bundle import Kind, files_in
from zclab.build.cache import META, Artifact, file_hash, key_of, read_json
from zclab.build.emulator import EmulatorArtifact
from zclab.build.kernel import KernelArtifact, Variant
from zclab.build.parcel import Named
from zclab.build.plugin import PLUGIN, PluginArtifact
from zclab.build.unbundle import Bundle
from zclab.errors import ConfigError
from zclab.lab.artifacts import Artifacts, EmulatedHost
from zclab.model import Value

FIRMWARE: Kind = "firmware"
"""The kind of what the emulator loads, which is built nowhere and so in no cache."""

Files = dict[Named, dict[str, Path]]
"""The files of artifacts, by their names in them."""


class KernelFacts(Value):
    """What a kernel's folder does not say of it."""

    key: str
    base: str
    series_hash: str
    variant: Variant


class EmulatorFacts(Value):
    """What an emulator's folder does not say of it; ``firmware`` is that of an artifact."""

    key: str
    base: str
    series_hash: str
    firmware: str


class Machine(Value):
    """Which artifacts an emulated lab is made of, by their keys."""

    kernel: KernelFacts
    guest_kernel: KernelFacts
    emulator: EmulatorFacts
    plugin: str
    host_image: str
    guest_image: str


def machine_of(artifacts: Artifacts) -> tuple[Machine, Files]:
    """Return which artifacts a lab is made of, and their files; ConfigError for a real host."""
    host = artifacts.host
    if not host:
        raise ConfigError("only an emulated lab can go into a bundle")
    firmware = emulator.firmware(host.emulator.firmware_dirs)
    machine = Machine(
        kernel=_kernel_facts(artifacts.kernel),
        guest_kernel=_kernel_facts(artifacts.guest_kernel),
        emulator=EmulatorFacts(
            key=host.emulator.key,
            base=host.emulator.base,
            series_hash=host.emulator.series_hash,
            firmware=firmware_key(firmware),
        ),
        plugin=host.plugin.key,
        host_image=host.image.key,
        guest_image=artifacts.guest_image.key,
    )
    folders: tuple[tuple[Kind, str, Path], ...] = (
        ("kernel", artifacts.kernel.key, artifacts.kernel.bzimage.parent),
        ("kernel", artifacts.guest_kernel.key, artifacts.guest_kernel.bzimage.parent),
        ("emulator", host.emulator.key, host.emulator.binary.parent),
        ("plugin", host.plugin.key, host.plugin.path.parent),
        ("host-image", host.image.key, host.image.path.parent),
        ("guest-image", artifacts.guest_image.key, artifacts.guest_image.path.parent),
    )
    files = {Named(kind, key): files_in(folder) for kind, key, folder in folders}
    return machine, {**files, Named(FIRMWARE, firmware_key(firmware)): firmware}


def firmware_key(files: Mapping[str, Path]) -> str:
    """Return what firmware is known by, from its files by name: their contents."""
    return key_of({name: file_hash(path) for name, path in files.items()})


def artifacts_in(bundle: Bundle, machine: Machine) -> Artifacts:
    """Return the artifacts of a machine, as a bundle has them; ConfigError where it has not."""
    try:
        hosts = _kernel(bundle, machine.kernel)
        return Artifacts(
            kernel=hosts,
            guest_kernel=(
                hosts
                if machine.guest_kernel == machine.kernel
                else _kernel(bundle, machine.guest_kernel)
            ),
            guest_image=image.described(
                _artifact(bundle, "guest-image", machine.guest_image), image.GUEST_IMAGE
            ),
            host=EmulatedHost(
                emulator=_emulator(bundle, machine.emulator),
                plugin=PluginArtifact(
                    key=machine.plugin,
                    path=bundle.path("plugin", machine.plugin) / PLUGIN,
                    cached=True,
                ),
                image=image.described(
                    _artifact(bundle, "host-image", machine.host_image), image.HOST_IMAGE
                ),
            ),
        )
    except (OSError, KeyError) as exc:
        raise ConfigError(f"{bundle.file}: no whole machine is in it: {exc}") from exc


def _kernel_facts(built: KernelArtifact) -> KernelFacts:
    return KernelFacts(
        key=built.key, base=built.base, series_hash=built.series_hash, variant=built.variant
    )


def _artifact(bundle: Bundle, kind: Kind, key: str) -> Artifact:
    path = bundle.path(kind, key)
    return Artifact(kind=kind, key=key, path=path, inputs=read_json(path / META), cached=True)


def _kernel(bundle: Bundle, facts: KernelFacts) -> KernelArtifact:
    return kernel.described(
        _artifact(bundle, "kernel", facts.key),
        base=facts.base,
        series_hash=facts.series_hash,
        variant=facts.variant,
    )


def _emulator(bundle: Bundle, facts: EmulatorFacts) -> EmulatorArtifact:
    return emulator.described(
        _artifact(bundle, "emulator", facts.key),
        base=facts.base,
        series_hash=facts.series_hash,
        firmware_dirs=(bundle.path(FIRMWARE, facts.firmware),),
    )
