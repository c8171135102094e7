"""Saved states of a host in virtual time, which trials start from.

The host's is saved when it is ready for a guest, the guest's when it has carried data in a mode.
"""

from __future__ import annotations

import ast
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from zclab import errors
from zclab.bench.notices import lines_of
from zclab.build.cache import Artifact, file_hash, get_or_build, key_of, prune
from zclab.build.image import BUSYBOX, INIT
from zclab.errors import LabError, ParseError, ZclabError
from zclab.lab import emulated
from zclab.lab.seed import ON_HOST, write_seed
from zclab.model import ModeName
from zclab.outside import Said, from_json, from_plain
from zclab.progress import Progress
from zclab.runs.plan import Planned
from zclab.virtualtime.lab import VirtualLab
from zclab.virtualtime.qemu import STATE, Running, running, scratch, write_initrd

PROGRAM = "zclab.virtualtime.inside"

PHASE_US = 137
"""How much later each start begins than the one before it: no multiple of a timer's period."""

RECIPE = 2
"""Counts changes here that make another state of the same inputs."""

KEPT_STATES = 8
MESSAGE = "a message of the host"
MESSAGES = "messages.json"


class _Failed(Said):
    error: str
    message: str


class _Bad(Said):
    status: str
    reason: str | None


class _Stopped(Said):
    trial: _Bad


_FAILED, _STOPPED = TypeAdapter(_Failed), TypeAdapter(_Stopped)
_MESSAGES = TypeAdapter(list[dict[str, Any]])


def host_state(virtual: VirtualLab, progress: Progress) -> Artifact:
    """Return the state of a host that is ready for a guest, made if need be."""
    code = program_files()

    def build(folder: Path) -> None:
        progress(0, None, "booting the host in virtual time, once for each kernel and image")
        make_host(virtual, code, folder)

    inputs = {"recipe": RECIPE, "machine": identity(virtual), "order": virtual.order()}
    return _state("host", inputs, build, progress)


def identity(virtual: VirtualLab) -> str:
    """Return the hash over all parts of the machine; with it, equal orders give equal figures."""
    return key_of(parts(virtual))


def parts(virtual: VirtualLab) -> dict[str, str]:
    """Return the content of all that enters the machine, but for its order, by name.

    That is kernel, images, emulator with its firmware, zclab's own code, CPU and command line.
    """
    code = {name: file_hash(path) for name, path in program_files().items()}
    return {
        **virtual.artifacts.contents,
        "experiment": key_of(code),
        "cpu_model": virtual.cpu_model,
        "command_line": key_of({"argv": virtual.command_line}),
    }


def guest_state(
    virtual: VirtualLab, host: Artifact, mode: ModeName, progress: Progress
) -> Artifact:
    """Return the state of a host with a guest that has carried data in a mode."""

    def build(folder: Path) -> None:
        progress(0, None, f"{mode}: booting a guest in virtual time, once for each mode")
        make_guest(virtual, host.path / STATE, mode, folder)

    return _state("guest", {"recipe": RECIPE, "host": host.key, "mode": mode}, build, progress)


def make_host(
    virtual: VirtualLab, code: Mapping[str, Path], folder: Path, trace: Path | None = None
) -> None:
    """Boot a host with zclab's ``code`` on it, and put its state and what it said in a folder."""
    with scratch(emulated.root()) as place:
        initrd = place / "initrd"
        _write_host(virtual, code, place, initrd)
        machine = virtual.machine(place, initrd=initrd, trace=trace)
        with running(machine, virtual.order(), virtual.stop) as host:
            _advance(host, "host", folder)


def make_guest(
    virtual: VirtualLab, host: Path, mode: ModeName, folder: Path, trace: Path | None = None
) -> None:
    """Boot a guest on a host from its state; put the new state and what was said in a folder."""
    with resumed(virtual, host, virtual.order(mode), trace=trace) as started:
        _advance(started, "guest", folder)


def order_of(virtual: VirtualLab, planned: Planned) -> str:
    """Return the order for one trial; its boot tells it from others of the same kind."""
    mode, start = planned.dimensions.mode, planned.dimensions.boot
    return virtual.order(mode, (planned,), start * PHASE_US)


