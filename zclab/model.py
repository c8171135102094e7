"""The values everything else passes around: labs and workloads; results.py has what is measured.

All are frozen and strict: an unknown key or a wrong type is an error, never a warning, because a
typo that silently runs another experiment costs a day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Address
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from zclab.cable import unusable

CopyBytes = Literal[8, 1]
COPY_BYTES: tuple[CopyBytes, ...] = get_args(CopyBytes)
"""How many bytes a copying instruction moves: ``rep movsq``, or ``rep movsb`` with ERMS."""

ModeName = Literal["passthrough", "vhost", "zerocopy"]
WorkloadName = Literal["TCP_STREAM", "TCP_RR", "TCP_RR_LOADED", "UDP_STREAM", "UDP_RR", "MIGRATE"]
TRANSACTIONS: tuple[WorkloadName, ...] = ("TCP_RR", "TCP_RR_LOADED", "UDP_RR")
"""The workloads that are requests with a response each; the other ones are streams."""
DATAGRAMS: tuple[WorkloadName, ...] = ("UDP_STREAM", "UDP_RR")
"""Those whose messages are datagrams, which have to fit in a frame."""
MIGRATE: WorkloadName = "MIGRATE"
"""The workload that is no netperf test: to the second host and back, under traffic both ways."""
BOTH_WAYS: tuple[WorkloadName, ...] = (*TRANSACTIONS, MIGRATE)
"""Those that have no direction."""
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
EMULATED_NICS = ("0000:01:00.0", "0000:02:00.0")
"""Where an emulated host has its two NICs: each behind a root port of its own."""
HOST_KEEPS_MIB = 512
"""What an emulated host needs of its memory for itself."""


def _ipv4_interface(text: str) -> str:
    return IPv4Interface(text).with_prefixlen


def _ssh_address(text: str) -> str:
    """Return an address as ssh takes it: IPv6 without brackets."""
    if address := _bare_address(text):
        return address
    known = _SAYS_MORE.fullmatch(text)
    remedy = "write NAME as in `ssh NAME`"
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


NetnsName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$"),
    Field(
        description="a name such as peer: up to 64 letters, digits, '_', '.', '-', no digit first"
    ),
]
CpuModel = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,=+-]*$"),
    Field(description="text as for QEMU's -cpu, such as max or EPYC,+svm"),
]

Mistake = tuple[tuple[str | int, ...], str]
"""A key path, and what is wrong with what stands there."""


COLLECTING = "collecting"
"""The context in which a value may contradict itself: who validates in it asks for all mistakes."""


class ContradictionError(ValueError):
    """Values that may each be as they are, and not together."""

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("; ".join(text for _, text in mistakes))


class Value(BaseModel):
    """A frozen value that rejects what it does not know, and what contradicts itself.

    A float that is no number is rejected, too.
    """

    # "constants": what gets around the check is at least not written as null, see zclab.runs.store.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",
    )

    def contradictions(self) -> Iterator[Mistake]:
        """Yield what is wrong with fields that are right one by one."""
        yield from ()

    def all_contradictions(self) -> Iterator[Mistake]:
        """Yield its own contradictions, and those of the values in it."""
        yield from self.contradictions()
        for name in type(self).model_fields:
            value = getattr(self, name)
            items = enumerate(value) if isinstance(value, tuple) else ()
            for path, one in (((name,), value), *(((name, at), item) for at, item in items)):
                if isinstance(one, Value):
                    for below, text in one.all_contradictions():
                        yield (*path, *below), text

    @model_validator(mode="after")
    def _without_contradictions(self, info: ValidationInfo) -> Self:
        if info.context != COLLECTING and (mistakes := tuple(self.contradictions())):
            raise ContradictionError(mistakes)
        return self


class Emulator(Value):
    """The machine that zclab starts in QEMU to be the host."""

    nic: NicModel = "e1000e"
    cpus: Annotated[int, Field(ge=1, le=16)] = 2
    memory_mib: Annotated[int, Field(ge=1024, le=65536)] = 2560
    cpu_model: CpuModel = "max"
    accelerator: Literal["tcg", "kvm", "auto"] = "tcg"

    @property
    def wants_kvm(self) -> bool:
        """Whether the CPU model is one that only KVM has."""
        return self.cpu_model.partition(",")[0] == "host"

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        if self.wants_kvm and self.accelerator == "tcg":
            yield ("cpu_model",), "'host' is for KVM and accelerator is tcg; say max"


class Endpoint(Value):
    """Where a host's SSH server answers, and as whom to log in.

    What is None is as in the user's configuration of ssh; a user who is nowhere said is root.
    """

    address: SshAddress
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    user: UserName | None = None
    identity_file: str | None = None
    known_hosts_file: str | None = None


def _server(endpoint: Endpoint) -> tuple[str, int | None]:
    return endpoint.address, endpoint.port


class Peer(Value):
    """The other end of the DUT NIC's cable.

    ``endpoint`` is the host that has it; None means the lab host itself, where the NIC is moved
    into the network namespace ``netns`` so that traffic has to take the cable.
    """

    nic: PciAddress
    endpoint: Endpoint | None = None
    netns: NetnsName | None = "peer"


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

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        guest, peer = IPv4Interface(self.guest), IPv4Interface(self.peer)
        for key, one in (("guest", guest), ("peer", peer)):
            if problem := unusable(one):
                yield (key,), f"found '{one}': {problem}"
        if guest.network != peer.network:
            yield ("guest",), f"guest {guest} and peer {peer} are not in one network"
        elif guest == peer:
            yield ("guest",), f"guest and peer have the same address {guest}"


class Guest(Value):
    """The guest that is booted once for each mode and repetition.

    ``queues`` is how many pairs of virtqueues its virtio-net has, of which each has a vhost
    worker; passthrough has those of the NIC.
    """

    vcpus: Annotated[int, Field(ge=1, le=16)] = 1
    memory_mib: Annotated[int, Field(ge=128, le=65536)] = 512
    queues: Annotated[int, Field(ge=1, le=16)] = 1

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        if self.queues > self.vcpus:
            text = (
                f"queues is {self.queues} and vcpus {self.vcpus}: the guest's driver uses as many "
                "queues as it has CPUs; give it more vcpus"
            )
            yield ("queues",), text


class Tunables(Value):
    """What is set alike in every mode, and recorded, because it changes every mode's figures.

    ``rx_usecs`` is how long both NICs wait at least from one interrupt to the next, in µs
    (``ethtool -C``); None leaves that to their drivers.
    """

    threaded_napi: bool = True
    rx_usecs: Annotated[int, Field(ge=0, le=10000)] | None = None
    vhost_queue_size: Literal[256, 512, 1024] = 256


class Second(Value):
    """A lab's second host, which guests are migrated to, and back from.

    Its NIC under test reaches the same peer as the first host's. ``host`` is where an ssh lab has
    it. The two hosts reach each other at ``address`` and ``first_address``; None is the address of
    their SSH servers. Emulated hosts have a network of their own for that.
    """

    nic: PciAddress
    host: Endpoint | None = None
    address: SshAddress | None = None
    first_address: SshAddress | None = None


class Lab(Value):
    """One YAML file of ``labs/``: a host or two, the NIC under test, the peer, the guest."""

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
    second: Second | None = None

    def contradictions(self) -> Iterator[Mistake]:
        """See Value."""
        needed, other = ("emulator", "host") if self.kind == "emulated" else ("host", "emulator")
        if getattr(self, needed) is None:
            yield ("kind",), f"a lab of kind {self.kind} needs '{needed}:' with keys below it"
        if getattr(self, other) is not None:
            yield (other,), f"a lab of kind {self.kind} has no use for '{other}'"
        if self.peer.nic == self.nic and self._one_host:
            text = f"nic and peer.nic are both {self.nic}: a cable has two ends"
            yield ("peer", "nic"), text
        yield from self._addresses_in_use()
        if self.kind == "ssh" and self.clock == "virtual":
            text = "found 'virtual', allowed in a lab of kind ssh: wall; only an emulated lab has"
            yield ("clock",), f"{text} a clock that counts instructions"
        if self.kind == "emulated" and self.emulator:
            yield from self._emulated(self.emulator)
        if self.second:
            yield from self._two_hosts(self.second)

    def _two_hosts(self, second: Second) -> Iterator[Mistake]:
        """Yield what a second host cannot be or have."""
        if self.kind == "ssh":
            if second.host is None:
                yield (
                    ("second", "host"),
                    "an ssh lab's second host needs 'host:' with keys below it",
                )
            elif self.host and _server(second.host) == _server(self.host):
                text = f"found {second.host.address}, which is host.address: name another machine"
                yield ("second", "host", "address"), text
            return
        for key in ("host", "address", "first_address"):
            if getattr(second, key) is not None:
                text = f"a lab of kind emulated has no use for '{key}': zclab connects its hosts"
                yield ("second", key), text
        if second.nic != EMULATED_NICS[0]:
            text = f"found '{second.nic}', allowed: {EMULATED_NICS[0]}, which a second host has"
            yield ("second", "nic"), text
        if self.clock == "virtual":
            text = "found 'virtual', allowed with a second host: wall; two machines have no common"
            yield ("clock",), f"{text} count of instructions"

    @property
    def _one_host(self) -> bool:
        """Whether both NICs are in the same host, as far as the file tells."""
        there = self.peer.endpoint
        if there is None:
            return True
        here = self.host
        return here is not None and _server(here) == _server(there)

    def _addresses_in_use(self) -> Iterator[Mistake]:
        """Yield where an end of the cable would take the address of a host."""
        second = self.second.host if self.second else None
        for name, endpoint in (
            ("host", self.host),
            ("peer.endpoint", self.peer.endpoint),
            ("second.host", second),
        ):
            for key in ("guest", "peer"):
                address = getattr(self.network, f"{key}_ip")
                if endpoint and endpoint.address == address:
                    text = f"{address} is {name}.address; choose a network that nothing else uses"
                    yield ("network", key), text

    def _emulated(self, emulator: Emulator) -> Iterator[Mistake]:
        """Yield what an emulated host cannot be or have."""
        for path, nic in ((("nic",), self.nic), (("peer", "nic"), self.peer.nic)):
            if nic not in EMULATED_NICS:
                has = " and ".join(EMULATED_NICS)
                yield path, f"found '{nic}', allowed: {has}, which an emulated host has"
        most_mib = emulator.memory_mib - HOST_KEEPS_MIB
        if self.guest.memory_mib > most_mib:
            text = f"found {self.guest.memory_mib}, allowed: up to {most_mib}: the host needs "
            text += f"{HOST_KEEPS_MIB} of its {emulator.memory_mib} MiB (emulator.memory_mib)"
            yield ("guest", "memory_mib"), text
        if self.clock == "wall" and self.guest.vcpus > emulator.cpus:
            text = f"found {self.guest.vcpus}, allowed: up to {emulator.cpus}"
            yield ("guest", "vcpus"), f"{text}, the host's emulator.cpus"
        if self.clock == "virtual" and emulator.accelerator == "kvm":
            text = "found 'kvm', allowed with clock virtual: tcg, auto; KVM counts no instructions"
            yield ("emulator", "accelerator"), text
        elif self.clock == "virtual" and emulator.wants_kvm:
            yield ("emulator", "cpu_model"), "'host' is for KVM, and clock is virtual; say max"
        slowest = 3 if emulator.nic == "igb" else 4
        usecs = self.tunables.rx_usecs or 0
        if usecs == 2 or slowest < usecs < 10:  # noqa: PLR2004 - as their drivers have it
            text = f"found {usecs}, allowed: {'0, 1, 3' if slowest == 3 else '0, 1, 3, 4'}"  # noqa: PLR2004
            yield ("tunables", "rx_usecs"), f"{text}, 10 to 10000, by the driver of {emulator.nic}"


class Workload(Value):
    """A netperf test with its parameters, or MIGRATE.

    ``direction`` is ``rx`` (peer to guest) or ``tx`` (guest to peer); transactions go both ways,
    so they have none. TCP_RR_LOADED is TCP_RR beside a TCP_STREAM that the guest sends. It goes
    by its duration or, given ``amount``, by what it moves: payload bytes of a stream,
    transactions otherwise. ``streams`` of them run side by side and share the amount. For
    ``warm_up_s`` seconds before, it runs without being measured. MIGRATE's duration is that of its
    traffic before, between and after the migrations, each.
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
