"""What the tasks of tasks.py do, as functions: they show progress, and raise ZclabError.

Nothing below imports this module; it is where the layers meet.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, ParamSpec, cast

from invoke.exceptions import Exit
from rich.console import Console

from zclab import bundles, checks
from zclab import doctor as diagnosis
from zclab.build import cache
from zclab.build import clean as cleaning
from zclab.build import emulator as emulator_build
from zclab.build import kernel as kernel_build
from zclab.build.image import build_guest_image, build_host_image
from zclab.build.progress import shown
from zclab.build.unbundle import unpacked
from zclab.cli import check_range
from zclab.config import load_lab, with_overrides
from zclab.errors import INTERRUPTED, ConfigError, LabError, ZclabError
from zclab.host.finding import Finding, failed, render
from zclab.lab import emulated, lifecycle
from zclab.lab.artifacts import Artifacts, build_all
from zclab.lab.lifecycle import down, up
from zclab.lab.ssh_config import GUEST
from zclab.model import Lab
from zclab.output import Stream
from zclab.outside import printable
from zclab.paths import user_path
from zclab.units import format_bytes

Parameters = ParamSpec("Parameters")

# A path or the title of a commit may have [brackets] in it, which are to be printed as they are.
_STDOUT = cast("IO[str]", Stream())
out = Console(file=_STDOUT, markup=False, emoji=False)
if not out.is_terminal:
    # What the tables are made for; a pipe has no width of its own.
    out = Console(file=_STDOUT, width=100, markup=False, emoji=False)


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM, which a CI system sends to cancel a job, end what runs as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def explained(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn errors that zclab can explain into a message and an exit status; bugs stay bugs."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            with terminable():
                command(*args, **kwargs)
        except ZclabError as exc:
            raise Exit(printable(f"error: {exc}"), code=exc.exit_status) from exc
        except KeyboardInterrupt as exc:
            raise Exit("interrupted", code=INTERRUPTED) from exc

    return wrapper


def reject_beside(
    option: str,
    task: Callable[..., None],
    values: Mapping[str, object],
    *,
    allow: Collection[str] = (),
) -> None:
    """Raise ConfigError for options of a task that were given beside one they do not go with.

    ``values`` are its arguments; one that is empty, or its parameter's default, was not given.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name, parameter in inspect.signature(task).parameters.items()
        if name not in {option, *allow} and not name.startswith("_")
        if values[name] not in ([], parameter.default)
    ]
    if given:
        raise ConfigError(
            f"--{option}: does not go with {', '.join(given)}, which the run itself says; leave "
            "that out"
        )


def series_folder(text: str, default: Path) -> Path | None:
    """Return the folder of a ``--series`` option: a folder, ``none``, or nothing for ours."""
    if not text:
        return default
    return None if text == "none" else user_path(text, "--series")


def source_folder(text: str) -> Path | None:
    """Return the folder of a ``--source`` option, None for Debian's source."""
    return user_path(text, "--source") if text else None


def kernel(*, source: str, series: str, debug: bool, update: bool) -> None:
    """Build a kernel and say where it is."""
    with shown("kernel") as progress:
        built = kernel_build.build_kernel(
            source=source_folder(source),
            series=series_folder(series, kernel_build.PATCHES),
            variant=_variant(debug=debug),
            update=update,
            progress=progress,
        )
    out.print(f"kernel {built.version} ({built.base}, {built.content[:12]}): {built.bzimage}")


def emulator(*, series: str, update: bool) -> None:
    """Build the emulator and say where it is."""
    with shown("emulator") as progress:
        built = emulator_build.build_emulator(
            series=series_folder(series, emulator_build.PATCHES), update=update, progress=progress
        )
    out.print(f"emulator {built.version} ({built.base}, {built.content[:12]}): {built.binary}")


def images(*, update: bool) -> None:
    """Build both images and say where they are."""
    with shown("host image") as progress:
        host = build_host_image(update=update, progress=progress)
    with shown("guest image") as progress:
        guest = build_guest_image(update=update, progress=progress)
    for name, image in (("host", host), ("guest", guest)):
        size = format_bytes(image.path.stat().st_size)
        out.print(f"{name} image ({size}, {len(image.packages)} packages): {image.path}")


def load(lab: str, *, name: str = "", nic: str = "", clock: str = "") -> Lab:
    """Return the lab of the options ``--lab``, ``--name``, ``--nic`` and ``--clock``."""
    return with_overrides(load_lab(lab, name=name or None), nic=nic or None, clock=clock or None)


def lab_up(lab: Lab, artifacts: Artifacts) -> None:
    """Bring a lab up to stay."""
    with shown(f"lab {lab.name}") as progress:
        access = up(lab, artifacts, with_me=False, progress=progress)
    way = shlex.join((f"{access.folder}/ssh", lab.host.address if lab.host else "host"))
    out.print(f"lab {lab.name} is up: `invoke lab-ssh`, or {way} by hand")


