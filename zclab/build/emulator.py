"""The emulator: Debian 13's QEMU, trimmed to what the lab uses, with the lab's fixes applied.

It is built for the machine that runs zclab. Debian's own patches are applied as its own build
does: some of them are what makes its tarball build at all.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zclab.build.apt import Apt
from zclab.build.buildlog import explained
from zclab.build.cache import Artifact, cache_dir, get_or_build, key_of, locked, prune
from zclab.build.command import build_env, output_of, run_logged
from zclab.build.series import Series, apply_series, read_series
from zclab.build.source import Source, packaged
from zclab.build.worktree import WorkTree
from zclab.errors import BuildError
from zclab.progress import Progress, silent

PATCHES = Path(__file__).parents[2] / "emulator-patches"
PACKAGE = "qemu"
FIRMWARE_DIRS = (Path("/usr/share/seabios"), Path("/usr/share/qemu"))
DEVICES = PATCHES / "devices.mak"
DEVICES_NAME = "zclab"
"""What QEMU's build knows the list of devices by."""

RECIPE = 3
"""Raised with every change of this file that makes another emulator of the same inputs."""

CONFIGURE = (
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--enable-tcg",
    "--enable-kvm",
    "--enable-slirp",
    "--enable-plugins",
    "--enable-pixman",
    "--disable-docs",
    "--disable-tools",
    "--disable-guest-agent",
    "--disable-install-blobs",
    "--disable-download",
    "--disable-debug-info",
    "--disable-werror",
    "--without-default-devices",
    f"--with-devices-x86_64={DEVICES_NAME}",
)
BINARY = "qemu-system-x86_64"
PLUGIN_HEADER = "include/qemu/qemu-plugin.h"

_FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin")
_KEPT_EMULATORS = 4
_NICENESS = 5
_NINJA_STEP = re.compile(r"\[([0-9]{1,9})/([0-9]{1,9})\] (.*)")


@dataclass(frozen=True, kw_only=True)
class EmulatorArtifact:
    """An emulator. ``firmware_dirs`` are for ``-L``.

    ``content`` is a hash over the emulator itself and the firmware that it loads, which is not
    built here. ``include`` has the header that plugins are compiled with.
    ``version`` is QEMU's own, ``base`` the version of the source package.
    """

    key: str
    content: str
    binary: Path
    include: Path
    version: str
    base: str
    series_hash: str
    firmware_dirs: tuple[Path, ...]
    cached: bool


def build_emulator(
    *,
    series: Path | None = PATCHES,
    update: bool = False,
    progress: Progress = silent,
) -> EmulatorArtifact:
    """Return the emulator with a series applied, from the cache if it is there.

    ``series`` is a folder, None for Debian's QEMU as it is; ``update`` asks the mirror for the
    newest package first. Raises BuildError, or ConfigError for a series that makes no sense.
    """
    firmware()
    source = _debian(update=update, progress=progress)
    patches = read_series(series)
    inputs = {
        "recipe": RECIPE,
        "source": source.id,
        "series": patches.hash,
        "configure": CONFIGURE,
        "devices": DEVICES,
        "compiler": output_of(("gcc", "--version")).partition("\n")[0],
    }

    def build(folder: Path) -> None:
        _build(source, patches, folder, progress)

    artifact = get_or_build("emulator", inputs, build, progress=progress)
    if not artifact.cached:
        prune("emulator", keep=_KEPT_EMULATORS)
    return described(artifact, base=source.version, series_hash=patches.hash)


def firmware(folders: tuple[Path, ...] = FIRMWARE_DIRS) -> dict[str, Path]:
    """Return the firmware by name, from ``folders``; BuildError early where QEMU would fail late.

    It is not built here.
    """
    found = {}
    for name in _FIRMWARE:
        there = [folder / name for folder in folders if (folder / name).is_file()]
        if not there:
            raise BuildError(
                f"{name}: in none of {', '.join(map(str, folders))}; "
                "install the packages seabios and qemu-system-data"
            )
        found[name] = there[0]
    return found


