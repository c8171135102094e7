"""Runs in virtual time: states that trials start from, and trials that all start afresh.

A trial starts from the saved state of a host with a guest in a mode, does its one workload, and is
gone: what else a run has in its plan, and in which order or on which core it runs, changes no
figure.
"""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from zclab import errors
from zclab.bench.accounts import counted, with_exact
from zclab.bench.plan import Order, Planned
from zclab.build.cache import Artifact, file_hash, get_or_build, key_of, prune
from zclab.build.image import BUSYBOX, RECIPES
from zclab.build.plugin import plugin_option
from zclab.errors import KernelReportError, LabError, ZclabError
from zclab.host.cpu import Roles
from zclab.lab import emulated
from zclab.lab.artifacts import Artifacts, EmulatedHost
from zclab.lab.machine import Hardware
from zclab.lab.seed import ON_HOST, write_seed
from zclab.lab.virtual import (
    STATE,
    Running,
    VirtualMachine,
    running,
    scratch,
    write_initrd,
)
from zclab.model import Emulator, Lab, ModeName, Switch
from zclab.profile import Symbols
from zclab.profiles import accounts_name, profile_name
from zclab.progress import Progress
from zclab.results import Provenance, Sample, Trial

ACCOUNTS = "accounts.jsonl"
PROGRAM = "zclab.bench.inside"
NAME = "virtual"
"""What the lab is called inside: a name of the user's would change the host's memory."""

RECIPE = 2
"""Counts changes here that make another state of the same inputs."""

CopyBytes = Literal[8, 1]
COPY_BYTES: tuple[CopyBytes, ...] = get_args(CopyBytes)
"""How many bytes a copying instruction moves: ``rep movsq``, or ``rep movsb`` with ERMS."""

KEPT_STATES = 8
PHASE_US = 137
"""How much later each start begins than the one before it: no multiple of a timer's period."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one trial."""

    trial: Trial
    samples: tuple[Sample, ...]
    raw: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class VirtualOptions:
    """What can be chosen of a run in virtual time; ``jobs`` trials run side by side."""

    jobs: int = 1
    profile: bool = False
    copy_bytes: CopyBytes = 8


@dataclass(frozen=True, kw_only=True)
class VirtualLab:
    """A lab in virtual time: what it is made of, and what all its trials have in common."""

    lab: Lab
    artifacts: Artifacts
    host: EmulatedHost
    settings: Emulator
    mtu: int
    offloads: Switch
    copy_bytes: CopyBytes
    profile: bool
    stop: threading.Event
    """Set by whoever ends a run: its machines are each waited for by a thread of their own."""

    @classmethod
    def of(
        cls, lab: Lab, artifacts: Artifacts, options: VirtualOptions, *, mtu: int, offloads: Switch
    ) -> VirtualLab:
        """Return the lab in virtual time; raises LabError for one that is not emulated."""
        if lab.emulator is None or artifacts.host is None:
            raise LabError(f"{lab.name}: virtual time needs an emulated lab")
        return cls(
            lab=lab.model_copy(update={"name": NAME}),
            artifacts=artifacts,
            host=artifacts.host,
            settings=lab.emulator,
            mtu=mtu,
            offloads=offloads,
            copy_bytes=options.copy_bytes,
            profile=options.profile,
            stop=threading.Event(),
        )

    def order(
        self, mode: ModeName | None = None, trials: tuple[Planned, ...] = (), phase_us: int = 0
    ) -> str:
        """Return the order for the next part of the experiment."""
        return Order(
            lab=self.lab,
            kernel_key=self.artifacts.guest_kernel.key,
            image_key=self.artifacts.guest_image.key,
            mtu=self.mtu,
            offloads=self.offloads,
            mode=mode,
            trials=trials,
            phase_us=phase_us,
        ).model_dump_json()

    def machine(
        self,
        folder: Path,
        *,
        initrd: Path | None = None,
        state: Path | None = None,
        counting: bool = False,
    ) -> VirtualMachine:
        """Return the machine with its files in ``folder``, from an ``initrd`` or a ``state``."""
        kernel = self.artifacts.kernel
        plugin = plugin_option(
            self.host.plugin.path,
            out=folder / ACCOUNTS,
            system_map=kernel.system_map,
            task_offsets=kernel.task_offsets,
            profile=self.profile,
        )
        return VirtualMachine(
            hardware=Hardware(
                name=folder.name,
                folder=folder,
                emulator=self.host.emulator.binary,
                firmware=self.host.emulator.firmware_dirs,
                kernel=self.artifacts.kernel.bzimage,
                settings=self.settings,
            ),
            cpu_model=self.cpu_model,
            initrd=initrd,
            state=state,
            plugins=(plugin,) if counting else (),
        )

    @property
    def cpu_model(self) -> str:
        """QEMU's CPU model, which decides what copies cost (see docs/cost-model.md)."""
        model = self.settings.cpu_model
        return f"{model},-erms,-fsrm" if self.copy_bytes == COPY_BYTES[0] else model


