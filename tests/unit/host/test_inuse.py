"""What a NIC carries: a host that has a use for it is left alone, with every reason told."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.unit.mutations import mutated
from zclab.documents.labs import load_lab
from zclab.errors import LabError, ParseError, ZclabError
from zclab.host import inuse, nicfacts
from zclab.host.inuse import Ours
from zclab.lab import preflight
from zclab.lab.names import Names, names_of
from zclab.model import Endpoint, Lab, Peer
from zclab.runner import LocalRunner
from zclab.runner.fake import FakeRunner

DATA = Path(__file__).parents[2] / "data" / "ip"
CAPTURED = (DATA / "carries-bridge.txt").read_text()
TC = DATA.parent / "tc"
TUNNEL_XDP = (DATA / "tunnel-xdp.txt").read_text()
NIC, PEER = "0000:01:00.0", "0000:02:00.0"
FREE: dict[str, Any] = {"ifname": "eno1", "addr_info": []}


def address(local: str, prefixlen: int = 24) -> dict[str, Any]:
    return {"family": "inet", "local": local, "prefixlen": prefixlen, "scope": "global"}


def link(ifname: str, *addresses: dict[str, Any], kind: str = "", **more: Any) -> dict[str, Any]:
    info = {"linkinfo": {"info_kind": kind}} if kind else {}
    return {"ifname": ifname, "mtu": 1500, "addr_info": list(addresses), **info, **more}


def over(ifname: str, kind: str, **below: str) -> dict[str, Any]:
    """Return an interface that says in its ``info_data`` what it stands on."""
    return link(ifname, linkinfo={"info_kind": kind, "info_data": {"id": 7, **below}})


def said(
    *links: dict[str, Any],
    ssh: str = "",
    back: str = "",
    default: Sequence[str] = (),
    nic: Sequence[str] = ("there", "driver e1000e", "netdev eno1"),
    peer: Sequence[str] = ("there", "driver e1000e", "netdev eno9"),
    netns: str = "",
    **tc: str,
) -> str:
    """Return what a host says whose network has these links, the loopback and the peer's NIC."""
    given = {one["ifname"] for one in links}
    links += tuple(link(name) for name in ("lo", "eno9") if name not in given)
    routes = [{"dst": "default", "gateway": "192.0.2.1", "dev": dev} for dev in default]
    sections = {
        "ssh": ssh,
        "back": json.dumps([{"dst": "198.51.100.1", "dev": back}]) if back else "",
        "netns": netns,
        "links": json.dumps(links),
        "routes4": json.dumps(routes),
        "routes6": "",
        NIC: "\n".join(nic),
        PEER: "\n".join(peer),
        **{f"{name}:eno1": text for name, text in tc.items()},
        "end": "",
    }
    return "".join(f"== {name}\n{text}\n" for name, text in sections.items())


def found(text: str, ours: Ours | None = None, nic: str = NIC) -> list[tuple[str, bool]]:
    facts = nicfacts.parse((NIC, PEER), text)
    told = inuse.objections(facts.nics[nic], facts, ours or Ours())
    return [(one.text, one.final) for one in told]


def texts(*links: dict[str, Any], ours: Ours | None = None, **more: Any) -> list[str]:
    return [text for text, _ in found(said(*links, **more), ours)]


def test_a_nic_that_carries_nothing_may_be_taken() -> None:
    other = link("eno2", address("192.0.2.7"))

    assert texts(FREE, other, default=["eno2"], ssh="192.0.2.9 5 192.0.2.7 22", back="eno2") == []


def test_what_every_ipv6_interface_has_is_no_use_of_it() -> None:
    own = {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}

    assert texts(link("eno1", own)) == []


def test_a_real_hosts_bridge_address_default_route_and_connection_are_told() -> None:
    assert found(CAPTURED) == [
        ("eno1 is a port of bridge br0", False),
        ("br0 has address 192.0.2.7/24", False),
        ("br0 has address 2001:db8::7/64", False),
        ("the default route goes through br0", False),
        ("this SSH connection came in by br0", True),
        ("this SSH connection goes back by br0", True),
    ]
    assert found(CAPTURED, nic=PEER) == [("eno2 has address 203.0.113.9/24", False)]


def test_a_real_hosts_tunnel_and_xdp_program_are_told() -> None:
    assert found(TUNNEL_XDP) == [
        ("vxlan vxlan7 is on eno1", False),
        ("vxlan7 has address 192.0.2.7/24", False),
    ]
    assert found(TUNNEL_XDP, nic=PEER) == [("eno2 has an XDP program", False)]


