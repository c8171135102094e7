"""The values everything else passes around: labs and workloads; results.py has what is measured.

All are frozen and strict: an unknown key or a wrong type is an error, never a warning, because a
typo that silently runs another experiment costs a day.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv6Address
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

ModeName = Literal["passthrough", "vhost", "zerocopy"]
WorkloadName = Literal["TCP_STREAM", "TCP_RR", "UDP_STREAM", "UDP_RR"]
TRANSACTIONS: tuple[WorkloadName, ...] = ("TCP_RR", "UDP_RR")
"""The workloads that are requests with a response each; the other ones are streams."""
DATAGRAMS: tuple[WorkloadName, ...] = ("UDP_STREAM", "UDP_RR")
"""Those whose messages are datagrams, which have to fit in a frame."""
Direction = Literal["rx", "tx"]
Switch = Literal["on", "off"]
NicModel = Literal["e1000e", "igb"]
Clock = Literal["wall", "virtual"]
ThreadRole = Literal["vhost", "nic", "qemu", "kvm", "guest", "peer", "rest"]
"""What a host thread's CPU time was for; a vCPU thread's is split into ``kvm`` and ``guest``."""
Component = Literal[
    "guest", "kvm", "qemu", "vhost", "nic", "interrupts", "peer", "scheduler", "rest"
]
"""What instructions were for, where all are accounted for: in virtual time, threads apart from what
interrupts them. ``scheduler`` is the idle loop's own work, not the time it waited."""
COMPONENTS: tuple[Component, ...] = get_args(Component)


def _ipv4_interface(text: str) -> str:
    return IPv4Interface(text).with_prefixlen


def _ssh_address(text: str) -> str:
    """Return an address as ssh takes it: IPv6 without brackets."""
    if address := _bare_address(text):
        return address
    known = _SAYS_MORE.fullmatch(text)
    remedy = "write the NAME that `ssh NAME` reaches it by"
    if known and (address := _bare_address(known["address"])):
        keys = {"address": f"'{address}'", "port": known["port"], "user": known["user"]}
        remedy = "write " + ", ".join(f"{key}: {value}" for key, value in keys.items() if value)
    raise PydanticCustomError("remedy", "{remedy}", {"remedy": remedy})


def _bare_address(text: str) -> str:
    """Return a name, or an IPv6 address without its brackets; nothing where it is neither.

    ssh expands, or takes for a pattern or an option, most of what cannot be in it.
    """
    if re.fullmatch(r"\w[\w.+=/~^-]*", text):
        return text
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address, percent, zone = bare.partition("%")
    if percent and not re.fullmatch(r"[\w.-]+", zone):
        return ""
    try:
        IPv6Address(address)
    except ValueError:
        return ""
    return bare


_SAYS_MORE = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s:/]+)@)?(?P<address>\[[^]\s]+\]|[^\s:/@]+)(?::(?P<port>\d+))?/?"
)
"""An address with the port or user that are keys of their own."""


