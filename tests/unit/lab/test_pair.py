"""Two hosts of one lab: how they are joined, and how libvirt on one reaches the other."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest

from tests.unit.lab.test_machine import hardware
from zclab.documents.labs import load_lab
from zclab.errors import CommandError, ConfigError, LabError
from zclab.lab import emulated, machine, pair, ssh
from zclab.lab.machine import Joined
from zclab.lab.names import Place
from zclab.lab.session import Session
from zclab.model import Endpoint, Lab, Peer, Second
from zclab.runner import LocalRunner
from zclab.runner.fake import FakeRunner

NIC, OTHER, PEER = "0000:3b:00.0", "0000:5e:00.0", "0000:3b:00.1"
RACK = Lab(
    name="rack",
    kind="ssh",
    host=Endpoint(address="a.example"),
    nic=NIC,
    peer=Peer(nic=PEER),
    second=Second(nic=OTHER, host=Endpoint(address="b.example", port=2222)),
)


def argv(folder: Path, place: Place | None) -> tuple[str, ...]:
    made_of = hardware(folder)
    joined = Joined(place=place, segment=5, migration=7) if place else None
    return machine.Machine(
        hardware=machine.Hardware(**{**vars(made_of), "joined": joined}),
        image=Path("host.squashfs"),
        seed=Path("seed.tar"),
        accelerator="tcg",
    ).argv


def devices(folder: Path, place: Place | None) -> list[str]:
    words = argv(folder, place)
    return [
        options
        for word, options in pairwise(words)
        if word in {"-device", "-netdev"} and "mac=" in options
    ]


def test_the_second_host_has_no_peer_and_other_addresses(tmp_path: Path) -> None:
    one, first, second = (devices(tmp_path, place) for place in (None, "first", "second"))

    def macs(found: list[str]) -> list[str]:
        return [options.partition("mac=")[2].partition(",")[0][-2:] for options in found]

    assert macs(one) == ["01", "02"]
    assert macs(first) == ["01", "02", "e1"]
    assert macs(second) == ["03", "e2"]


def test_the_first_host_is_the_machine_that_a_lab_with_one_host_has(tmp_path: Path) -> None:
    """What a second host adds stands behind, so that nothing else gets another place."""
    one, first = argv(tmp_path, None), argv(tmp_path, "first")

    assert first[: len(one)] == one


def test_two_hosts_have_the_ends_of_the_same_sockets() -> None:
    """They are connected, and closed here once the hosts have them."""
    with machine.joined() as (first, second):
        assert (first.place, second.place) == ("first", "second")
        for one, other in zip(first.descriptors, second.descriptors, strict=True):
            os.write(one, b"frame")
            assert os.read(other, 9) == b"frame"
        words = [word for word in first.argv if word.startswith("stream,")]
        assert [word.rpartition("=")[2] for word in words] == list(map(str, first.descriptors))

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(first.segment, b"frame")


def test_a_way_in_to_a_second_host_has_the_keys_of_the_same_guest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    first, second = ssh.access(RACK), ssh.second_access(RACK)

    assert first.folder != second.folder
    assert first.authorized_key == second.authorized_key
    assert first.guest_host_key.read_bytes() == second.guest_host_key.read_bytes()
    assert second.endpoint == RACK.second.host if RACK.second else None


def test_a_lab_with_one_host_has_no_second_way_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    with pytest.raises(LabError, match="rack is not an ssh lab with a second host"):
        ssh.second_access(RACK.model_copy(update={"second": None}))


def test_a_lab_is_up_only_while_both_of_its_hosts_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    folder = emulated.folder_of("two")
    second = emulated.second_folder(folder)
    second.mkdir(parents=True)
    for one in (folder, second):
        (one / "seed.tar").touch()
    up = emulated.Up(name="two", port=1, second_port=2, contents={}, command_line="qemu")
    (folder / "ready").write_text(up.model_dump_json())
    running = {folder, second}
    monkeypatch.setattr(machine, "processes", lambda one: [7] if one in running else [])

    assert emulated.find("two") == up
    running.remove(second)
    assert emulated.find("two") is None
    with pytest.raises(LabError, match="the second emulated host of lab two ended by itself"):
        emulated.check_alive("two")


def test_what_a_second_host_left_does_not_keep_a_lab_with_one_host_from_being_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    folder = emulated.folder_of("was-two")
    emulated.second_folder(folder).mkdir(parents=True)
    (emulated.second_folder(folder) / "console.log").touch()
    up = emulated.Up(name="was-two", port=1, contents={}, command_line="qemu")
    (folder / "ready").write_text(up.model_dump_json())
    monkeypatch.setattr(machine, "processes", lambda one: [7] if one == folder else [])

    assert emulated.find("was-two") == up


def test_down_leaves_of_a_second_host_what_tells_of_its_life(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    folder = emulated.folder_of("two")
    second = emulated.second_folder(folder)
    second.mkdir(parents=True)
    for name in ("lock", "seed.tar", "ready"):
        (folder / name).touch()
    for name in ("seed.tar", "id_ed25519", "console.log", "emulator.log"):
        (second / name).touch()

    assert emulated.down("two")
    assert sorted(path.name for path in second.iterdir()) == ["console.log", "emulator.log"]


def test_the_ssh_of_a_migration_checks_the_other_host_by_its_own_key() -> None:
    config = pair._ssh_config("/var/lib/zclab/x/migration", "b.example", 2222).splitlines()

    for line in (
        "  HostName b.example",
        "  Port 2222",
        "  StrictHostKeyChecking yes",
        "  UserKnownHostsFile /var/lib/zclab/x/migration/known_hosts",
    ):
        assert line in config


def of(lab: Lab) -> Session:
    return cast("Session", type("OfLab", (), {"lab": lab}))


def test_hosts_reach_each_other_at_the_addresses_of_their_ssh_unless_told() -> None:
    second = RACK.second
    assert second
    private = second.model_copy(update={"address": "10.0.0.2", "first_address": "10.0.0.1"})

    def addresses(lab: Lab) -> list[str]:
        return list(pair._addresses(of(lab), of(lab)).values())

    assert addresses(RACK) == ["a.example", "b.example"]
    assert addresses(RACK.model_copy(update={"second": private})) == ["10.0.0.1", "10.0.0.2"]
    assert addresses(load_lab("pair")) == list(pair.ADDRESSES.values())
    assert [pair._port(of(RACK), place) for place in ("first", "second")] == [22, 2222]


def test_a_host_that_does_not_reach_the_other_one_is_told_with_the_keys_to_set() -> None:
    with FakeRunner() as host:
        argv = ("/x/ssh", "-T", "--", "zclab-target", "true")
        host.expect(argv, error=CommandError("Connection refused"))

        with pytest.raises(LabError, match=r"b\.example by SSH, as root: .*second\.address"):
            pair._try(host, "/x/ssh", "second host", "b.example")


def changed(**keys: object) -> Callable[[], Lab]:
    return lambda: Lab.model_validate({**load_lab("pair").model_dump(), **keys})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (changed(clock="virtual"), "found 'virtual', allowed with a second host: wall"),
        (changed(second={"nic": "0000:02:00.0"}), "allowed: 0000:01:00.0, which a second host"),
        (
            changed(second={"nic": "0000:01:00.0", "address": "x"}),
            "a lab of kind emulated has no use for 'address'",
        ),
        (
            lambda: Lab.model_validate({**RACK.model_dump(), "second": {"nic": OTHER}}),
            "an ssh lab's second host needs 'host:'",
        ),
        (
            lambda: Lab.model_validate(
                {**RACK.model_dump(), "second": {"nic": OTHER, "host": {"address": "a.example"}}}
            ),
            "found a.example, which is host.address",
        ),
    ],
)
def test_a_second_host_that_cannot_be_is_told(make: Callable[[], Lab], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_a_lab_with_one_host_opens_no_pair() -> None:
    from unittest.mock import Mock  # noqa: PLC0415 - nothing else here needs it

    from zclab.lab import lifecycle  # noqa: PLC0415
    from zclab.progress import silent  # noqa: PLC0415

    opening = lifecycle.opened_pair(
        load_lab("emulated"), Mock(), keep=True, mtu=1500, offloads="on", progress=silent
    )
    with pytest.raises(ConfigError, match="has one host; `--lab=pair` has two"), opening:
        pass


@pytest.mark.parametrize("before", ["", "ssh-ed25519 AAAA me@desk", "ssh-ed25519 AAAA me@desk\n"])
@pytest.mark.parametrize("linked", [False, True])
def test_whoever_root_lets_in_stays_let_in(tmp_path: Path, before: str, linked: bool) -> None:
    """A last line without its end is the user's, and so is a link in the file's place."""
    there, file = tmp_path / "there", tmp_path / "ssh" / "authorized_keys"
    file.parent.mkdir()
    (there if linked else file).write_text(before)
    if linked:
        file.symlink_to(there)
    run = LocalRunner().run

    for key in ("ssh-ed25519 BBBB", "ssh-ed25519 CCCC"):
        run(pair.let_in("zclab-migration-zclab3b00", key, str(file)))
    *others, ours = file.read_text().splitlines()
    run(pair.let_in("zclab-migration-zclab3b00", "", str(file)))

    assert ours == "restrict ssh-ed25519 CCCC zclab-migration-zclab3b00"
    assert others == before.splitlines() == file.read_text().splitlines()
    assert file.is_symlink() == linked
