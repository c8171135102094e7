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
from zclab.host.domain import GuestFiles, Libvirt, Management
from zclab.host.memory import Span
from zclab.lab.access import GUEST_ADDRESS, HOST_ADDRESS, Access
from zclab.lab.seed import ON_HOST
from zclab.lab.watch import Watcher
from zclab.model import Lab, Switch
from zclab.netperf import netserver_argv
from zclab.runner import NetnsRunner, Runner, SshRunner, wait_until

BRIDGE = "zclab0"
MANAGEMENT = Management(bridge=BRIDGE, mac="52:54:00:7a:63:f0", address=f"{GUEST_ADDRESS}/24")
LIBVIRT_DEADLINE_S = 90
"""libvirtd's first start on a host takes 12 s of emulation: it asks QEMU what it can do."""

MODE_LINKS = ("mp0",)
"""Links that a mode makes by name, and that an interrupted run may have left."""


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

    ``nic`` and ``peer_nic`` are the interface names of the two ends of the cable; ``mac`` is the
    DUT NIC's address, which the guest's interface has in every mode. ``trace_nic`` is None where
    nobody can tell: on hardware, and in virtual time.
    """

    lab: Lab
    access: Access
    host: Runner
    peer: Runner
    libvirt: Libvirt
    watcher: Watcher
    boot: GuestBoot
    nic: str
    mac: str
    peer_nic: str
    mtu: int
    offloads: Switch
    trace_nic: NicTrace | None = None

    @property
    def guest_files(self) -> GuestFiles:
        """What guests boot from, on the host."""
        return GuestFiles(
            kernel=f"{ON_HOST}/{self.boot.kernel_name}/bzImage",
            initrd=f"{ON_HOST}/{self.boot.image_name}/guest.cpio.gz",
            host_key=f"{ON_HOST}/guest_host_key",
            console_log=f"{ON_HOST}/console.log",
            authorized_key=self.access.authorized_key,
        )

    def retune_nic(self) -> None:
        """Tune the DUT's NIC again, after its driver has lost and got it back."""
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
) -> Iterator[Session]:
    """Connect to a lab and prepare it: cable, peer, management network, guest files.

    Where a kernel of the lab reports a bug meanwhile, the use ends with KernelReportError, in
    place of whatever failed because of that. ``console`` is the host's, where it is a file here.
    """
    host = access.host_runner()
    watcher = Watcher(abort=host.close)
    with ExitStack() as stack:
        stack.callback(watcher.stop)
        stack.callback(host.close)
        if console:
            stack.enter_context(watcher.following("host", console))
        try:
            with ExitStack() as undo:
                prepared = _prepare(lab, access, boot, host, watcher, undo, mtu, offloads)
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
) -> Session:
    host.connect()
    libvirt = connect_libvirt(access)
    undo.callback(libvirt.close)
    sweep(lab, host, libvirt)
    _give_files(host, access, boot)
    _bridge(host, undo)
    nic = netdev.netdev_of(host, lab.nic)
    peer, peer_nic = _peer(lab, host, undo)
    threaded = lab.tunables.threaded_napi
    for runner, name in ((host, nic), (peer, peer_nic)):
        tuning = netdev.tuned(runner, name, threaded=threaded, switch=offloads, mtu=mtu)
        undo.enter_context(tuning)
        undo.enter_context(netdev.moderated(runner, name, lab.tunables.rx_usecs))
    peer.run(("ip", "address", "replace", lab.network.peer, "dev", peer_nic))
    netserver = peer.start((*netserver_argv(), "-D"))
    undo.callback(netserver.stop)
    return Session(
        lab=lab,
        access=access,
        host=host,
        peer=peer,
        libvirt=libvirt,
        watcher=watcher,
        boot=boot,
        nic=nic,
        mac=netdev.address_of(host, nic),
        peer_nic=peer_nic,
        mtu=mtu,
        offloads=offloads,
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


def sweep(lab: Lab, host: Runner, libvirt: Libvirt) -> None:
    """Undo what an interrupted run left on the host: guests, links, a NIC without its driver."""
    libvirt.destroy_leftovers()
    copies.remove(host)
    netns = lab.peer.netns if lab.peer.endpoint is None else None
    host.run(("sh", "-c", _SWEEP, netns or "", BRIDGE, *MODE_LINKS), check=False)
    if netdev.driver_of(host, lab.nic) == "vfio-pci":
        netdev.release_driver(host, lab.nic)
    netdev.wait_for_netdev(host, lab.nic)
    if netns:
        netdev.wait_for_netdev(host, lab.peer.nic)


def _give_files(host: Runner, access: Access, boot: GuestBoot) -> None:
    """Copy to the host what it does not have; folders are named by hashes: what is there fits."""
    wanted = {
        f"{ON_HOST}/{boot.kernel_name}/bzImage": boot.kernel,
        f"{ON_HOST}/{boot.image_name}/guest.cpio.gz": boot.image,
    }
    there = host.run(("ls", *wanted), check=False).stdout.split()
    for remote in [name for name in wanted if name not in there]:
        host.run(("mkdir", "-p", str(Path(remote).parent)))
        host.put(wanted[remote], f"{remote}.unfinished")
        host.run(("mv", f"{remote}.unfinished", remote))
    host.put(access.guest_host_key, f"{ON_HOST}/guest_host_key")


def _bridge(host: Runner, undo: ExitStack) -> None:
    """Make the management network between host and guest."""
    undo.enter_context(netdev.link(host, BRIDGE, "type", "bridge"))
    script = f"ip address add {HOST_ADDRESS}/24 dev {BRIDGE} && ip link set {BRIDGE} up"
    host.run(("sh", "-c", script))


def _peer(lab: Lab, host: Runner, undo: ExitStack) -> tuple[Runner, str]:
    """Return the peer's runner and interface; move the NIC into its namespace where it has one."""
    runner = host
    if endpoint := lab.peer.endpoint:
        remote = SshRunner(
            "peer",
            address=endpoint.address,
            port=endpoint.port,
            user=endpoint.user,
            identity=Path(endpoint.identity_file).expanduser() if endpoint.identity_file else None,
        )
        undo.callback(remote.close)
        return remote, netdev.netdev_of(remote, lab.peer.nic)
    name = netdev.netdev_of(host, lab.peer.nic)
    if lab.peer.netns is None:
        return runner, name
    host.run(("ip", "netns", "add", lab.peer.netns))
    undo.callback(host.run, ("sh", "-c", _DELETE_NETNS, lab.peer.netns), check=False)
    host.run(("ip", "link", "set", name, "netns", lab.peer.netns))
    return NetnsRunner(host, lab.peer.netns), name