# A description is what an error message says is allowed.
PciAddress = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$"),
    Field(description="a PCI address such as 0000:01:00.0, in lower case"),
]
LabName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$"),
    Field(description="up to 32 lower-case letters, digits and hyphens"),
]
SshAddress = Annotated[
    str,
    AfterValidator(_ssh_address),
    Field(
        description="a host name, an IP address or an alias of ~/.ssh/config; "
        "port and user are keys of their own"
    ),
]
UserName = Annotated[
    str,
    StringConstraints(pattern=r"^[\w.][\w.@\\+-]*$"),
    Field(description="the name of a user"),
]
Interface = Annotated[
    str,
    StringConstraints(pattern=r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$"),
    AfterValidator(_ipv4_interface),
    Field(description="an IPv4 address with its prefix length such as 192.0.2.2/24"),
]


class Value(BaseModel):
    """A frozen value that rejects what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Emulator(Value):
    """The machine that zclab starts in QEMU to be the host."""

    nic: NicModel = "e1000e"
    cpus: Annotated[int, Field(ge=1, le=16)] = 2
    memory_mib: Annotated[int, Field(ge=1024, le=65536)] = 2560
    cpu_model: str = "max"
    accelerator: Literal["tcg", "kvm", "auto"] = "tcg"


class Endpoint(Value):
    """Where a host's SSH server answers, and as whom to log in.

    What is None is as in the user's configuration of ssh; a user who is nowhere said is root.
    """

    address: SshAddress
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: UserName | None = None
    identity_file: str | None = None
    known_hosts_file: str | None = None


class Peer(Value):
    """The other end of the DUT NIC's cable.

    ``endpoint`` is the host that has it; None means the lab host itself, where the NIC is moved
    into the network namespace ``netns`` so that traffic has to take the cable.
    """

    nic: PciAddress
    endpoint: Endpoint | None = None
    netns: str | None = "peer"


class Network(Value):
    """Addresses on the cable; the management network is zclab's own affair."""

    guest: Interface = "192.0.2.2/24"
    peer: Interface = "192.0.2.1/24"

    @property
    def guest_ip(self) -> str:
        """The guest's address without its prefix length."""
        return self.guest.partition("/")[0]

    @property
    def peer_ip(self) -> str:
        """The peer's address without its prefix length."""
        return self.peer.partition("/")[0]

    @model_validator(mode="after")
    def _two_addresses_of_one_network(self) -> Network:
        guest, peer = IPv4Interface(self.guest), IPv4Interface(self.peer)
        if guest.network != peer.network:
            msg = f"guest {guest} and peer {peer} are not in one network"
            raise ValueError(msg)
        if guest == peer:
            msg = f"guest and peer have the same address {guest}"
            raise ValueError(msg)
        return self


class Guest(Value):
    """The guest that is booted once for each mode and repetition.

    ``queues`` is how many pairs of virtqueues its virtio-net has, of which each has a vhost
    worker; passthrough has those of the NIC.
    """

    vcpus: Annotated[int, Field(ge=1, le=16)] = 1
    memory_mib: Annotated[int, Field(ge=128, le=65536)] = 512
    queues: Annotated[int, Field(ge=1, le=16)] = 1

    @model_validator(mode="after")
    def _a_vcpu_for_each_queue(self) -> Guest:
        if self.queues > self.vcpus:
            msg = (
                f"queues is {self.queues} and vcpus {self.vcpus}: the guest's driver uses as many "
                "queues as it has CPUs; give it more vcpus"
            )
            raise ValueError(msg)
        return self


class Tunables(Value):
    """What is set alike in every mode, and recorded, because it changes every mode's figures.

    ``rx_usecs`` is how long both NICs wait at least from one interrupt to the next, in µs
    (``ethtool -C``); None leaves that to their drivers.
    """

    threaded_napi: bool = True
    rx_usecs: Annotated[int, Field(ge=0, le=10000)] | None = None
    vhost_queue_size: Literal[256, 512, 1024] = 256


class Lab(Value):
    """One YAML file of ``labs/``: a host, its NIC under test, the peer, the guest."""

    name: LabName
    kind: Literal["emulated", "ssh"]
    emulator: Emulator | None = None
    host: Endpoint | None = None
    nic: PciAddress
    peer: Peer
    network: Network = Network()
    guest: Guest = Guest()
    tunables: Tunables = Tunables()
    clock: Clock = "wall"

    @model_validator(mode="after")
    def _kind_has_its_section(self) -> Lab:
        needed, other = ("emulator", "host") if self.kind == "emulated" else ("host", "emulator")
        if getattr(self, needed) is None:
            msg = f"a lab of kind {self.kind} needs '{needed}:' with keys below it"
            raise ValueError(msg)
        if getattr(self, other) is not None:
            msg = f"a lab of kind {self.kind} has no use for '{other}'"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _peer_is_another_nic(self) -> Lab:
        if self.peer.endpoint is None and self.peer.nic == self.nic:
            msg = f"nic and peer.nic are both {self.nic}: a cable has two ends"
            raise ValueError(msg)
        return self


class Workload(Value):
    """A netperf test with its parameters.

    ``direction`` is ``rx`` (peer to guest) or ``tx`` (guest to peer); transactions go both ways,
    so they have none. It goes by its duration or, given ``amount``, by what it moves: payload
    bytes of a stream, transactions otherwise. ``streams`` of them run side by side and share the
    amount. For ``warm_up_s`` seconds before, it runs without being measured.
    """

    name: WorkloadName
    direction: Direction | None
    message_bytes: Annotated[int, Field(ge=1, le=1 << 20)]
    duration_s: Annotated[float, Field(gt=0, le=3600)]
    amount: Annotated[int, Field(ge=1)] | None = None
    streams: Annotated[int, Field(ge=1, le=64)] = 1
    warm_up_s: Annotated[int, Field(ge=0, le=600)] = 0

    @property
    def label(self) -> str:
        """A short name for progress lines and tables, such as ``TCP_STREAM rx 16384 x4``."""
        side_by_side = f"x{self.streams}" if self.streams > 1 else None
        words = (self.name, self.direction, str(self.message_bytes), side_by_side)
        return " ".join(word for word in words if word)