def host_state(virtual: VirtualLab, progress: Progress) -> Artifact:
    """Return the state of a host that is ready for a guest, made if need be."""
    code = program_files()

    def build(folder: Path) -> None:
        progress(0, None, "booting the host in virtual time, once for each kernel and image")
        with scratch(emulated.root()) as place:
            initrd = place / "initrd"
            _write_host(virtual, code, place, initrd)
            machine = virtual.machine(place, initrd=initrd)
            with running(machine, virtual.order(), virtual.stop) as host:
                _advance(host, "host", folder)

    inputs = {
        "recipe": RECIPE,
        "artifacts": virtual.artifacts.keys,
        "code": {name: file_hash(path) for name, path in code.items()},
        "cpu_model": virtual.cpu_model,
        "order": virtual.order(),
    }
    return _state("host", inputs, build, progress)


def guest_state(
    virtual: VirtualLab, host: Artifact, mode: ModeName, progress: Progress
) -> Artifact:
    """Return the state of a host with a guest that has carried data in a mode."""

    def build(folder: Path) -> None:
        progress(0, None, f"{mode}: booting a guest in virtual time, once for each mode")
        with _resumed(virtual, host, virtual.order(mode)) as resumed:
            _advance(resumed, "guest", folder)

    return _state("guest", {"recipe": RECIPE, "host": host.key, "mode": mode}, build, progress)


def run_trial(virtual: VirtualLab, state: Artifact, planned: Planned) -> Outcome:
    """Run one trial from a guest's state; its boot tells it from others of the same kind.

    One that the host cannot bring to an end is a failed one; KernelReportError goes through.
    """
    start = planned.dimensions.boot
    order = virtual.order(planned.dimensions.mode, (planned,), start * PHASE_US)
    raw: list[tuple[str, str]] = []
    try:
        with _resumed(virtual, state, order, counting=True) as resumed:
            for message in resumed.messages():
                match message["kind"]:
                    case "trial":
                        text = (resumed.folder / ACCOUNTS).read_text()
                        outcome = _outcome(virtual, state, planned, message, text)
                        return replace(outcome, raw=(*raw, *outcome.raw))
                    case "raw":
                        raw.append((message["name"], message["text"]))
                    case "failed":
                        raise _error(message)
        raise LabError("the host came to its end without a result")
    except KernelReportError:
        raise
    except ZclabError as exc:
        trial = Trial(**dict(planned.dimensions), status="failed", reason=str(exc))
        return Outcome(trial=trial, samples=(), raw=tuple(raw))


