"""A lab in use: its host prepared, guests booted on it, and everything undone at the end.

The host is reached over SSH, and nothing here knows whether it is emulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from zclab.errors import CommandError, DomainError
from zclab.host import copies, netdev
from zclab.host.domain import GuestFiles, Libvirt
from zclab.host.memory import Span
from zclab.host.netperf import netserver_argv
from zclab.lab import lock, preflight
from zclab.lab.access import Access
from zclab.lab.names import Names, names_of
from zclab.lab.seed import ON_HOST
from zclab.lab.watch import Watcher
from zclab.model import Lab, Switch
from zclab.runner import NetnsRunner, Runner, wait_until

SECOND_HOST = "second host"
"""What messages call the second of two hosts."""

KERNEL_LOG = ("dmesg", "--follow-new")
LIBVIRT_DEADLINE_S = 90
"""libvirtd's first start on a host takes 12 s of emulation: it asks QEMU what it can do."""


# A namespace outlives its name while a process is in it, or a TCP socket that still has data for a
# guest that is gone, and a NIC in it is out of reach all that time: so it is taken out first.
_DELETE_NETNS = """
ip netns pids "$0" | xargs -r kill -9
for nic in $(ip netns exec "$0" sh -c 'cd /sys/class/net && ls -d */device'); do
    ip -n "$0" link set "${nic%/device}" netns 1
done
ip netns delete "$0"
"""
_SWEEP = f"""
for link; do ip link delete "$link" 2>/dev/null; done
[ -n "$0" ] && [ -e "/run/netns/$0" ] || exit 0
{_DELETE_NETNS}"""


NicTrace = Callable[[], AbstractContextManager[list[Span]]]
"""Traces what the lab's NICs write while the context lasts; the list has it when that has ended."""


@dataclass(frozen=True, kw_only=True)
class GuestBoot:
    """Kernel and image that guests boot, here, with what they are called on the host."""

    kernel: Path
    kernel_name: str
    image: Path
    image_name: str


@dataclass(frozen=True, kw_only=True)
class Session:
    """A connected and prepared lab.

    ``port`` is the DUT's NIC, and ``peer_nic`` the interface name of the other end of the cable;
    ``mac`` is the DUT NIC's address, which the guest's interface has in every mode. ``trace_nic``
    is None where nobody can tell: on hardware, and in virtual time. ``migratable`` guests can be
    taken to a second host.
    """

    lab: Lab
    names: Names
    access: Access
    host: Runner
    peer: Runner
    libvirt: Libvirt
    watcher: Watcher
    boot: GuestBoot
    port: netdev.Port
    mac: str
    peer_nic: str
    mtu: int
    offloads: Switch
    trace_nic: NicTrace | None = None
    migratable: bool = False

    @property
    def nic(self) -> str:
        """The interface name of the DUT's NIC."""
        return self.port.name

    @property
    def guest_files(self) -> GuestFiles:
        """What guests boot from, on the host."""
        return GuestFiles(
            kernel=f"{ON_HOST}/{self.boot.kernel_name}/bzImage",
            initrd=f"{ON_HOST}/{self.boot.image_name}/guest.cpio.gz",
            host_key=f"{self.names.folder}/guest_host_key",
            console_log=f"{self.names.folder}/console.log",
            authorized_key=self.access.authorized_key,
        )

    def retune_nic(self) -> None:
        """Tune the DUT's NIC again, after its driver has lost and got it back."""
        self.port.look_up(self.host)
        netdev.tune(
            self.host,
            self.nic,
            threaded=self.lab.tunables.threaded_napi,
            switch=self.offloads,
            mtu=self.mtu,
        )
        if (rx_usecs := self.lab.tunables.rx_usecs) is not None:
            netdev.set_rx_usecs(self.host, self.nic, rx_usecs)


@contextmanager
def session(
    lab: Lab,
    access: Access,
    boot: GuestBoot,
    *,
    console: Path | None,
    trace_nic: NicTrace | None = None,
    mtu: int,
    offloads: Switch,
    force: bool = False,
) -> Iterator[Session]:
    """Connect to a lab and prepare it: cable, peer, management network, guest files.

    Its NICs are locked first, and must carry nothing else (``force``: see preflight.check).
    Where a kernel of the lab reports a bug meanwhile, the use ends with KernelReportError, in
    place of whatever failed because of that. ``console`` is the host's, where it is a file here; of
    a host that is far away its kernel's log is followed instead. In virtual time the host is this
    machine, and its console is watched from outside.
    """
    host = access.host_runner()
    watcher = Watcher(abort=host.close)
    with ExitStack() as stack:
        stack.callback(watcher.stop)
        stack.callback(host.close)
        if console:
            stack.enter_context(watcher.following("host", console))
        elif access.endpoint:
            log = host.start(KERNEL_LOG, on_output=watcher.sink("host"))
            stack.callback(log.stop)
        try:
            with ExitStack() as undo:
                prepared = _prepare(lab, access, boot, host, watcher, undo, mtu, offloads, force)
                yield replace(prepared, trace_nic=trace_nic)
        except Exception as exc:
            if report := watcher.settled():
                raise report from exc
            raise
        if report := watcher.error():
            raise report


