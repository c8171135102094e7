"""Tasks that build, and clear away what was built."""

from __future__ import annotations

from invoke.context import Context

from zclab.build import cache
from zclab.build import clean as cleaning
from zclab.build import emulator as emulator_build
from zclab.build import kernel as kernel_build
from zclab.build.image import build_guest_image, build_host_image
from zclab.build.progress import shown
from zclab.experiment import builds
from zclab.options import check_range
from zclab.report.output import out, say
from zclab.tasks.cli import explained, task
from zclab.units import format_bytes


@task(
    help={
        "source": "a kernel tree of your own (never modified), instead of Debian's linux-source",
        "series": "a quilt-style series, mailbox, patch, or none; kernel-patches/6.12 by default",
        "debug": "the debug variant: KASAN, lockdep, DMA-API debugging",
        "update": "ask the mirror for the newest source first",
    }
)
@explained
def build_kernel(
    _context: Context, source: str = "", series: str = "", debug: bool = False, update: bool = False
) -> None:
    """Build the kernel that host and guest boot."""
    with shown("kernel") as progress:
        built = kernel_build.build_kernel(
            source=builds.source_folder(source),
            series=builds.series_folder(series, kernel_build.PATCHES),
            variant=builds.variant_of(debug=debug),
            update=update,
            progress=progress,
        )
    out.print(f"kernel {built.version} ({built.base}, {built.content[:12]}): {built.bzimage}")


@task(
    help={
        "series": "a quilt-style series, mailbox, patch, or none; emulator-patches by default",
        "update": "ask the mirror for the newest source first",
    }
)
@explained
def build_emulator(_context: Context, series: str = "", update: bool = False) -> None:
    """Build QEMU for the emulated host."""
    with shown("emulator") as progress:
        built = emulator_build.build_emulator(
            series=builds.series_folder(series, emulator_build.PATCHES),
            update=update,
            progress=progress,
        )
    out.print(f"emulator {built.version} ({built.base}, {built.content[:12]}): {built.binary}")


@task(help={"update": "ask the mirror for the newest packages first"})
@explained
def build_images(_context: Context, update: bool = False) -> None:
    """Build the host image and the guest image."""
    with shown("host image") as progress:
        host = build_host_image(update=update, progress=progress)
    with shown("guest image") as progress:
        guest = build_guest_image(update=update, progress=progress)
    for name, image in (("host", host), ("guest", guest)):
        size = format_bytes(image.path.stat().st_size)
        out.print(f"{name} image ({size}, {len(image.packages)} packages): {image.path}")


@task(
    help={
        "kind": "a name of the list, work for all work trees, or all; without it, show the list",
        "older-than": "days: only what nobody has used for so long",
    }
)
@explained
def clean(_context: Context, kind: str = "", older_than: int = 0) -> None:
    """List what is in the cache, or remove it."""
    check_range("--older-than", older_than, 0, 36500)
    if kind:
        cleaned = cleaning.clean(kind, older_than_days=older_than)
        say(f"freed {format_bytes(cleaned.freed)}")
        for line in cleaned.left:
            say(f"left {line}")
    for entry in cleaning.listed(older_than_days=0 if kind else older_than):
        what = f"a link to {entry.link}" if entry.link else f"{entry.days} days"
        say(f"{format_bytes(entry.disk_bytes):>10}  {what:>9}  {entry.name}")
    if not kind:
        say(
            f"in {cache.cache_dir()}, by last use; `invoke clean --kind=NAME` removes one kind, "
            "--kind=work all work trees, --kind=all everything"
        )
