"""Lab files whose keys are right one by one and cannot work together: told with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import ConfigError

EMULATED = """\
kind: emulated
clock: wall
emulator:
  nic: e1000e
  cpus: 2
  memory_mib: 2048
  cpu_model: max
  accelerator: tcg
nic: 0000:01:00.0
peer:
  nic: 0000:02:00.0
  netns: peer
network:
  guest: 192.0.2.2/24
  peer: 192.0.2.1/24
guest:
  vcpus: 1
  memory_mib: 512
tunables:
  rx_usecs: 50
"""
SSH = """\
kind: ssh
clock: wall
host:
  address: 10.1.0.5
nic: 0000:3b:00.0
peer:
  nic: 0000:3b:00.1
  endpoint:
    address: 10.1.0.6
  netns: null
network:
  guest: 192.0.2.2/24
  peer: 192.0.2.1/24
"""
MANAGEMENT = "overlaps 198.18.0.0/15, zclab's own management networks; choose another network"
NO_HOST = "the address of the network itself; choose from 10.0.0.1 to 10.0.0.254"
BROADCAST = "the network's broadcast address; choose from 10.0.0.1 to 10.0.0.254"
ALONE = "a network of one address has no room for two; /30 has"
LOOPBACK = "overlaps 127.0.0.0/8, which is loopback; choose another network"
NO_NETWORK = "overlaps 0.0.0.0/8, which is no network; choose another network"
RESERVED = (
    "overlaps 224.0.0.0/3, which is multicast, broadcast and reserved; choose another network"
)
TWO_NICS = "allowed: 0000:01:00.0 and 0000:02:00.0, which an emulated host has"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of its own, so that files are shown by their plain names."""
    monkeypatch.chdir(tmp_path)


def mistakes(text: str) -> list[str]:
    """Return what is said about a lab file, without its name."""
    Path("my-lab.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_lab("my-lab.yaml")
    return [line.removeprefix("my-lab.yaml:") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("text", [EMULATED, SSH])
def test_what_the_cases_below_change_loads(text: str) -> None:
    Path("my-lab.yaml").write_text(text)

    assert load_lab("my-lab.yaml").name == "my-lab"


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (
            *("memory_mib: 512", "memory_mib: 1537"),
            (
                "18: guest.memory_mib: found 1537, allowed: up to 1536: the host needs 512 "
                "of its 2048 MiB (emulator.memory_mib)"
            ),
        ),
        (
            *("vcpus: 1", "vcpus: 3"),
            "17: guest.vcpus: found 3, allowed: up to 2, the host's emulator.cpus",
        ),
        (
            *("nic: 0000:01:00.0", "nic: 0000:3b:00.0"),
            f"9: nic: found '0000:3b:00.0', {TWO_NICS}",
        ),
        (
            *("nic: 0000:02:00.0", "nic: 0000:02:00.1"),
            f"11: peer.nic: found '0000:02:00.1', {TWO_NICS}",
        ),
        (
            *("nic: 0000:02:00.0", "nic: 0000:01:00.0"),
            "11: peer.nic: nic and peer.nic are both 0000:01:00.0: a cable has two ends",
        ),
        (
            *("  netns: peer", "  endpoint: {address: elsewhere}"),
            "12: peer.endpoint: an emulated host has the peer NIC itself; leave this out",
        ),
        (
            *("cpu_model: max", "cpu_model: host,-avx"),
            "7: emulator.cpu_model: 'host' is for KVM and accelerator is tcg; say max",
        ),
        (
            *("rx_usecs: 50", "rx_usecs: 4"),
            None,
        ),
        (
            *("rx_usecs: 50", "rx_usecs: 9"),
            (
                "20: tunables.rx_usecs: found 9, allowed: 0, 1, 3, 4, 10 to 10000, by the driver "
                "of e1000e"
            ),
        ),
        (
            *("clock: wall", "host: {address: a}"),
            "2: host: a lab of kind emulated has no use for 'host'",
        ),
    ],
)
def test_an_emulated_lab_that_cannot_work(old: str, new: str, mistake: str | None) -> None:
    text = EMULATED.replace(old, new, 1)
    if mistake is None:
        Path("my-lab.yaml").write_text(text)
        assert load_lab("my-lab.yaml")
    else:
        assert mistakes(text) == [mistake]