def _prepare(  # noqa: PLR0917 - one step of session(), cut out for length
    lab: Lab,
    access: Access,
    boot: GuestBoot,
    host: Runner,
    watcher: Watcher,
    undo: ExitStack,
    mtu: int,
    offloads: Switch,
    force: bool,
) -> Session:
    host.connect()
    names = names_of(lab)
    libvirt = connect_libvirt(access)
    undo.callback(libvirt.close)
    beside = peer_host(lab, access, host, undo)
    _lock(lab, host, beside, undo)
    links = libvirt.links_of(names.guests)
    preflight.check(lab, names, host, beside, guest_links=links, force=force)
    sweep(lab, names, host, libvirt)
    _give_files(host, access, boot, names)
    _bridge(host, names, undo)
    port = netdev.Port(lab.nic, netdev.netdev_of(host, lab.nic))
    peer_port = netdev.Port(lab.peer.nic, netdev.netdev_of(beside, lab.peer.nic))
    peer = _peer(lab, names, beside, peer_port, undo)
    threaded = lab.tunables.threaded_napi
    for runner, end in ((host, port), (peer, peer_port)):
        tuning = netdev.tuned(runner, end, threaded=threaded, switch=offloads, mtu=mtu)
        undo.enter_context(tuning)
        undo.enter_context(netdev.moderated(runner, end, lab.tunables.rx_usecs))
    _serve(lab, peer, peer_port, undo)
    return Session(
        lab=lab,
        names=names,
        access=access,
        host=host,
        peer=peer,
        libvirt=libvirt,
        watcher=watcher,
        boot=boot,
        port=port,
        mac=netdev.address_of(host, port.name),
        peer_nic=peer_port.name,
        mtu=mtu,
        offloads=offloads,
    )


@contextmanager
def second_session(
    first: Session, access: Access, nic: str, *, console: Path | None, force: bool = False
) -> Iterator[Session]:
    """Prepare a second host for the guest of the first one, which has the same peer.

    ``nic`` is the NIC under test there. Names, addresses and keys are those of the first, so that
    the guest finds them equal. What is reported there ends the use of both.
    """
    host = access.host_runner(SECOND_HOST)
    with ExitStack() as stack:
        stack.callback(host.close)
        stack.enter_context(first.watcher.aborting(host.close))
        if console:
            stack.enter_context(first.watcher.following(SECOND_HOST, console))
        else:
            log = host.start(KERNEL_LOG, on_output=first.watcher.sink(SECOND_HOST))
            stack.callback(log.stop)
        with ExitStack() as undo:
            yield _prepare_second(first, access, nic, host, undo, force=force)


def _prepare_second(
    first: Session, access: Access, nic: str, host: Runner, undo: ExitStack, *, force: bool
) -> Session:
    host.connect()
    names = first.names
    lab = first.lab.model_copy(update={"nic": nic})
    libvirt = connect_libvirt(access)
    undo.callback(libvirt.close)
    # Names follow from the first host's NIC: nobody else may have a lab by that name here.
    undo.enter_context(lock.held(host, tuple({nic, first.lab.nic})))
    links = libvirt.links_of(names.guests)
    preflight.check_second(nic, names, host, guest_links=links, force=force)
    sweep(lab, names, host, libvirt, with_peer=False)
    _give_files(host, access, first.boot, names)
    _bridge(host, names, undo)
    port = netdev.Port(nic, netdev.netdev_of(host, nic))
    threaded = lab.tunables.threaded_napi
    undo.enter_context(
        netdev.tuned(host, port, threaded=threaded, switch=first.offloads, mtu=first.mtu)
    )
    undo.enter_context(netdev.moderated(host, port, lab.tunables.rx_usecs))
    return replace(
        first, lab=lab, access=access, host=host, libvirt=libvirt, port=port, trace_nic=None
    )


def connect_libvirt(access: Access) -> Libvirt:
    """Connect to a host's libvirtd, which may still be starting."""
    connections: list[Libvirt] = []

    def connected() -> bool:
        try:
            connections.append(Libvirt(access.libvirt_uri))
        except DomainError as exc:
            problems.append(str(exc))
            return False
        return True

    problems: list[str] = []
    try:
        wait_until(
            connected, what="libvirt on the host", deadline_s=LIBVIRT_DEADLINE_S, interval_s=0.3
        )
    except CommandError as exc:
        raise DomainError(f"{exc}; its last words: {problems[-1]}") from exc
    return connections[0]


