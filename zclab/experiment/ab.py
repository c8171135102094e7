"""Two kernels against each other in virtual time: figures, and what moved, by symbol."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from zclab.build.kernel import PATCHES
from zclab.build.series import SERIES_FILE
from zclab.build.variants import with_more
from zclab.documents.gates import load_gates
from zclab.errors import ConfigError
from zclab.experiment import stored_runs
from zclab.experiment.bench import bench
from zclab.experiment.builds import build_lab
from zclab.options import is_file, is_folder, is_there, user_path, user_paths
from zclab.report.output import out
from zclab.runs.resume import Plan
from zclab.runs.store import RUNS
from zclab.virtualtime.lab import VirtualOptions

TREE_FILES = ("Kconfig", "Makefile", "arch/x86")


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One side: a source tree or none for Debian's source, and the folder of a series or none."""

    source: str
    series: str


@contextmanager
def kernel_of(option: str, text: str) -> Iterator[Kernel]:
    """Yield the kernel that ``text`` means.

    ``ours`` is the project's series, ``none`` Debian's kernel as it is; otherwise the folder of a
    series, a kernel tree (taken as it is), or patch files, separated by commas, that go on top of
    the project's series. Raises ConfigError for anything else.
    """
    if text in {"ours", "none"}:
        yield Kernel(source="", series="" if text == "ours" else "none")
        return
    paths = user_paths(text, option)
    if len(paths) == 1 and is_folder(paths[0]):
        if all(is_there(paths[0] / name) for name in TREE_FILES):
            yield Kernel(source=str(paths[0]), series="none")
            return
        if is_file(paths[0] / SERIES_FILE) or any(paths[0].glob("*.patch")):
            yield Kernel(source="", series=str(paths[0]))
            return
    elif all(is_file(path) for path in paths):
        with tempfile.TemporaryDirectory(prefix="zclab-series-") as folder:
            series = Path(folder) / "series"
            with_more(PATCHES, paths, series)
            yield Kernel(source="", series=str(series))
        return
    raise ConfigError(
        f"{option}: found {text!r}, allowed: ours, none, the folder of a series, a kernel tree, or "
        "patch files separated by commas"
    )


def ab(
    experiment: Plan,
    virtual: VirtualOptions,
    *,
    base: str,
    head: str,
    out_dir: str,
    gates: str,
    evidence: bool = False,
) -> None:
    """Build and run both kernels, and compare them; GateError where head is worse.

    The verdict is printed first, then what moved; both runs' own tables only with ``evidence``.
    """
    if experiment.lab.clock != "virtual":
        raise ConfigError("--lab: ab compares in virtual time, which needs an emulated lab")
    if gates:
        load_gates(gates)  # a mistake in it is to come before the runs
    with (
        kernel_of("--base", base) as one,
        kernel_of("--head", head) as other,
        new_folder(out_dir, "ab") as parent,
    ):
        runs = {"base": parent / "base", "head": parent / "head"}
        for (side, folder), kernel in zip(runs.items(), (one, other), strict=True):
            out.print(f"{side}: {base if side == 'base' else head}")
            bench(
                experiment,
                lambda kernel=kernel: build_lab(  # type: ignore[misc]
                    experiment.lab, source=kernel.source, series=kernel.series
                ),
                replace(virtual, profile=True),
                keep=False,
                out_dir=str(folder),
                table=False,
            )
    out.print()
    stored_runs.compare(
        str(runs["head"]),
        baselines=[str(runs["base"])],
        baseline_mode="",
        gates=gates,
        allow=(),
        junit="",
        html="",
        md="",
        evidence=evidence,
    )


@contextmanager
def new_folder(chosen: str, kind: str) -> Iterator[Path]:
    """Have a folder for several runs: the one that was chosen, or a new one in ``runs/``.

    It goes again where nothing came to be in it. Enter it once all options are known to make sense.
    """
    if chosen:
        folder = user_path(chosen, "--out")
        if is_there(folder):
            raise ConfigError(f"--out: {folder} exists: name a new folder for the runs")
    else:
        try:
            RUNS.mkdir(exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=RUNS))
        except OSError as exc:
            raise ConfigError(f"--out: cannot make a folder in {RUNS}: {exc.strerror}") from exc
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()