def run_trials(
    virtual: VirtualLab,
    trials: Sequence[Planned],
    progress: Progress,
    *,
    jobs: int,
    on_provenance: Callable[[Provenance], None],
) -> Iterator[Outcome]:
    """Run trials, ``jobs`` of them side by side, and yield what came of each in their order."""
    host = host_state(virtual, progress)
    on_provenance(_provenance(virtual, host))
    modes = tuple(dict.fromkeys(planned.dimensions.mode for planned in trials))
    with ThreadPoolExecutor(jobs) as pool:
        try:
            made = pool.map(lambda mode: guest_state(virtual, host, mode, progress), modes)
            states = dict(zip(modes, made, strict=True))
            progress(0, len(trials), f"{jobs} side by side")
            outcomes = pool.map(
                lambda planned: run_trial(virtual, states[planned.dimensions.mode], planned),
                trials,
            )
            for done, outcome in enumerate(outcomes, start=1):
                trial = outcome.trial
                words = (f"{trial.mode}:", trial.workload, trial.direction, f"start {trial.boot}")
                progress(done, len(trials), " ".join(word for word in words if word))
                yield outcome
        except BaseException:
            virtual.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _outcome(
    virtual: VirtualLab,
    state: Artifact,
    planned: Planned,
    message: dict[str, Any],
    accounts: str,
) -> Outcome:
    """Put together what the host says of a trial and what the plugin counted."""
    trial = Trial.model_validate(message["trial"])
    measured = tuple(map(Sample.model_validate, message["samples"]))
    if trial.status != "ok":
        return Outcome(trial=trial, samples=(), raw=())
    roles = Roles(**_said(state, "roles"))
    exact = counted(accounts, planned.workload, trial, roles)
    files = [(accounts_name(trial), exact.window.model_dump_json())]
    if virtual.profile:
        symbols = Symbols(virtual.artifacts.kernel.system_map.read_text())
        files.append((profile_name(trial), exact.profile_table(symbols)))
    trial, measured = with_exact(trial, measured, exact)
    return Outcome(trial=trial, samples=measured, raw=tuple(files))


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
                pending |= {*_imports(top / name), module.rpartition(".")[0]}
    return dict(sorted(files.items()))


def _imports(path: Path) -> Iterator[str]:
    """Yield the names of zclab that a module imports: modules, and what may be modules."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("zclab"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zclab"):
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _write_host(virtual: VirtualLab, code: dict[str, Path], place: Path, initrd: Path) -> None:
    """Write everything a host in memory consists of."""
    artifacts = virtual.artifacts
    seed = place / "files.tar"
    write_seed(
        seed,
        files={
            f"{ON_HOST}/{artifacts.guest_kernel.key}/bzImage": artifacts.guest_kernel.bzimage,
            f"{ON_HOST}/{artifacts.guest_image.key}/guest.cpio.gz": artifacts.guest_image.path,
            **{f"usr/lib/zclab/python/{name}": path for name, path in code.items()},
        },
    )
    image = virtual.host.image.path
    files = {
        "bin/busybox": image.parent / BUSYBOX,
        "init": RECIPES / "host" / "initramfs" / "init",
        "host.squashfs": image,
        "seed.tar": seed,
    }
    write_initrd(initrd, files)


@contextmanager
def _resumed(
    virtual: VirtualLab, state: Artifact, order: str, *, counting: bool = False
) -> Iterator[Running]:
    with scratch(emulated.root()) as place:
        machine = virtual.machine(place, state=state.path / STATE, counting=counting)
        with running(machine, order, virtual.stop) as resumed:
            yield resumed


def _advance(host: Running, until: str, folder: Path) -> None:
    """Let a host go on until it pauses, and keep its state and what it said."""
    said = []
    for message in host.messages():
        if message["kind"] == "failed":
            raise _error(message)
        if message["kind"] == "trial" and message["trial"]["status"] != "ok":
            raise LabError(message["trial"]["reason"])
        said.append(message)
    if said[-1].get("at") != until:
        raise LabError(f"the host came to its end before the {until} was ready")
    host.save(folder / STATE)
    (folder / "messages.json").write_text(json.dumps(said[:-1], indent=1))
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


def _provenance(virtual: VirtualLab, host: Artifact) -> Provenance:
    """Return what a host said of itself, with what only the emulator knows."""
    seen = Provenance.model_validate(_said(host, "provenance"))
    code = key_of({name: file_hash(path) for name, path in program_files().items()})
    return seen.model_copy(
        update={"cpu_model": virtual.cpu_model, "artifacts": {"experiment": code}}
    )


def _said(state: Artifact, kind: str) -> dict[str, Any]:
    """Return what a host said on its way to a state."""
    for message in json.loads((state.path / "messages.json").read_text()):
        if message.pop("kind") == kind:
            return dict(message)
    raise LabError(f"{state.path}: no {kind} in it; `invoke clean --kind={state.kind}`")


def _error(message: dict[str, Any]) -> ZclabError:
    """Return the error that ended the experiment on the host."""
    kind: type[ZclabError] = getattr(errors, message["error"], LabError)
    return kind(message["message"])