def _lock(lab: Lab, host: Runner, beside: Runner, undo: ExitStack) -> None:
    """Have both ends of the cable to ourselves; the host's is always the first to be locked."""
    if beside is host:
        undo.enter_context(lock.held(host, (lab.nic, lab.peer.nic)))
        return
    undo.enter_context(lock.held(host, (lab.nic,)))
    undo.enter_context(lock.held(beside, (lab.peer.nic,)))


def sweep(
    lab: Lab, names: Names, host: Runner, libvirt: Libvirt, *, with_peer: bool = True
) -> None:
    """Undo what an interrupted run left on the host: guests, links, a NIC without its driver.

    Only what is in the lab's list of names goes. Its NICs are locked, so nobody is using that.
    A host ``with_peer`` has the peer's NIC, too, where that has no host of its own.
    """
    libvirt.destroy_leftovers(names.guests)
    copies.remove(host, names.probes)
    netns = names.netns if with_peer and lab.peer.endpoint is None else None
    host.run(("sh", "-c", _SWEEP, netns or "", names.bridge, names.link), check=False)
    if netdev.driver_of(host, lab.nic) in {None, "vfio-pci"}:
        netdev.release_driver(host, lab.nic)
    netdev.wait_for_netdev(host, lab.nic)
    if netns:
        netdev.wait_for_netdev(host, lab.peer.nic)


def remove_netns(runner: Runner, netns: str) -> None:
    """Remove a network namespace that an interrupted run left; its NIC comes back."""
    runner.run(("sh", "-c", _SWEEP, netns), check=False)


def _give_files(host: Runner, access: Access, boot: GuestBoot, names: Names) -> None:
    """Copy to the host what it does not have; folders are named by hashes: what is there fits."""
    wanted = {
        f"{ON_HOST}/{boot.kernel_name}/bzImage": boot.kernel,
        f"{ON_HOST}/{boot.image_name}/guest.cpio.gz": boot.image,
    }
    there = host.run(("ls", *wanted), check=False).stdout.split()
    for remote in [name for name in wanted if name not in there]:
        host.run(("mkdir", "-p", str(Path(remote).parent)))
        unfinished = f"{remote}.{names.bridge}"  # another lab of the host may lack it, too
        host.put(wanted[remote], unfinished)
        host.run(("mv", unfinished, remote))
    if names.folder != ON_HOST:
        host.run(("mkdir", "-p", names.folder))
    host.put(access.guest_host_key, f"{names.folder}/guest_host_key")


def _bridge(host: Runner, names: Names, undo: ExitStack) -> None:
    """Make the management network between host and guest."""
    bridge = names.bridge
    undo.enter_context(netdev.link(host, bridge, "type", "bridge"))
    script = f"ip address add {names.host} dev {bridge} && ip link set {bridge} up"
    host.run(("sh", "-c", script))


def peer_host(lab: Lab, access: Access, host: Runner, undo: ExitStack) -> Runner:
    """Return the runner of the machine that has the peer's NIC."""
    if lab.peer.endpoint is None:
        return host
    remote = access.peer_runner(lab.peer.endpoint)
    undo.callback(remote.close)
    return remote


def _peer(lab: Lab, names: Names, beside: Runner, port: netdev.Port, undo: ExitStack) -> Runner:
    """Return the peer's runner; move the NIC into its namespace where it has one."""
    if lab.peer.endpoint or names.netns is None:
        return beside
    return undo.enter_context(in_netns(beside, names.netns, port.name))


@contextmanager
def in_netns(runner: Runner, netns: str, nic: str) -> Iterator[NetnsRunner]:
    """Have an interface in a network namespace of its own, which is gone at the end."""
    runner.run(("ip", "netns", "add", netns))
    try:
        runner.run(("ip", "link", "set", nic, "netns", netns))
        yield NetnsRunner(runner, netns)
    finally:
        runner.run(("sh", "-c", _DELETE_NETNS, netns), check=False)


def _serve(lab: Lab, peer: Runner, port: netdev.Port, undo: ExitStack) -> None:
    """Give the peer its address, and have netserver answer there."""
    address = (lab.network.peer, "dev", port.name)
    argv = netserver_argv()
    if not isinstance(peer, NetnsRunner):  # with a namespace all of it goes
        undo.callback(peer.run, ("ip", "address", "delete", *address), check=False)
        argv += ("-L", lab.network.peer_ip)  # another lab's may be beside it
    peer.run(("ip", "address", "replace", *address))
    netserver = peer.start((*argv, "-D"))
    undo.callback(netserver.stop)
