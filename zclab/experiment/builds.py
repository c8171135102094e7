"""What a lab is made of, as options say it: built, or taken from a bundle."""

from __future__ import annotations

from pathlib import Path

from zclab.build import kernel as kernel_build
from zclab.build.progress import shown
from zclab.build.unbundle import unpacked
from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import LabError
from zclab.experiment import bundles
from zclab.host.finding import failed, render
from zclab.lab import emulated, lifecycle
from zclab.lab.artifacts import Artifacts, build_all
from zclab.model import Lab
from zclab.options import user_path


def load(lab: str, *, name: str = "", nic: str = "", clock: str = "") -> Lab:
    """Return the lab of the options ``--lab``, ``--name``, ``--nic`` and ``--clock``."""
    return with_overrides(load_lab(lab, name=name or None), nic=nic or None, clock=clock or None)


def build_lab(
    lab: Lab, *, source: str = "", series: str = "", debug: bool = False, bundle: str = ""
) -> Artifacts:
    """Build whatever a lab is made of and does not exist yet; a host that lacks something first.

    A ``bundle`` has all of it; what it knows is known here from then on.
    """
    emulated.folder_of(lab.name)  # before anything is built for a lab that has no place
    if bundle:
        return from_bundle(Path(bundle))
    if lab.host:
        require(lab)
    return build_all(
        emulated=lab.emulator is not None,
        source=source_folder(source),
        series=series_folder(series, kernel_build.PATCHES),
        variant=variant_of(debug=debug),
    )


def from_bundle(file: Path) -> Artifacts:
    """Return the artifacts of a bundle, after the cache has taken all that is in it."""
    with shown("bundle") as progress:
        bundle = unpacked(file, progress)
    bundles.check_known(bundle, bundles.take(bundle))
    return bundles.artifacts_of(bundle)


def require(lab: Lab) -> None:
    """Raise LabError with all that the hosts of an ssh lab lack; nothing is built for nothing."""
    findings = lifecycle.requirements_of(lab)
    if failed(findings):
        lacking = render([finding for finding in findings if finding.status == "fail"])
        raise LabError(f"the lab's hosts lack something:\n{lacking}")


def series_folder(text: str, default: Path) -> Path | None:
    """Return the folder of a ``--series`` option: a folder, ``none``, or nothing for ours."""
    if not text:
        return default
    return None if text == "none" else user_path(text, "--series")


def source_folder(text: str) -> Path | None:
    """Return the folder of a ``--source`` option, None for Debian's source."""
    return user_path(text, "--source") if text else None


def variant_of(*, debug: bool) -> kernel_build.Variant:
    """Return the variant of a kernel that ``--debug`` asks for."""
    return "debug" if debug else "default"