def _debian(*, update: bool, progress: Progress) -> Source:
    apt = Apt(progress=progress)
    if update:
        apt.update()
    version = apt.source_version(PACKAGE)

    def unpack(folder: Path) -> None:
        files = apt.source(PACKAGE)
        upstream, debian = (_one(files, part) for part in (".orig.tar.", ".debian.tar."))
        output_of(("tar", "-xf", str(upstream), "--strip-components=1"), cwd=folder)
        output_of(("tar", "-xf", str(debian)), cwd=folder)
        apply_series(read_series(folder / "debian" / "patches"), folder, target=upstream.name)

    return packaged("emulator-source", PACKAGE, version, unpack, progress=progress)


def _one(files: Sequence[Path], part: str) -> Path:
    """Return the file of a source package that has ``part`` in its name."""
    for path in files:
        if part in path.name:
            return path
    names = ", ".join(path.name for path in files) or "nothing"
    raise BuildError(f"the source package of {PACKAGE} has no *{part}*: found {names}")


def _build(source: Source, series: Series, folder: Path, progress: Progress) -> None:
    place = f"emulator-{source.place}"
    with locked(place, progress=progress):
        work = WorkTree(folder=cache_dir() / "work" / place)
        progress(0, None, f"bringing {source.id} and the series together")
        work.sync(source.open(), series, target=source.id)
        log = folder / "build.log"
        log.touch()
        with explained("emulator", series, log):
            _configure(work, source, log, progress)
            _ninja(work, log, progress)
        shutil.copy2(work.build / BINARY, folder)
        (folder / "include").mkdir()
        shutil.copy2(work.tree / PLUGIN_HEADER, folder / "include")


def _configure(work: WorkTree, source: Source, log: Path, progress: Progress) -> None:
    """Configure, unless it was done alike; another version of QEMU is configured anew."""
    argv = ["../configure", f"--python={sys.executable}", *CONFIGURE]
    if shutil.which("ccache"):
        argv.append("--cc=ccache gcc")
    marker = work.folder / "configured"
    wanted = "\n".join((source.id, *argv, DEVICES.read_text()))
    if marker.is_file() and marker.read_text(errors="replace") == wanted:
        return
    progress(0, None, "configuring QEMU")
    marker.unlink(missing_ok=True)
    shutil.rmtree(work.build, ignore_errors=True)
    work.build.mkdir()
    shutil.copyfile(DEVICES, work.tree / f"configs/devices/x86_64-softmmu/{DEVICES_NAME}.mak")
    run_logged(argv, cwd=work.build, env=_env(work), log=log)
    marker.write_text(wanted)


def _ninja(work: WorkTree, log: Path, progress: Progress) -> None:
    def on_line(line: str) -> None:
        if step := _NINJA_STEP.fullmatch(line):
            progress(int(step[1]), int(step[2]), step[3])

    jobs = f"-j{(os.cpu_count() or 1) + 1}"
    argv = ("nice", f"-n{_NICENESS}", "ninja", jobs, BINARY)
    run_logged(argv, cwd=work.build, env=_env(work), log=log, on_line=on_line)


def _env(work: WorkTree) -> dict[str, str]:
    return build_env(CCACHE_DEPEND="1", CCACHE_BASEDIR=str(work.folder))


def described(
    artifact: Artifact,
    *,
    base: str,
    series_hash: str,
    firmware_dirs: tuple[Path, ...] = FIRMWARE_DIRS,
) -> EmulatorArtifact:
    """Return what is known about an emulator that has been built; see EmulatorArtifact."""
    return EmulatorArtifact(
        key=artifact.key,
        content=key_of({"emulator": artifact.path / BINARY, **firmware(firmware_dirs)}),
        binary=artifact.path / BINARY,
        include=artifact.path / "include",
        version=re.sub(r"^\d+:|[+-].*", "", base),
        base=base,
        series_hash=series_hash,
        firmware_dirs=firmware_dirs,
        cached=artifact.cached,
    )