@pytest.mark.parametrize("missing", ["lo", "eno1"])
def test_an_answer_that_leaves_out_an_interface_is_an_error(missing: str) -> None:
    """A NIC of which nothing is said would look free."""
    with pytest.raises(ParseError, match=f"links: nothing about {missing}; see what `ip -json"):
        nicfacts.parse((NIC, PEER), said(FREE).replace(f'"ifname": "{missing}"', '"ifname": "x"'))


def test_an_answer_without_links_is_an_error() -> None:
    text = re.sub("(?<=== links\n).*", "", said(FREE))

    with pytest.raises(ParseError, match="links: nothing about lo, eno1, eno9; see what"):
        nicfacts.parse((NIC, PEER), text)


def test_a_default_route_over_several_paths_is_told() -> None:
    hops = [{"dst": "default", "nexthops": [{"dev": "eno2"}, {"dev": "eno1"}]}]
    text = said(FREE).replace("== routes4\n[]", f"== routes4\n{json.dumps(hops)}")

    assert found(text) == [("the default route goes through eno1", False)]


@pytest.mark.parametrize(
    ("links", "told"),
    [
        (
            (FREE, link("eno1.100", address("192.0.2.7"), kind="vlan", link="eno1")),
            ["vlan eno1.100 is on eno1", "eno1.100 has address 192.0.2.7/24"],
        ),
        (
            (link("eno1", master="bond0"), link("bond0", address("192.0.2.7"), kind="bond")),
            ["eno1 is a port of bond bond0", "bond0 has address 192.0.2.7/24"],
        ),
        (
            (
                link("eno1", master="bond0"),
                link("bond0", kind="bond"),
                link("bond0.7", kind="vlan", link="bond0", master="br7"),
                link("br7", address("192.0.2.7"), kind="bridge"),
            ),
            [
                "eno1 is a port of bond bond0",
                "vlan bond0.7 is on bond0",
                "bond0.7 is a port of bridge br7",
                "br7 has address 192.0.2.7/24",
            ],
        ),
        ((FREE, link("macvtap0", kind="macvtap", link="eno1")), ["macvtap macvtap0 is on eno1"]),
        ((link("eno1", master="vrf9"),), ["eno1 is a port of vrf9"]),
        (
            (link("eno1", master="team0"), link("team0", kind="team")),
            ["eno1 is a port of team team0"],
        ),
        *(
            ((FREE, link("up0", kind=kind, link="eno1")), [f"{kind} up0 is on eno1"])
            for kind in ("macvlan", "ipvlan", "ipvtap", "macsec", "rmnet")
        ),
        *(
            ((FREE, over("up0", kind, link="eno1")), [f"{kind} up0 is on eno1"])
            for kind in ("vxlan", "gre", "gretap", "ip6gre", "ipip", "sit", "vti", "ip6tnl", "amt")
        ),
        (
            (FREE, over("hsr0", "hsr", slave1="eno7", slave2="eno1")),
            ["hsr hsr0 is on eno7", "hsr hsr0 is on eno1"],
        ),
        (
            (FREE, link("eno1.5", kind="vlan", link="eno1", xdp={"mode": 4, "attached": []})),
            ["vlan eno1.5 is on eno1", "eno1.5 has an XDP program"],
        ),
    ],
)
def test_what_stands_on_a_nic_is_told(links: Sequence[dict[str, Any]], told: list[str]) -> None:
    assert texts(*links) == told


def test_a_ring_of_links_has_an_end() -> None:
    assert texts(
        link("eno1", master="br0"), link("br0", kind="bridge", link="eno1"), default=["br0"]
    ) == [
        "eno1 is a port of bridge br0",
        "bridge br0 is on eno1",
        "the default route goes through br0",
    ]


def test_other_ports_of_its_bridge_are_not_the_nics() -> None:
    told = texts(
        link("eno1", master="br0"), link("br0", kind="bridge"), link("vnet0", master="br0")
    )

    assert told == ["eno1 is a port of bridge br0"]


@pytest.mark.parametrize("came_to", ["192.0.2.7", "::ffff:192.0.2.7"])
@pytest.mark.parametrize(
    "links",
    [
        (link("eno1", address("192.0.2.7")),),
        (FREE, link("eno1.5", address("192.0.2.7"), kind="vlan", link="eno1")),
    ],
)
def test_the_connection_it_came_by_is_told_whatever_it_stands_on(
    links: Sequence[dict[str, Any]], came_to: str
) -> None:
    told = found(said(*links, ssh=f"192.0.2.9 51234 {came_to} 22"))

    assert told[-1] == (f"this SSH connection came in by {links[-1]['ifname']}", True)


