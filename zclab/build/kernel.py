"""The kernel: source, series and fragments in; a bzImage that has what the fragments ask for out.

All three levels run the same image. It has no modules, and is the same to the byte wherever it
is built with the same compiler.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from zclab.build import kconfig, offsets
from zclab.build.apt import Apt
from zclab.build.buildlog import explained, parse_step
from zclab.build.cache import (
    Artifact,
    cache_dir,
    file_hash,
    get_or_build,
    is_count,
    key_of,
    locked,
    prune,
    read_json,
    remembered,
    remove_tree,
)
from zclab.build.command import build_env, output_of, run_logged
from zclab.build.series import Series, read_series
from zclab.build.source import Source, checkout, packaged
from zclab.build.worktree import WorkTree
from zclab.progress import Progress, silent

Variant = Literal["default", "debug"]

PATCHES = Path(__file__).parents[2] / "kernel-patches" / "6.12"
OURS = PATCHES / "config"
PACKAGE = "linux-source-6.12"
MERGED = "fragments.config"
COMPILER = Path(__file__).with_name("cc.sh")
RECIPE = 4
"""Raised with every change of this file that makes another kernel of the same inputs."""

STEPS_PER_SYMBOL = 2.4
"""How many steps a whole build takes for each symbol that is on, before one was counted."""

_KEPT_KERNELS = 20
_NICENESS = 5


@dataclass(frozen=True, kw_only=True)
class KernelArtifact:
    """A kernel, and what is known about it.

    ``version`` is what ``uname -r`` says in it, ``base`` the source it was made from: a Debian
    package's version, or ``tree-`` and a hash over a source tree. ``task_offsets`` is where
    ``task_struct`` has the fields by which accounting knows a thread. ``content`` is a hash of the
    kernel itself and names it where it is booted, so that kernels which are the same to the byte
    give the same figures, whatever went into them.
    """

    key: str
    content: str
    bzimage: Path
    config: Path
    system_map: Path
    task_offsets: dict[str, int]
    build_log: Path
    version: str
    base: str
    series_hash: str
    variant: Variant
    cached: bool


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a kernel will be."""

    source: Source
    series: Series
    fragments: tuple[Path, ...]
    variant: Variant

    @property
    def inputs(self) -> dict[str, object]:
        """What the artifact's key is made of; a path stands for its content."""
        return {
            "recipe": RECIPE,
            "source": self.source.id,
            "series": self.series.hash,
            "fragments": {path.name: path for path in self.fragments},
            "variant": self.variant,
            "offsets": offsets.SOURCE,
            "compiler": output_of(("gcc", "--version")).partition("\n")[0],
            "linker": output_of(("ld", "--version")).partition("\n")[0],
        }


def build_kernel(
    *,
    source: Path | None = None,
    series: Path | None = PATCHES,
    variant: Variant = "default",
    update: bool = False,
    progress: Progress = silent,
) -> KernelArtifact:
    """Return the kernel of a source with a series applied, from the cache if it is there.

    ``source`` is a kernel tree of the user's, None for Debian's package; ``series`` is what
    read_series() takes, None for the kernel without one; ``update`` asks the mirror for the newest
    package first. Raises ConfigError for a series or fragment that makes no sense, and BuildError
    otherwise.
    """
    patches = read_series(series)
    debian = partial(_debian, at_least=patches.base, update=update, progress=progress)
    recipe = Recipe(
        source=checkout(source) if source else debian(),
        series=patches,
        fragments=kconfig.fragments_of(OURS, patches.folder, variant),
        variant=variant,
    )
    wishes = kconfig.read_fragments(recipe.fragments)
    if added := [path.name for path in recipe.fragments if not (OURS / path.name).is_file()]:
        progress(0, None, f"configuring with {', '.join(added)} of the series, too")

    def build(folder: Path) -> None:
        _build(recipe, wishes, folder, progress)

    artifact = get_or_build("kernel", recipe.inputs, build, progress=progress)
    if not artifact.cached:
        prune("kernel", keep=_KEPT_KERNELS)
    return described(
        artifact,
        base=recipe.source.version,
        series_hash=recipe.series.hash,
        variant=recipe.variant,
    )


def forget(source: Path, *, variant: Variant = "default") -> None:
    """Remove what was kept for builds of a source tree that goes away; artifacts stay."""
    place = checkout(source).place
    name = f"kernel-{variant}-{place}"
    with locked(name):
        remove_tree(cache_dir() / "work" / name)
    (cache_dir() / "checkouts" / f"{place.removeprefix('checkout-')}.json").unlink(missing_ok=True)


def _debian(*, at_least: str = "", update: bool, progress: Progress) -> Source:
    """Return the source that Debian 13 has; the archive keeps only the newest of a branch."""
    apt = Apt(progress=progress)
    if update:
        apt.update()
    version = apt.candidate(PACKAGE, at_least=at_least)

    def unpack(folder: Path) -> None:
        tarball = f"./usr/src/{PACKAGE}.tar.xz"
        script = 'dpkg-deb --fsys-tarfile "$0" | tar -xO "$1" | tar -xJ --strip-components=1'
        deb = apt.download(PACKAGE)
        output_of(("bash", "-o", "pipefail", "-c", script, str(deb), tarball), cwd=folder)
        deb.unlink()  # 150 MB that nobody asks for again

    return packaged("kernel-source", PACKAGE, version, unpack, progress=progress)


