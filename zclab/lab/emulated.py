"""The emulated lab: up, down, and the traces it keeps on disk.

Everything of a lab called NAME is in one folder, $ZCLAB_STATE/NAME (by default in
~/.local/state/zclab): keys, seed, sockets, console logs. A lab is up when its emulator runs and
the file ``ready`` says that it was up once; anything less is what an interrupted start left
behind, and the next ``lab-up`` or ``lab-down`` clears it away. The second of two hosts has a folder
in that one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from zclab.build.cache import cache_dir, key_of
from zclab.build.emulator import EmulatorArtifact
from zclab.build.kernel import KernelArtifact
from zclab.errors import CommandError, ConfigError, LabError
from zclab.host.kvm import try_kvm
from zclab.lab import machine
from zclab.lab.access import Access, share_guest_keys, write_access, write_private
from zclab.lab.artifacts import Artifacts
from zclab.lab.keys import KeyPair
from zclab.lab.machine import Hardware, Joined, Machine
from zclab.lab.seed import ON_HOST, HostKeys, write_seed
from zclab.logs import last_lines
from zclab.model import Emulator, Endpoint, Lab, Value
from zclab.options import usable_folder, user_path
from zclab.progress import Progress
from zclab.runner import wait_until

SSH_DEADLINE_S = 180
"""From power-on to sshd's banner: about 5 s on an idle machine, but machines differ."""

SOCKET_PATH_BYTES = 107
"""What fits into sun_path of sockaddr_un, see unix(7), before the NUL that ends it."""

SECOND = "second"
"""The folder of a second host."""

_SOCKET = "console.sock"
_SCRATCH = "virtual-01234567"
"""The longest names of a lab's sockets, and of a folder of a virtual machine."""

_KEPT = {"lock", "console.log", "emulator.log", machine.DEBUG_LOG}
"""What stays of a host that is gone."""

CAPABILITIES = "/var/cache/libvirt/qemu/capabilities"


class Up(Value):
    """A running emulated lab, and how to get in; this is the content of ``ready``."""

    name: str
    port: int
    contents: dict[str, str]
    command_line: str
    second_port: int | None = None

    @property
    def folder(self) -> Path:
        """Where the lab keeps its files."""
        return folder_of(self.name)

    @property
    def access(self) -> Access:
        """The way in."""
        return Access(folder=self.folder, endpoint=_endpoint(self.folder, self.port))

    @property
    def second_access(self) -> Access | None:
        """The way into the second host, where there is one."""
        if self.second_port is None:
            return None
        folder = second_folder(self.folder)
        return Access(folder=folder, endpoint=_endpoint(folder, self.second_port))

    @property
    def console(self) -> Path:
        """Where everything that the host's console printed is kept."""
        return self.folder / "console.log"


def root() -> Path:
    """Return the folder that all labs have their folders in.

    Raises ConfigError for one that they cannot work in.
    """
    if chosen := os.environ.get("ZCLAB_STATE"):
        folder = user_path(chosen, "ZCLAB_STATE").absolute()
    else:
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        folder = user_path(base, "XDG_STATE_HOME").absolute() / "zclab"
    _check_sockets(folder / _SCRATCH)
    return usable_folder(folder, "ZCLAB_STATE")


def folder_of(name: str) -> Path:
    """Return the folder of the lab called ``name``, whether or not it exists."""
    folder = root() / name
    _check_sockets(folder)
    return folder


def second_folder(folder: Path) -> Path:
    """Return where the second of two hosts has its files, in the lab's folder."""
    return folder / SECOND


def folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders of all hosts that the lab in ``folder`` has, or left something of."""
    second = second_folder(folder)
    return (folder, second) if (second / "seed.tar").exists() else (folder,)


def _check_sockets(folder: Path) -> None:
    """Raise ConfigError for a folder whose sockets the kernel would refuse."""
    length = len(os.fsencode(folder / _SOCKET))
    if length > SOCKET_PATH_BYTES:
        raise ConfigError(
            f"{folder / _SOCKET}: the path has {length} bytes; a Unix socket's path has at "
            f"most {SOCKET_PATH_BYTES}; set ZCLAB_STATE to a folder with a shorter path, or give "
            "the lab a shorter --name"
        )


def up(lab: Lab, artifacts: Artifacts, *, with_me: bool, progress: Progress) -> Up:
    """Bring a lab up, or return it as it is where it is up already from equal artifacts.

    ``with_me`` ties it to this process: a run's own lab goes with the run, whatever ends that.
    Raises LabError with the last lines of the console where the host does not come up.
    """
    folder = folder_of(lab.name)
    if lab.second:
        _check_sockets(second_folder(folder))
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    if any(folder.iterdir()) and not _is_ours(folder):
        raise LabError(
            f"{folder}: not the folder of a lab; give the lab another --name, or set ZCLAB_STATE "
            "to another folder"
        )
    with locked(folder):
        if found := find(lab.name):
            if found.contents != artifacts.contents:
                changed = ", ".join(
                    k for k, hashed in artifacts.contents.items() if found.contents.get(k) != hashed
                )
                msg = f"lab {lab.name} is up with another {changed}; end it with `invoke lab-down`"
                raise LabError(msg)
            if (found.second_port is None) != (lab.second is None):
                has = "two hosts" if found.second_port else "one host"
                msg = f"lab {lab.name} is up with {has}; end it with `invoke lab-down`"
                raise LabError(msg)
            return found
        _clear(folder)
        try:
            return _start(lab, artifacts, folder, with_me=with_me, progress=progress)
        except CommandError as exc:
            words = "\n".join(map(_last_words, folders(folder)))
            raise LabError(f"lab {lab.name} did not come up: {exc}\n{words}") from exc
        finally:
            if not (folder / "ready").exists():
                _kill(folder)


def down(name: str) -> bool:
    """End a lab, leaving only its logs; tell whether there was anything to end."""
    folder = folder_of(name)
    if not _is_ours(folder):
        return False
    with locked(folder):
        there = any(map(machine.processes, folders(folder))) or (folder / "seed.tar").exists()
        _clear(folder)
    return there


def find(name: str) -> Up | None:
    """Return the lab if it is up: all of its hosts are."""
    folder = folder_of(name)
    ready = folder / "ready"
    if not ready.exists() or not all(map(machine.processes, folders(folder))):
        return None
    try:
        return Up.model_validate_json(ready.read_bytes())
    except ValidationError:
        return None  # damaged, or of another version of zclab: to be cleared away


def check_alive(name: str) -> None:
    """Raise LabError, with the last words of console and emulator, where a lab ended by itself."""
    lab = folder_of(name)
    if not (lab / "ready").exists():
        return
    for folder in folders(lab):
        if machine.processes(folder):
            continue
        said = folder / "emulator.log"
        words = said.read_text(errors="replace").strip() if said.exists() else "(it is gone)"
        log = folder / machine.DEBUG_LOG
        which = "emulated host" if folder == lab else "second emulated host"
        msg = f"the {which} of lab {name} ended by itself; its CPUs: {log}"
        raise LabError(f"{msg}\n{_last_words(folder)}\nand of the emulator:\n  {words}")


def names() -> list[str]:
    """Return the names of all labs that are up or left something to clear away."""
    return sorted(path.parent.name for path in root().glob("*/seed.tar"))


def keep_capabilities(settings: Emulator, artifacts: Artifacts, files: Mapping[str, str]) -> None:
    """Keep what the host's libvirt found out about its QEMU, for the next start of an equal host.

    libvirt starts QEMU several times to learn what it can do, which takes 10 s of emulation; it
    checks for itself whether the record still holds.
    """
    folder = _capabilities(settings, artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        replace(folder / name, text)


def has_capabilities(settings: Emulator, artifacts: Artifacts) -> bool:
    """Tell whether there is a record for this host already."""
    return _capabilities(settings, artifacts).is_dir()


def _start(
    lab: Lab, artifacts: Artifacts, folder: Path, *, with_me: bool, progress: Progress
) -> Up:
    progress(0, None, "starting the emulated host" + ("s" if lab.second else ""))
    if lab.second:
        second = second_folder(folder)
        second.mkdir(mode=0o700, exist_ok=True)
        with machine.joined() as (one, other):
            hosts = [_power_on(lab, artifacts, folder, one, with_me=with_me)]
            share_guest_keys(folder, second)
            hosts.append(_power_on(lab, artifacts, second, other, with_me=with_me))
    else:
        hosts = [_power_on(lab, artifacts, folder, None, with_me=with_me)]
    for at, host in enumerate(hosts):
        whose = f"SSH server of host {at + 1}" if lab.second else "host's SSH server"
        progress(0, None, f"waiting for the {whose}")
        host.wait_for_ssh()
    started = Up(
        name=lab.name,
        port=hosts[0].port,
        contents=artifacts.contents,
        command_line=" ".join(hosts[0].argv),
        second_port=hosts[1].port if lab.second else None,
    )
    replace(folder / "ready", started.model_dump_json(indent=2))
    return started


@dataclass(frozen=True, kw_only=True)
class _PoweredOn:
    """A host whose QEMU runs, and whose SSH server will answer on a port of this machine."""

    process: subprocess.Popen[bytes]
    argv: tuple[str, ...]
    port: int

    def wait_for_ssh(self) -> None:
        """Wait until its SSH server answers; CommandError where it does not."""
        wait_until(
            lambda: _ssh_answers(self.port) or self.process.poll() is not None,
            what="the host's SSH server to answer",
            deadline_s=SSH_DEADLINE_S,
        )
        if self.process.poll() is not None:
            raise CommandError(f"the emulator ended with status {self.process.returncode}")


def _power_on(
    lab: Lab, artifacts: Artifacts, folder: Path, joined: Joined | None, *, with_me: bool
) -> _PoweredOn:
    """Start a host with its files in ``folder``; ``joined`` is its way to the other one."""
    if lab.emulator is None or artifacts.host is None:
        raise LabError(f"{lab.name} is not an emulated lab")
    user, host = KeyPair.generate(), KeyPair.generate()
    write_private(folder / "id_ed25519", user.openssh)
    capabilities = _capabilities(lab.emulator, artifacts)
    write_seed(
        folder / "seed.tar",
        keys=HostKeys(user=user, host=host),
        files={
            f"{ON_HOST}/{artifacts.guest_kernel.content}/bzImage": artifacts.guest_kernel.bzimage,
            f"{ON_HOST}/{artifacts.guest_image.content}/guest.cpio.gz": artifacts.guest_image.path,
            **{f"{CAPABILITIES}/{path.name}": path for path in sorted(capabilities.glob("*.xml"))},
        },
    )
    argv = Machine(
        hardware=Hardware(
            name=f"{lab.name}-2" if joined and joined.place == "second" else lab.name,
            folder=folder,
            emulator=artifacts.host.emulator.binary,
            firmware=artifacts.host.emulator.firmware_dirs,
            kernel=artifacts.kernel.bzimage,
            settings=lab.emulator,
            joined=joined,
        ),
        image=artifacts.host.image.path,
        seed=folder / "seed.tar",
        accelerator=_accelerator(lab.emulator, artifacts.host.emulator, artifacts.kernel),
    ).argv
    descriptors = joined.descriptors if joined else ()
    process = machine.start(argv, folder, with_me=with_me, descriptors=descriptors)
    port = machine.forwarded_port(folder)
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host.public}\n")
    write_access(folder, _endpoint(folder, port))
    return _PoweredOn(process=process, argv=argv, port=port)


def _endpoint(folder: Path, port: int) -> Endpoint:
    return Endpoint(
        address="127.0.0.1",
        port=port,
        identity_file=str(folder / "id_ed25519"),
        known_hosts_file=str(folder / "known_hosts"),
    )


def _accelerator(settings: Emulator, emulator: EmulatorArtifact, kernel: KernelArtifact) -> str:
    if settings.accelerator == "tcg":
        return "tcg"
    kvm = try_kvm(emulator.binary, kernel.bzimage, firmware=emulator.firmware_dirs)
    if not kvm.usable and settings.accelerator == "kvm":
        raise LabError(f"{kvm.reason}; set emulator.accelerator to tcg in the lab file")
    return "kvm" if kvm.usable else "tcg"


def _capabilities(settings: Emulator, artifacts: Artifacts) -> Path:
    inputs = {"artifacts": artifacts.contents, "settings": settings.model_dump()}
    return cache_dir() / "capabilities" / key_of(inputs)


def _ssh_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Tell whether a folder is a lab's, which can be cleared: none is without its lock."""
    return (folder / "lock").is_file() and not folder.is_symlink()


def _clear(folder: Path) -> None:
    """End a lab's emulator and remove its files, except what tells of its last life."""
    _kill(folder)
    second = second_folder(folder)
    for one in (folder, *([second] if second.is_dir() else [])):
        for path in one.iterdir():
            if path.name in _KEPT or path == second:
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _kill(folder: Path) -> None:
    """End the emulators of all hosts of a lab."""
    for one in folders(folder):
        machine.kill(one)


def _last_words(folder: Path) -> str:
    console = folder / "console.log"
    lines = (f"  {line}" for line in last_lines(console, 15))
    return "\n".join((f"last lines of {console}:", *lines))


def replace(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text)
    unfinished.rename(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other zclabs from bringing the same lab up or down, or making its keys, meanwhile."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
