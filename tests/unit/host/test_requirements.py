"""What a lab's hosts lack is told at once, each with a remedy."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given

from tests.unit.mutations import mutated
from zclab.errors import LabError, ParseError
from zclab.experiment import builds
from zclab.host import requirements
from zclab.host.finding import Finding, failed, render
from zclab.host.requirements import HOST_TOOLS, PEER_TOOLS
from zclab.lab import lifecycle
from zclab.model import Endpoint, Lab, Peer
from zclab.runner import LocalRunner
from zclab.runner.fake import FakeRunner

NIC, PEER = "0000:3b:00.0", "0000:3b:00.1"
HAVE = (
    *(*HOST_TOOLS, *PEER_TOOLS, "tunnel", "ip-json", "macvtap", "mp", "socket", "kvm", "vhost"),
    *("vfio", "threaded", "config", "KPROBE_EVENTS", "KPROBE_EVENTS_ON_NOTRACE", "HIST_TRIGGERS"),
    *("nic", "iommu", "end"),
)
SAID = {
    "user": "0",
    "kernel": "6.12.107",
    "machine": "x86_64",
    "libvirt": "libvirtd (libvirt) 11.3.0",
    "qemu": "QEMU emulator version 10.0.2 (Debian 1:10.0.2)",
}


def answer(*, lacks: tuple[str, ...] = (), **said: str) -> str:
    lines = [f"zclab:{word} {value}" for word, value in {**SAID, **said}.items()]
    lines += [f"zclab:have {word}" for word in HAVE if word not in lacks]
    return "\n".join((*lines, ""))


def judged(text: str, *, with_peer: bool = True) -> dict[str, Finding]:
    answers = requirements.parse(text, where="host", nic=NIC)
    found = requirements.check_host(answers, with_peer=with_peer)
    return {finding.name.removeprefix("host: "): finding for finding in found}


def test_a_host_that_has_everything_has_nothing_to_mend() -> None:
    found = judged(answer())

    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["libvirt"].detail == f"{SAID['libvirt']}; {SAID['qemu']}"


@pytest.mark.parametrize(
    ("lacks", "name", "status", "detail", "remedy"),
    [
        ("netserver", "tools", "fail", "missing: netserver", "apt-get install netperf"),
        ("flock", "tools", "fail", "missing: flock", "apt-get install util-linux"),
        ("ip-json", "ip-json", "fail", "no ip that prints JSON", "iproute2 4.18"),
        ("threaded", "threaded", "fail", "threaded NAPI, in kernel 6.12.107", "Linux 5.12"),
        ("nic", "nic", "fail", f"no PCI function {NIC}", "lspci -D"),
        ("socket", "libvirt", "fail", "libvirtd (libvirt) 11.3.0 does not run", "systemctl start"),
        ("tunnel", "tunnel", "fail", "no virt-ssh-helper or nc", "apt-get install"),
        ("kvm", "kvm", "fail", "no /dev/kvm", "firmware"),
        ("vhost", "vhost", "fail", "no /dev/vhost-net", "modprobe vhost_net"),
        ("HIST_TRIGGERS", "probes", "fail", "CONFIG_HIST_TRIGGERS", "CONFIG_HIST_TRIGGERS=y"),
        ("KPROBE_EVENTS_ON_NOTRACE", "probes", "warn", "ON_NOTRACE", "build-kernel"),
        ("config", "probes", "warn", "unknown", "CONFIG_KPROBE_EVENTS"),
        ("iommu", "passthrough", "warn", "intel_iommu=on", "--mode"),
        ("vfio", "passthrough", "warn", "CONFIG_VFIO_PCI", "--mode"),
        ("macvtap", "vhost mode", "warn", "no macvtap", "CONFIG_MACVTAP"),
        ("mp", "zerocopy", "warn", "no mp device", "build-kernel"),
    ],
)
def test_each_lack_is_told_with_a_remedy(
    lacks: str, name: str, status: str, detail: str, remedy: str
) -> None:
    found = judged(answer(lacks=(lacks,)))

    assert found[name].status == status
    assert detail in found[name].detail
    assert remedy in found[name].remedy
    assert [other for other, one in found.items() if one.status != "ok"] == [name]


@pytest.mark.parametrize(
    ("said", "status", "detail"),
    [
        ("libvirtd (libvirt) 6.4.0", "fail", "6.4.0; zclab needs 6.5.0 or later"),
        ("libvirtd (libvirt) 9.0.0", "ok", "9.0.0; guests keep QEMU's setting of the machine's"),
        ("virtqemud (libvirt) 10.10.0", "ok", "10.10.0; QEMU"),
        ("", "fail", "no libvirtd or virtqemud"),
        ("libvirtd (libvirt) ten", "fail", "no libvirtd or virtqemud"),
    ],
)
def test_versions_are_compared_as_numbers(said: str, status: str, detail: str) -> None:
    found = judged(answer(libvirt=said))["libvirt"]

    assert found.status == status
    assert detail in found.detail


def test_a_user_who_is_not_root_is_told() -> None:
    found = judged(answer(user="1000"))["root"]

    assert found.status == "fail"
    assert "user 1000" in found.detail


def test_a_host_without_the_peers_nic_needs_no_netperf() -> None:
    found = judged(answer(lacks=("netserver", "netperf")), with_peer=False)

    assert not failed(tuple(found.values()))


def test_a_peer_needs_neither_kvm_nor_libvirt() -> None:
    text = answer(lacks=("kvm", "vhost", "qemu-system-x86_64", "socket"), libvirt="")
    answers = requirements.parse(text, where="peer", nic=PEER)

    assert not failed(requirements.check_peer(answers))


@pytest.mark.parametrize("text", ["", "Welcome to lab7\n", answer(lacks=("end",))])
def test_a_host_whose_shell_does_something_else_is_an_error(text: str) -> None:
    with pytest.raises(ParseError, match="host: its shell did not answer all"):
        requirements.parse(text, where="host", nic=NIC)


@given(mutated(answer()))
def test_whatever_a_host_answers_ends_in_findings_or_in_an_error_of_ours(text: str) -> None:
    with suppress(ParseError):
        answers = requirements.parse(text, where="host", nic=NIC)
        requirements.check_host(answers, with_peer=True)
        requirements.check_peer(answers)


def test_this_machine_answers_to_the_end(tmp_path: Path) -> None:
    answers = requirements.ask(LocalRunner(), "ffff:ff:1f.7", ("sh", str(tmp_path)))

    assert "sh" in answers.have
    assert "nic" not in answers.have
    assert answers.said["user"].isdecimal()


def two_hosts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **lacks: tuple[str, ...]) -> Lab:
    """Return a lab of two hosts, of which each lacks something."""
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    host, peer = FakeRunner("host"), FakeRunner("peer")
    ask = ("sh", "-c", requirements._ASK)
    host.expect((*ask, NIC, *sorted(HOST_TOOLS)), stdout=answer(lacks=lacks.get("host", ())))
    peer.expect((*ask, PEER, *sorted(PEER_TOOLS)), stdout=answer(lacks=lacks.get("peer", ())))
    monkeypatch.setattr("zclab.lab.access.Access.host_runner", lambda _self: host)
    monkeypatch.setattr(lifecycle, "peer_host", lambda *_args: peer)
    endpoint = Endpoint(address="h")
    return Lab(
        name="rack",
        kind="ssh",
        host=endpoint,
        nic=NIC,
        peer=Peer(nic=PEER, endpoint=endpoint, netns=None),
    )


def test_a_run_says_what_its_hosts_lack_before_it_builds_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = two_hosts(monkeypatch, tmp_path, host=("vhost", "mp"), peer=("netserver",))
    monkeypatch.setattr(builds, "build_all", lambda **_options: pytest.fail("was built"))

    with pytest.raises(LabError) as caught:
        builds.build_lab(lab)

    told = str(caught.value)
    assert "host: vhost  no /dev/vhost-net" in told
    assert "peer: tools  missing: netserver" in told
    assert "zerocopy" not in told  # other modes run


def test_a_run_on_hosts_that_have_all_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lab = two_hosts(monkeypatch, tmp_path)
    monkeypatch.setattr(builds, "build_all", lambda **_options: "built")

    assert builds.build_lab(lab) == "built"


def test_of_a_lab_both_hosts_are_told_what_they_lack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = render(lifecycle.requirements_of(two_hosts(monkeypatch, tmp_path, peer=("netserver",))))

    assert "host: libvirt" in told
    assert "as root there: apt-get install netperf" in told


def test_an_emulated_host_brings_what_it_needs() -> None:
    assert lifecycle.requirements_of(builds.load("emulated")) == ()