def _build(
    recipe: Recipe, wishes: tuple[kconfig.Wish, ...], folder: Path, progress: Progress
) -> None:
    place = f"kernel-{recipe.variant}-{recipe.source.place}"
    with locked(place, progress=progress):
        work = WorkTree(folder=cache_dir() / "work" / place)
        progress(0, None, f"bringing {recipe.source.id} and the series together")
        changed = work.sync(recipe.source.open(), recipe.series, target=recipe.source.id)
        work.build.mkdir(exist_ok=True)
        log = folder / "build.log"
        with explained(f"kernel-{recipe.variant}", recipe.series, log):
            _configure(recipe, wishes, work, log)
            _make_bzimage(work, log, progress, wide=any(map(_is_header, changed)))
            found = _task_offsets(work, folder / "task-offsets.s", log)
        (folder / "task-offsets.json").write_text(json.dumps(found))
        for product, name in (
            ("arch/x86/boot/bzImage", "bzImage"),
            (".config", "config"),
            ("System.map", "System.map"),
            ("include/config/kernel.release", "release"),
        ):
            shutil.copyfile(work.build / product, folder / name)


def _configure(recipe: Recipe, wishes: tuple[kconfig.Wish, ...], work: WorkTree, log: Path) -> None:
    """Write ``.config``: everything off that can be, then the fragments, then what they imply."""
    wanted = key_of({"fragments": list(recipe.fragments)})
    marker = work.folder / "fragments"
    if not marker.is_file() or marker.read_text(errors="replace") != wanted:
        _make(work, log, "allnoconfig")
        # One file in the build: the script splits what it is given at blanks.
        (work.build / MERGED).write_bytes(kconfig.joined(recipe.fragments))
        merge = ("../scripts/kconfig/merge_config.sh", "-m", ".config", MERGED)
        run_logged(merge, cwd=work.build, env=_env(work), log=log)
        marker.write_text(wanted)
    _make(work, log, "olddefconfig")  # the series may bring new symbols
    config = kconfig.read_config((work.build / ".config").read_text())
    kconfig.check_granted(wishes, config, work.tree)


def _make_bzimage(work: WorkTree, log: Path, progress: Progress, *, wide: bool) -> None:
    """Run the build proper, and remember how many steps such a one takes.

    Whole builds are alike, and so are ``wide`` ones, after a change of headers; nobody knows how
    many steps a small one will take.
    """
    size = "wide" if wide else "small"
    if not (work.build / "vmlinux.o").exists():
        size = "whole"
    counted = work.folder / "steps.json"
    counts: dict[str, int] = remembered(counted, is_count) or {}
    if "whole" not in counts:
        config = kconfig.read_config((work.build / ".config").read_text())
        counts["whole"] = int(list(config.values()).count("y") * STEPS_PER_SYMBOL)
    done = 0

    def on_line(line: str) -> None:
        nonlocal done
        if step := parse_step(line):
            done += 1
            total = None if size == "small" else counts.get(size)
            progress(done, total, f"{step.tool} {step.what}")

    _make(work, log, f"-j{(os.cpu_count() or 1) + 1}", "bzImage", on_line=on_line)
    counted.write_text(json.dumps({**counts, size: done}))


def _task_offsets(work: WorkTree, assembly: Path, log: Path) -> dict[str, int]:
    saved = (work.build / offsets.SAVED_COMMAND).read_text()
    argv = offsets.compile_argv(saved, offsets.SOURCE, assembly)
    run_logged(argv, cwd=work.build, env=_env(work), log=log)
    found = offsets.parse(assembly.read_text())
    assembly.unlink()
    return found


def _is_header(name: str) -> bool:
    return name.startswith("include/")


def _make(
    work: WorkTree, log: Path, *targets: str, on_line: Callable[[str], None] = lambda _: None
) -> None:
    argv = ["nice", f"-n{_NICENESS}", "make", "-C", str(work.tree), "O=build", "ARCH=x86"]
    # Tools that this kernel is not built with: Kconfig would write down which ones are here, and
    # the kernel has a copy of that.
    argv += ["RUSTC=false", "PAHOLE=false"]
    if shutil.which("ccache"):
        argv.append(f"CC=sh {_compiler(work)}")
    run_logged((*argv, *targets), cwd=work.tree, env=_env(work), log=log, on_line=on_line)


def _compiler(work: WorkTree) -> Path:
    """Put the compiler beside the tree: its path is part of every command that make compares."""
    path = work.folder / COMPILER.name
    text = COMPILER.read_text()
    if not path.is_file() or path.read_text(errors="replace") != text:
        path.write_text(text)
    return path


def _env(work: WorkTree) -> dict[str, str]:
    """Return the environment of a reproducible build.

    ccache goes by the dependencies that the compiler reports: without a preprocessor run of its
    own for every file that is not in its cache, a first build takes a fifth less.
    """
    return build_env(
        KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 1970",
        KBUILD_BUILD_USER="zclab",
        KBUILD_BUILD_HOST="zclab",
        KBUILD_BUILD_VERSION="1",
        LOCALVERSION="",
        CCACHE_DEPEND="1",
        CCACHE_BASEDIR=str(work.folder),
    )


def described(
    artifact: Artifact, *, base: str, series_hash: str, variant: Variant
) -> KernelArtifact:
    """Return what is known about a kernel that has been built; see KernelArtifact."""
    bzimage = artifact.path / "bzImage"
    return KernelArtifact(
        key=artifact.key,
        content=file_hash(bzimage)[:32],
        bzimage=bzimage,
        config=artifact.path / "config",
        system_map=artifact.path / "System.map",
        task_offsets=read_json(artifact.path / "task-offsets.json", is_count),
        build_log=artifact.path / "build.log",
        version=(artifact.path / "release").read_text().strip(),
        base=base,
        series_hash=series_hash,
        variant=variant,
        cached=artifact.cached,
    )


def debian_tree(*, progress: Progress = silent) -> Path:
    """Return the unpacked source of Debian's package, without a series; not to be written to."""
    return _debian(update=False, progress=progress).open().folder