def test_virtual_time_needs_an_emulator_that_counts() -> None:
    virtual = EMULATED.replace("clock: wall", "clock: virtual")

    assert mistakes(virtual.replace("tcg", "kvm")) == [
        (
            "8: emulator.accelerator: found 'kvm', allowed with clock virtual: tcg, auto; "
            "KVM counts no instructions"
        )
    ]
    assert mistakes(virtual.replace("tcg", "auto").replace("max", "host")) == [
        "7: emulator.cpu_model: 'host' is for KVM, and clock is virtual; say max"
    ]
    assert mistakes(SSH.replace("clock: wall", "clock: virtual")) == [
        (
            "2: clock: found 'virtual', allowed in a lab of kind ssh: wall; only an emulated lab "
            "has a clock that counts instructions"
        )
    ]


def test_all_that_contradicts_is_told_at_once() -> None:
    text = EMULATED.replace("memory_mib: 512", "memory_mib: 4096").replace("vcpus: 1", "vcpus: 4")
    text = text.replace("02:00.0", "05:00.0").replace("rx_usecs: 50", "rx_usecs: 2")
    text = text.replace("192.0.2.1", "192.0.3.1").replace("cpu_model: max", "cpu_model: host")

    lines = [line.partition(":")[0] for line in mistakes(text)]

    assert lines == ["7", "11", "14", "17", "18", "20"]


@pytest.mark.parametrize(
    ("guest", "peer", "problems"),
    [
        ("198.18.0.2/24", "198.18.0.1/24", [MANAGEMENT, MANAGEMENT]),
        ("198.19.255.2/30", "198.19.255.1/30", [MANAGEMENT, MANAGEMENT]),
        ("198.0.0.2/8", "198.0.0.1/8", [MANAGEMENT, MANAGEMENT]),
        ("10.0.0.0/24", "10.0.0.1/24", [NO_HOST]),
        ("10.0.0.1/24", "10.0.0.255/24", [BROADCAST]),
        ("10.0.0.1/32", "10.0.0.1/32", [ALONE, ALONE]),
        ("127.0.0.2/24", "127.0.0.1/24", [LOOPBACK, LOOPBACK]),
        ("0.0.0.1/24", "0.0.0.2/24", [NO_NETWORK, NO_NETWORK]),
        ("224.0.0.1/24", "224.0.0.2/24", [RESERVED, RESERVED]),
        ("255.255.255.254/24", "255.255.255.253/24", [RESERVED, RESERVED]),
    ],
)
def test_an_address_that_no_end_of_the_cable_can_have(
    guest: str, peer: str, problems: list[str]
) -> None:
    text = EMULATED.replace("192.0.2.2/24", guest).replace("192.0.2.1/24", peer)
    found = [line for line in mistakes(text) if "the same address" not in line]

    assert [line.partition("/")[2].partition("': ")[2] for line in found] == problems
    assert {line.partition(":")[0] for line in found} <= {"14", "15"}


@pytest.mark.parametrize(
    ("address", "whose"), [("10.1.0.5", "host"), ("10.1.0.6", "peer.endpoint")]
)
@pytest.mark.parametrize(("taken", "where"), [("192.0.2.2", "12: network.guest"),
                                              ("192.0.2.1", "13: network.peer")])  # fmt: skip
def test_the_cable_takes_no_host_s_address(
    address: str, whose: str, taken: str, where: str
) -> None:
    assert mistakes(SSH.replace(address, taken)) == [
        f"{where}: {taken} is {whose}.address; choose a network that nothing else uses"
    ]


def test_a_nic_in_another_host_needs_no_namespace() -> None:
    assert mistakes(SSH.replace("netns: null", "netns: peer")) == [
        (
            "10: peer.netns: found 'peer', allowed with an endpoint: null; there the NIC needs no "
            "namespace"
        )
    ]


@pytest.mark.parametrize(
    ("change", "options", "mistake"),
    [
        (
            *(("accelerator: tcg", "accelerator: kvm"), {"clock": "virtual"}),
            "lab 'my-lab' with --clock virtual: emulator.accelerator: found 'kvm', allowed with",
        ),
        (
            *(("clock: wall", "clock: virtual"), {"clock": "wall"}),
            "lab 'my-lab' with --clock wall: guest.vcpus: found 4, allowed: up to 2",
        ),
        (
            *(("rx_usecs: 50", "rx_usecs: 4"), {"nic": "igb"}),
            "lab 'my-lab' with --nic igb: tunables.rx_usecs: found 4, allowed: 0, 1, 3, 10 to",
        ),
    ],
)
def test_an_option_can_contradict_a_file_too(
    change: tuple[str, str], options: dict[str, str], mistake: str
) -> None:
    text = EMULATED.replace(*change)
    if options == {"clock": "wall"}:
        text = text.replace("vcpus: 1", "vcpus: 4")
    Path("my-lab.yaml").write_text(text)
    lab = load_lab("my-lab.yaml")

    with pytest.raises(ConfigError) as caught:
        with_overrides(lab, **options)

    assert str(caught.value).startswith(mistake)