def test_a_link_local_connection_is_told() -> None:
    own = {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"}

    assert found(said(link("eno1", own), ssh="fe80::9%eno1 5 fe80::1%eno1 22")) == [
        ("this SSH connection came in by eno1", True)
    ]


def test_a_connection_to_an_address_elsewhere_may_go_back_by_the_nic() -> None:
    told = found(
        said(FREE, link("lo", address("203.0.113.1", 32)), ssh="a 1 203.0.113.1 22", back="eno1")
    )

    assert told == [("this SSH connection goes back by eno1", True)]


def test_a_connection_by_a_switch_that_does_not_tell_is_not_risked() -> None:
    told = found(
        said(
            link("eno1", master="ovs-system"),
            link("ovs-system", kind="openvswitch"),
            link("br-ex", address("192.0.2.7"), kind="openvswitch"),
            ssh="192.0.2.9 5 192.0.2.7 22",
        )
    )

    assert told[-1] == (
        "this SSH connection may come in by the switch of ovs-system",
        True,
    )


@pytest.mark.parametrize(
    ("nic", "told"),
    [
        ((), "there is no such PCI function; see `lspci -D`"),
        (
            ("there", "driver mlx5_core", "netdev eno1", "functions 4"),
            "it has 4 virtual functions; they disappear when its driver is unbound",
        ),
        (
            ("there", "driver iwlwifi", "netdev eno1", "wireless eno1"),
            "eno1 is wireless: it has one MAC address, and a guest cannot have its own",
        ),
        (
            ("there", "driver e1000e"),
            (
                "it has no interface here: its driver e1000e made none, or another network "
                "namespace has it"
            ),
        ),
        (
            ("there", "driver vfio-pci", "user 812 qemu-system-x86_64 -name guest=web,debug"),
            "process 812 has it by VFIO: qemu-system-x86_64 -name guest=web,debug",
        ),
    ],
)
def test_what_is_wrong_about_a_function_is_told(nic: Sequence[str], told: str) -> None:
    assert texts(FREE, nic=nic) == [told]


def test_what_takes_or_holds_a_nics_frames_is_told() -> None:
    """It would be lost, or spoil what is measured."""
    tc = {
        "qdiscs": (TC / "qdiscs-shaped.json").read_text(),
        "ingress": (TC / "filters-ingress.json").read_text(),
        "egress": (TC / "filters-egress.json").read_text(),
    }
    nic = ("there", "driver igb", "netdev eno1", "rules 2 eno1")

    assert texts(FREE, nic=nic, **tc) == [
        (
            "eno1 has a qdisc of its own (htb, tbf), which holds or drops frames; see "
            "`tc qdisc show dev eno1`"
        ),
        (
            "eno1 has tc filters (u32, bpf), which take or change frames; see "
            "`tc filter show dev eno1 ingress`, and egress"
        ),
        "eno1 sorts received frames by 2 rules; see `ethtool --show-ntuple eno1`",
    ]
    assert texts(FREE, qdiscs=(TC / "qdiscs-usual.json").read_text()) == []


def test_what_an_interrupted_run_of_ours_left_is_no_use() -> None:
    ours = Ours(
        netns="zclab-100-peer",
        links=("zclab100", "mp100", "macvtap7"),
        addresses=("192.0.2.1/24",),
        guests=("zclab-100-vhost",),
        networks=("198.18.2.0/31",),
    )
    left = (
        link("eno1", address("192.0.2.1")),
        link("mp100", kind="mp", link="eno1"),
        link("macvtap7", kind="macvtap", link="eno1"),
        link("zclab100", address("198.18.2.0", 31), kind="bridge"),
    )
    vfio = ("there", "driver vfio-pci", "user 9 qemu -name guest=zclab-100-vhost,debug-threads=on")

    assert texts(*left, ours=ours) == []
    assert texts(*left, ours=ours, nic=vfio) == []
    assert texts(ours=ours, nic=("there", "driver e1000e"), netns="zclab-100-peer") == []


def test_an_address_of_the_labs_networks_elsewhere_is_told() -> None:
    other = link("zclab10100", address("198.18.2.0", 31), kind="bridge")

    assert texts(FREE, other, ours=Ours(networks=("198.18.2.0/31",))) == [
        "zclab10100 has address 198.18.2.0/31 of the lab's network 198.18.2.0/31"
    ]


def test_a_greeting_before_the_facts_is_none() -> None:
    assert found(f"Welcome to lab7\n{CAPTURED}") == found(CAPTURED)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "nothing about ssh, back"),
        (said(FREE).replace("[{", "{", 1), "links: not what ip -json prints"),
        (said(FREE).partition("== end")[0], "nothing about end"),
    ],
)
def test_a_host_that_does_not_tell_is_an_error(text: str, told: str) -> None:
    with pytest.raises(ParseError, match=told):
        nicfacts.parse((NIC, PEER), text)