def lab_down(lab: Lab) -> None:
    """End a lab."""
    out.print(f"lab {lab.name} {'is down' if down(lab) else 'was not up'}")


def lab_status() -> None:
    """Say which emulated labs are up, and which left something behind."""
    names = emulated.names()
    for name in names:
        if found := emulated.find(name):
            kernel = found.contents["kernel"][:12]
            out.print(f"{name}: up, SSH on 127.0.0.1:{found.port}, kernel {kernel}")
        else:
            out.print(f"{name}: remains of an interrupted start; `invoke lab-down` clears them")
    if not names:
        out.print("no emulated lab is up")


def lab_ssh(lab: Lab, command: str, *, guest: bool) -> None:
    """Become ssh to the host or guest of a lab that is up."""
    config = emulated.folder_of(lab.name) / "ssh_config"
    if not config.exists():
        raise LabError(f"lab {lab.name} is not up; `invoke lab-up` brings it up")
    host = lab.host.address if lab.host else "host"
    argv = ssh_argv(config.parent, GUEST if guest else host, command)
    os.execv(argv[0], argv)  # noqa: S606 - the terminal belongs to ssh now


def ssh_argv(folder: Path, destination: str, command: str) -> tuple[str, ...]:
    """Return the ssh that logs in, or runs a command: one word, which the far shell gets as typed.

    ssh takes options behind the host, too; ``--`` ends them.
    """
    argv = (str(folder / "ssh"), destination)
    return (*argv, "--", command) if command else argv


def lab_console(lab: Lab) -> None:
    """Show what the host's console has printed, then follow it."""
    console = emulated.folder_of(lab.name) / "console.log"
    if not console.exists():
        raise LabError(f"lab {lab.name} has no console log; it was never up")
    argv = ["tail", "-n", "+1", *(["-f"] if emulated.find(lab.name) else []), str(console)]
    os.execvp(argv[0], argv)  # noqa: S606 - as above


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
        variant=_variant(debug=debug),
    )


def from_bundle(file: Path) -> Artifacts:
    """Return the artifacts of a bundle, after the cache has taken all that is in it."""
    with shown("bundle") as progress:
        bundle = unpacked(file, progress)
    bundles.check_known(bundle, bundles.take(bundle))
    return bundles.artifacts_of(bundle)


def check() -> None:
    """Run the gates; the kernel's own checkpatch comes with its source."""
    with shown("kernel source") as progress:
        tree = kernel_build.debian_tree(progress=progress)
    checks.check(checkpatch=tree / "scripts" / "checkpatch.pl", say=_say)


def doctor(lab: Lab | None = None) -> None:
    """Say whether this machine can do the job, and a lab's hosts, and fail where they cannot."""
    emulator = kernel = None
    with suppress(ConfigError):  # a cache that cannot be one is a finding
        emulator = cache.newest("emulator", "qemu-system-x86_64")
        kernel = cache.newest("kernel", "bzImage")
    findings = diagnosis.diagnose(emulator=emulator, kernel=kernel)
    if lab:
        findings += _of_hosts(lab)
    _say(render(findings))
    if failed(findings):
        who = "this machine or a host of the lab" if lab else "this machine"
        raise LabError(f"{who} lacks something; what to do stands behind each FAIL")


def _of_hosts(lab: Lab) -> tuple[Finding, ...]:
    """Return the findings about a lab's hosts, of which one that cannot be asked is one."""
    try:
        return lifecycle.requirements_of(lab)
    except ZclabError as exc:
        return (Finding(status="fail", name=f"lab {lab.name}", detail=str(exc)),)


def require(lab: Lab) -> None:
    """Raise LabError with all that the hosts of an ssh lab lack; nothing is built for nothing."""
    findings = lifecycle.requirements_of(lab)
    if failed(findings):
        lacking = render([finding for finding in findings if finding.status == "fail"])
        raise LabError(f"the lab's hosts lack something:\n{lacking}")


def clean(kind: str, *, older_than: int) -> None:
    """Remove what has a name of the list, with ``all`` everything; then show what there is."""
    check_range("--older-than", older_than, 0, 36500)
    if kind:
        cleaned = cleaning.clean(kind, older_than_days=older_than)
        _say(f"freed {format_bytes(cleaned.freed)}")
        for line in cleaned.left:
            _say(f"left {line}")
    for entry in cleaning.listed(older_than_days=0 if kind else older_than):
        what = f"a link to {entry.link}" if entry.link else f"{entry.days} days"
        _say(f"{format_bytes(entry.disk_bytes):>10}  {what:>9}  {entry.name}")
    if not kind:
        _say(
            f"in {cache.cache_dir()}, by when it was last wanted; `invoke clean --kind=NAME` "
            "removes one, work all work trees, all everything"
        )


def _say(text: str) -> None:
    out.print(printable(text), highlight=False, markup=False)


def _variant(*, debug: bool) -> kernel_build.Variant:
    return "debug" if debug else "default"
