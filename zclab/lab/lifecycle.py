"""Labs from up to down; the layers above do not know where a host comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from zclab.errors import ConfigError, KernelReportError, LabError, ZclabError
from zclab.host import requirements
from zclab.host.finding import Finding
from zclab.lab import dma, emulated, lock, pair, ssh
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts
from zclab.lab.pair import Pair
from zclab.lab.session import (
    SECOND_HOST,
    GuestBoot,
    NicTrace,
    Session,
    connect_libvirt,
    peer_host,
    second_session,
    session,
)
from zclab.model import Emulator, Lab, Switch
from zclab.progress import Progress
from zclab.runner import Runner


def up(lab: Lab, artifacts: Artifacts, *, with_me: bool, progress: Progress) -> Access:
    """Bring a lab up until its SSH answers and its libvirt connects; return the way in.

    With ``with_me`` an emulated host ends with this process, whatever ends that. One that was
    not up before is ended where an interrupt comes while libvirt is waited for.
    """
    if lab.emulator is None:
        access = ssh.access(lab)
        nics = (lab.nic, *(() if lab.peer.endpoint else (lab.peer.nic,)))
        _check_free(access.host_runner(), nics)
        connect_libvirt(access).close()
        if lab.second:
            second = ssh.second_access(lab)
            _check_free(second.host_runner(SECOND_HOST), (lab.second.nic,))
            connect_libvirt(second).close()
        return access
    was_up = emulated.find(lab.name) is not None
    started = emulated.up(lab, artifacts, with_me=with_me, progress=progress)
    access = started.access
    try:
        _wait_for_libvirt(lab.emulator, access, artifacts, progress)
        if started.second_access:
            _wait_for_libvirt(lab.emulator, started.second_access, artifacts, progress)
    except KeyboardInterrupt:
        if not was_up:
            down(lab)
        raise
    return access


def _check_free(host: Runner, nics: Sequence[str]) -> None:
    """Raise LabError where somebody uses a NIC of a host, before anything is waited for."""
    try:
        host.connect()
        lock.check_free(host, nics)
    finally:
        host.close()


def _wait_for_libvirt(
    emulator: Emulator, access: Access, artifacts: Artifacts, progress: Progress
) -> None:
    """Return when libvirt connects and knows what QEMU can do."""
    progress(0, None, "waiting for libvirt on the host")
    libvirt = connect_libvirt(access)
    if not emulated.has_capabilities(emulator, artifacts):
        progress(0, None, "libvirt probes QEMU's capabilities, once for each kernel and image")
        libvirt.probe()
        emulated.keep_capabilities(emulator, artifacts, _capabilities(access))
    libvirt.close()


def requirements_of(lab: Lab) -> tuple[Finding, ...]:
    """Say what the hosts of an ssh lab have of what they need; an emulated one brings it."""
    if lab.host is None:
        return ()
    with ExitStack() as stack:
        access = ssh.access(lab)
        host = access.host_runner()
        stack.callback(host.close)
        host.connect()
        peer = peer_host(lab, access, host, stack)
        if peer is not host:
            peer.connect()
        migrates = lab.second is not None
        found = requirements_at(host, lab.nic, peer, lab.peer.nic, migrates=migrates)
        if lab.second:
            second = ssh.second_access(lab).host_runner(SECOND_HOST)
            stack.callback(second.close)
            second.connect()
            found += _host_requirements(second, lab.second.nic, with_peer=False, migrates=True)
    return found


def requirements_at(
    host: Runner, nic: str, peer: Runner, peer_nic: str, *, migrates: bool = False
) -> tuple[Finding, ...]:
    """Say what hosts that answer have of what they need; ``peer`` is ``host`` where it is one.

    ``migrates`` asks for what a lab with two hosts needs, too.
    """
    apart = peer is not host
    found = _host_requirements(host, nic, with_peer=not apart, migrates=migrates)
    if apart:
        tools = requirements.peer_tools(migrates=migrates)
        answers = requirements.ask(peer, peer_nic, tuple(tools))
        found += requirements.check_peer(answers, migrates=migrates)
    return found


def _host_requirements(
    host: Runner, nic: str, *, with_peer: bool, migrates: bool
) -> tuple[Finding, ...]:
    tools = requirements.host_tools(with_peer=with_peer, migrates=migrates)
    answers = requirements.ask(host, nic, tuple(tools))
    return requirements.check_host(answers, with_peer=with_peer, migrates=migrates)


def down(lab: Lab) -> bool:
    """End an emulated lab; a host that existed before goes on existing. Tell if there was one."""
    return lab.emulator is not None and emulated.down(lab.name)


@contextmanager
def staying_up(
    lab: Lab, artifacts: Artifacts, *, keep: bool, progress: Progress
) -> Iterator[Access]:
    """Have a lab up, which ends with this if it was not up before; ``keep`` leaves it up.

    What is opened meanwhile finds it up: preparing a host takes seconds, and a boot half a minute.
    """
    was_up = lab.emulator is None or emulated.find(lab.name) is not None
    try:
        yield up(lab, artifacts, with_me=not keep, progress=progress)
    except KernelReportError:
        raise  # which says why the host is gone, where it is: a panic ends it
    except ZclabError:
        if lab.emulator:
            emulated.check_alive(lab.name)
        raise
    finally:
        if not was_up and not keep:
            down(lab)


@contextmanager
def opened(
    lab: Lab,
    artifacts: Artifacts,
    *,
    keep: bool,
    mtu: int,
    offloads: Switch,
    force: bool = False,
    progress: Progress,
) -> Iterator[Session]:
    """Open a session on a lab, which is brought up for it and ended with it if it was not up.

    ``keep`` leaves it up, ``force`` takes NICs that carry something (see preflight.check).
    """
    boot = GuestBoot(
        kernel=artifacts.guest_kernel.bzimage,
        kernel_name=artifacts.guest_kernel.content,
        image=artifacts.guest_image.path,
        image_name=artifacts.guest_image.content,
    )
    with staying_up(lab, artifacts, keep=keep, progress=progress) as access:
        progress(0, None, "preparing the host, the cable and the peer")
        with session(
            lab,
            access,
            boot,
            console=console_of(lab),
            trace_nic=nic_trace_of(lab),
            mtu=mtu,
            offloads=offloads,
            force=force,
        ) as opened_session:
            yield opened_session


@contextmanager
def opened_pair(
    lab: Lab,
    artifacts: Artifacts,
    *,
    keep: bool,
    mtu: int,
    offloads: Switch,
    force: bool = False,
    progress: Progress,
) -> Iterator[Pair]:
    """Open a session on each of a lab's two hosts, and have a guest of either reach the other."""
    if lab.second is None:
        raise ConfigError(f"lab {lab.name} has one host; `--lab=pair` has two")
    with opened(
        lab, artifacts, keep=keep, mtu=mtu, offloads=offloads, force=force, progress=progress
    ) as alone:
        progress(0, None, "preparing the second host, and the way between the two")
        first = replace(alone, migratable=True)
        access, console = second_access(lab), second_console_of(lab)
        with (
            second_session(first, access, lab.second.nic, console=console, force=force) as second,
            pair.connected(first, second) as connected,
        ):
            yield connected


