"""The lab's keys are what ssh and dropbear take them for."""

import subprocess
from pathlib import Path

from zclab.lab.access import write_access, write_private
from zclab.lab.keys import KeyPair
from zclab.model import Endpoint


def test_ssh_keygen_derives_the_public_key_that_we_hand_out(tmp_path: Path) -> None:
    pair = KeyPair.generate()
    write_private(tmp_path / "key", pair.openssh)

    derived = subprocess.run(
        ("ssh-keygen", "-y", "-f", tmp_path / "key"), capture_output=True, text=True, check=True
    ).stdout
    assert derived.split()[:2] == pair.public.split()


def test_a_dropbear_key_is_type_seed_and_public_key() -> None:
    pair = KeyPair.generate()

    blob = pair.dropbear
    assert blob[:19] == b"\0\0\0\x0bssh-ed25519\0\0\0\x40"
    assert len(blob) == 19 + 64


def test_private_keys_are_private_from_the_first_moment(tmp_path: Path) -> None:
    endpoint = Endpoint(address="127.0.0.1", port=2222, identity_file=str(tmp_path / "id"))
    write_access(tmp_path, endpoint)

    for name in ("guest_id_ed25519", "guest_host_key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_ssh_understands_the_configuration_we_write(tmp_path: Path) -> None:
    endpoint = Endpoint(
        address="127.0.0.1",
        port=2222,
        identity_file=str(tmp_path / "id"),
        known_hosts_file=str(tmp_path / "known"),
    )
    write_access(tmp_path, endpoint)

    shown = subprocess.run(
        ("ssh", "-G", "-F", tmp_path / "ssh_config", "zclab-guest"),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert "hostname 198.18.0.2" in shown
    assert "stricthostkeychecking true" in shown
    assert f"proxycommand {tmp_path}/ssh -W %h:%p -- 127.0.0.1" in shown


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_keys_that_a_run_may_be_using_stay(tmp_path: Path) -> None:
    endpoint = Endpoint(address="127.0.0.1", port=2222)
    write_access(tmp_path, endpoint)
    before = contents(tmp_path)

    write_access(tmp_path, endpoint)

    assert contents(tmp_path) == before


def test_a_guest_at_another_address_is_known_by_the_same_key(tmp_path: Path) -> None:
    write_access(tmp_path, None)
    access = write_access(tmp_path, None, guest_address="198.18.2.1")

    key = (tmp_path / "guest_host_key.pub").read_text()
    known = (tmp_path / "guest_known_hosts").read_text()
    assert known == f"198.18.0.2 {key}198.18.2.1 {key}"
    assert access.guest_address == "198.18.2.1"


def test_keys_of_which_a_part_is_missing_are_all_made_anew(tmp_path: Path) -> None:
    write_access(tmp_path, None)
    before = contents(tmp_path)
    (tmp_path / "guest_host_key.pub").unlink()

    write_access(tmp_path, None)

    assert contents(tmp_path).keys() == before.keys()
    kept = {name for name, data in contents(tmp_path).items() if data == before[name]}
    assert kept == {"guest_ssh_config", "ssh_config"}