@given(mutated(CAPTURED, TUNNEL_XDP, said(FREE, link("eno1.5", address("192.0.2.7"), link="eno1"))))
def test_whatever_a_host_says_ends_in_facts_or_in_an_error_of_ours(text: str) -> None:
    with suppress(ZclabError):
        facts = nicfacts.parse((NIC, PEER), text)
        for nic in facts.nics.values():
            inuse.objections(nic, facts, Ours(networks=("198.18.2.0/31",)))


def test_this_machine_tells_all_that_is_asked() -> None:
    facts = nicfacts.gather(LocalRunner(), ("ffff:ff:1f.7",))

    assert not facts.nics["ffff:ff:1f.7"].exists
    assert "lo" in [one.ifname for one in facts.links]


def ssh_lab(**changes: Any) -> Lab:
    values = {"name": "rack", "kind": "ssh", "host": Endpoint(address="h"), "nic": NIC}
    return Lab(**{**values, "peer": Peer(nic=PEER), **changes})


def refusal(text: str, *, force: bool = False, lab: Lab | None = None) -> str:
    """Return with what the NICs of a lab are refused."""
    lab = lab or ssh_lab()
    names: Names = names_of(lab)
    host = FakeRunner("host")
    host.expect(("sh", "-c", nicfacts._FACTS, "facts", NIC, PEER), stdout=text)
    with pytest.raises(LabError) as caught:
        preflight.check(lab, names, host, host, guest_links=(), force=force)
    return str(caught.value)


def test_a_nic_in_use_is_refused_with_all_that_was_found_and_what_to_do() -> None:
    text = said(link("eno1", address("192.0.2.7")), link("eno9", master="br0"))

    assert refusal(text) == (
        "the lab's NICs are not free; nothing was changed:\n"
        f"  host: NIC {NIC}: eno1 has address 192.0.2.7/24\n"
        f"  host: NIC {PEER}: eno9 is a port of br0\n"
        "give the lab unused NICs, or remove these uses, also from the network manager "
        "(NetworkManager, systemd-networkd); --force takes them nevertheless and does not restore "
        "their uses"
    )


def test_force_takes_a_nic_that_carries_something() -> None:
    lab = ssh_lab()
    with FakeRunner("host") as host:
        argv = ("sh", "-c", nicfacts._FACTS, "facts", NIC, PEER)
        host.expect(argv, stdout=said(link("eno1", address("192.0.2.7")), default=["eno1"]))
        preflight.check(lab, names_of(lab), host, host, guest_links=(), force=True)


@pytest.mark.parametrize("force", [False, True])
def test_the_connection_it_came_by_is_not_taken_and_no_force_is_offered(*, force: bool) -> None:
    told = refusal(CAPTURED, force=force)

    assert f"NIC {NIC}: this SSH connection came in by br0" in told
    assert "--force" not in told


def test_a_peer_on_a_host_of_its_own_is_asked_there() -> None:
    lab = ssh_lab(peer=Peer(nic=PEER, endpoint=Endpoint(address="p"), netns=None))
    other = link("eno2", address("192.0.2.77"))
    with FakeRunner("host") as host, FakeRunner("peer") as peer:
        host.expect(("sh", "-c", nicfacts._FACTS, "facts", NIC), stdout=said(FREE))
        peer.expect(("sh", "-c", nicfacts._FACTS, "facts", PEER), stdout=said(other))
        with pytest.raises(LabError, match=f"peer: NIC {PEER}: eno2 has address 192.0.2.77/24 of"):
            preflight.check(lab, names_of(lab), host, peer, guest_links=(), force=False)


def test_the_emulated_labs_nics_are_free() -> None:
    lab = load_lab("emulated")
    uplink = link("eth0", address("10.0.2.15"))
    text = said(
        FREE, link("eno9"), uplink, default=["eth0"], ssh="10.0.2.2 5 10.0.2.15 22", back="eth0"
    )
    with FakeRunner("host") as host:
        host.expect(("sh", "-c", nicfacts._FACTS, "facts", lab.nic, lab.peer.nic), stdout=text)
        preflight.check(lab, names_of(lab), host, host, guest_links=(), force=False)
