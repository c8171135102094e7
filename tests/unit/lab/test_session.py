"""Preparing a real host: locked, looked at, and only then changed, in what is the lab's own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest

from zclab.errors import CommandError, DomainError, LabError
from zclab.host import netdev
from zclab.host.copies import remove_script
from zclab.lab import lock, ssh
from zclab.lab import session as sessions
from zclab.lab.access import Access
from zclab.lab.names import names_of
from zclab.lab.session import Session
from zclab.lab.watch import Watcher
from zclab.model import Endpoint, Lab, Peer
from zclab.modes.passthrough import Passthrough
from zclab.runner.fake import FakeRunner

NIC, PEER = "0000:3b:00.0", "0000:3b:00.1"
LAB = Lab(name="rack", kind="ssh", host=Endpoint(address="h"), nic=NIC, peer=Peer(nic=PEER))


class Libvirt:
    """A libvirt on which guests of several users run."""

    def __init__(self, *names: str) -> None:
        self.running = list(names)

    def destroy_leftovers(self, names: tuple[str, ...]) -> None:
        """See zclab.host.domain.Libvirt."""
        self.running = [name for name in self.running if name not in names]


def device(nic: str) -> str:
    return f"/sys/bus/pci/devices/{nic}"


def test_a_sweep_removes_what_is_the_labs_own_and_nothing_else() -> None:
    names = names_of(LAB)
    libvirt = Libvirt("zclab-3b00-vhost", "zclab-3b01-vhost", "zclab-rack-vhost", "web")
    with FakeRunner() as host:
        host.expect(("sh", "-s"), stdin=remove_script("zclab_3b00"))
        words = ("zclab-3b00-peer", "zclab3b00", "mp3b00")
        host.expect(("sh", "-c", sessions._SWEEP, *words))
        host.expect(("readlink", f"{device(NIC)}/driver"), stdout="../drivers/ixgbe\n")
        for nic in (NIC, PEER):
            host.expect(("ls", f"{device(nic)}/net"), stdout="eno1\n")

        sessions.sweep(LAB, names, host, cast("Any", libvirt))

    assert libvirt.running == ["zclab-3b01-vhost", "zclab-rack-vhost", "web"]


def test_both_ends_of_a_cable_in_one_host_are_locked_at_once() -> None:
    with FakeRunner() as host, ExitStack() as undo:
        argv = ("sh", "-c", lock._HOLD, lock.FOLDER, lock.owner(), NIC, PEER)
        host.expect(argv, stdout="held\n")

        sessions._lock(LAB, host, host, undo)


def test_the_ends_of_a_cable_between_hosts_are_locked_on_each() -> None:
    with FakeRunner() as host, FakeRunner("peer") as peer, ExitStack() as undo:
        argv = ("sh", "-c", lock._HOLD, lock.FOLDER, lock.owner())
        host.expect((*argv, NIC), stdout="held\n")
        peer.expect((*argv, PEER), stdout="held\n")

        sessions._lock(LAB, host, peer, undo)


def test_a_nic_in_use_by_another_run_is_refused_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The host knows no other command than the lock's."""
    monkeypatch.setattr(sessions, "connect_libvirt", Mock())
    access = Access(folder=tmp_path, endpoint=None)
    with FakeRunner() as host, ExitStack() as undo:
        argv = ("sh", "-c", lock._HOLD, lock.FOLDER, lock.owner(), NIC, PEER)
        host.expect(argv, stdout=f"taken {NIC}\nsays: bob@ctl (PID 7, `x`) since 2026\nrefused\n")
        with pytest.raises(LabError, match=f"NIC {NIC} is in use by bob@ctl"):
            sessions._prepare(
                LAB, access, Mock(), host, Watcher(abort=lambda: None), undo, 1500, "on", False
            )


def test_a_way_in_to_a_lab_in_use_leaves_its_keys_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    first = ssh.access(LAB)
    key = first.authorized_key

    assert ssh.access(LAB) == first
    assert first.authorized_key == key
    assert first.guest_address == names_of(LAB).guest_address


def passed_through(host: FakeRunner) -> Session:
    """Expect a NIC to be bound to vfio-pci, and return what a mode needs of its session."""
    host.expect(
        ("readlink", f"{device(NIC)}/iommu_group"), stdout="../../../kernel/iommu_groups/7\n"
    )
    host.expect(("ls", "/sys/kernel/iommu_groups/7/devices"), stdout=f"{NIC}\n")
    for _ in range(2):
        host.expect(("readlink", f"{device(NIC)}/driver"), stdout="../drivers/vfio-pci\n")
    return cast("Session", SimpleNamespace(host=host, lab=LAB, retune_nic=lambda: None))


def test_what_went_wrong_with_a_guest_is_not_hidden_by_a_nic_that_does_not_come_back() -> None:
    with FakeRunner() as host:
        session = passed_through(host)
        gone = CommandError("can't cd to /sys/class/net/eth1")
        host.expect(("sh", "-c", 'cat > "$0"', f"{device(NIC)}/driver_override"), error=gone)
        with (
            pytest.raises(DomainError, match="guest did not start"),
            Passthrough().attach(session),
        ):
            raise DomainError("guest did not start")


def test_a_nic_that_does_not_come_back_is_an_error_of_its_own() -> None:
    with FakeRunner() as host:
        session = passed_through(host)
        gone = CommandError("can't cd to /sys/class/net/eth1")
        host.expect(("sh", "-c", 'cat > "$0"', f"{device(NIC)}/driver_override"), error=gone)
        with pytest.raises(CommandError, match="can't cd"), Passthrough().attach(session):
            pass


def test_a_nic_that_has_come_back_is_tuned_by_its_new_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tuned: list[str] = []
    monkeypatch.setattr(netdev, "tune", lambda _host, name, **_more: tuned.append(name))
    with FakeRunner() as host:
        host.expect(("ls", f"{device(NIC)}/net"), stdout="enp59s0\n")
        session = Session(
            **{
                **dict.fromkeys(Session.__dataclass_fields__),
                "lab": LAB,
                "host": host,
                "port": netdev.Port(NIC, "eth1"),
            }
        )

        session.retune_nic()

    assert tuned == ["enp59s0"]
    assert session.nic == "enp59s0"