def program_files(program: str = PROGRAM) -> dict[str, Path]:
    """Return the files of a module and of all of zclab that it imports, by their names."""
    top = Path(__file__).parents[2]
    files: dict[str, Path] = {}
    pending = {program}
    while pending:
        module = pending.pop()
        stem = module.replace(".", "/")
        for name in (f"{stem}.py", f"{stem}/__init__.py"):
            if name not in files and (top / name).is_file():
                files[name] = top / name
                text = (top / name).read_text(encoding="utf-8")
                pending |= _imports(text) | {module.rpartition(".")[0]}
    return dict(sorted(files.items()))


@functools.cache
def _imports(text: str) -> frozenset[str]:
    """Return the names of zclab that a module imports: modules, and what may be modules.

    A run asks some times for its machine's identity, and each time for all modules of it.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("zclab")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zclab"):
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(found)


def _write_host(virtual: VirtualLab, code: Mapping[str, Path], place: Path, initrd: Path) -> None:
    """Write everything a host in memory consists of."""
    artifacts = virtual.artifacts
    seed = place / "files.tar"
    write_seed(
        seed,
        files={
            f"{ON_HOST}/{artifacts.guest_kernel.content}/bzImage": artifacts.guest_kernel.bzimage,
            f"{ON_HOST}/{artifacts.guest_image.content}/guest.cpio.gz": artifacts.guest_image.path,
            **{f"usr/lib/zclab/python/{name}": path for name, path in code.items()},
        },
    )
    image = virtual.host.image.path
    files = {
        "bin/busybox": image.parent / BUSYBOX,
        "init": image.parent / INIT,
        "host.squashfs": image,
        "seed.tar": seed,
    }
    write_initrd(initrd, files)


@contextmanager
def resumed(
    virtual: VirtualLab,
    state: Path,
    order: str,
    *,
    counting: bool = False,
    trace: Path | None = None,
) -> Iterator[Running]:
    """Let a machine go on from a state, with its order; it ends with this."""
    with scratch(emulated.root()) as place:
        machine = virtual.machine(place, state=state, counting=counting, trace=trace)
        with running(machine, order, virtual.stop) as started:
            yield started


def _advance(host: Running, until: str, folder: Path) -> None:
    """Let a host go on until it pauses, and keep its state and what it said."""
    said = []
    for message in host.messages():
        if message["kind"] == "failed":
            raise error_of(message)
        if message["kind"] == "trial":
            trial = from_plain(_STOPPED, message, MESSAGE).trial
            if trial.status != "ok":
                raise LabError(trial.reason or f"a trial was {trial.status}, without a reason")
        said.append(message)
    failing = [line for line in host.heard() if line[1].severity == "fails"]
    if failing:
        # Trials would all start from what is wrong already.
        raise LabError(f"kernel of the {'; '.join(lines_of(tuple(failing)))}")
    if said[-1].get("at") != until:
        raise LabError(f"the host ended before the {until} was ready")
    host.save(folder / STATE)
    (folder / MESSAGES).write_text(json.dumps(said[:-1], indent=1))
    (folder / "console.log").write_bytes((host.folder / "console.log").read_bytes())


def _state(
    kind: str,
    inputs: dict[str, Any],
    build: Callable[[Path], None],
    progress: Progress,
) -> Artifact:
    artifact = get_or_build(f"{kind}-state", inputs, build, progress=progress)
    if not artifact.cached:
        prune(f"{kind}-state", keep=KEPT_STATES)
    return artifact


def said(state: Path, kind: str) -> dict[str, Any]:
    """Return what a host said on its way to a state."""
    remedy = f"run `invoke clean --kind={state.parent.name}`; zclab makes it again"
    try:
        messages = from_json(_MESSAGES, (state / MESSAGES).read_bytes(), str(state / MESSAGES))
    except (OSError, ParseError) as exc:
        raise LabError(f"{exc}; {remedy}") from exc
    for message in messages:
        if message.pop("kind", None) == kind:
            return message
    raise LabError(f"{state}: no {kind} in it; {remedy}")


def error_of(message: dict[str, Any]) -> ZclabError:
    """Return the error that ended the experiment on the host."""
    failed = from_plain(_FAILED, message, MESSAGE)
    kind = getattr(errors, failed.error, None)
    if isinstance(kind, type) and issubclass(kind, ZclabError):
        return kind(failed.message)
    return LabError(failed.message)