def second_access(lab: Lab) -> Access:
    """Return the way into the second host of a lab that is up; LabError where there is none."""
    if lab.emulator is None:
        return ssh.second_access(lab)
    found = emulated.find(lab.name)
    if found is None or found.second_access is None:
        raise LabError(f"lab {lab.name} is not up with two hosts; `invoke lab-up` brings it up")
    return found.second_access


def second_console_of(lab: Lab) -> Path | None:
    """Return what console_of() does, of the second host."""
    if lab.emulator is None or lab.second is None:
        return None
    return emulated.second_folder(emulated.folder_of(lab.name)) / "console.log"


def console_of(lab: Lab) -> Path | None:
    """Return the file with the host console's output, where that is here."""
    return emulated.folder_of(lab.name) / "console.log" if lab.emulator else None


def nic_trace_of(lab: Lab) -> NicTrace | None:
    """Return what traces where a lab's NICs write, where that can be seen from here."""
    return partial(dma.traced, emulated.folder_of(lab.name)) if lab.emulator else None


def _capabilities(access: Access) -> dict[str, str]:
    """Read what libvirt has written down about QEMU."""
    host = access.host_runner()
    try:
        names = host.run(("ls", emulated.CAPABILITIES), check=False).stdout.split()
        paths = [f"{emulated.CAPABILITIES}/{name}" for name in names if name.endswith(".xml")]
        return {path.rpartition("/")[2]: host.run(("cat", path)).stdout for path in paths}
    finally:
        host.close()
