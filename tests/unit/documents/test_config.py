"""A wrong lab file is told where it is wrong, what was found and what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zclab.documents.labs import LABS, lab_names, load_lab, with_overrides
from zclab.errors import ConfigError

DATA = Path(__file__).resolve().parents[2] / "data" / "labs"
GOOD = """\
kind: emulated
emulator:
  nic: e1000e
nic: 0000:01:00.0
peer:
  nic: 0000:02:00.0
"""
KEYS = "kind, emulator, host, nic, peer, network, guest, tunables, clock, second"
CPU = "text as for QEMU's -cpu, such as max or EPYC,+svm"
PCI = "a PCI address such as 0000:01:00.0, in lower case"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a directory of its own, so that files are shown by their plain names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def error_of(text: str | bytes, *, file: str = "my-lab.yaml", name: str | None = None) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    Path(file).write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_lab(file, name=name)
    return str(caught.value)


@pytest.mark.parametrize("name", lab_names())
def test_every_lab_of_the_tree_loads(name: str) -> None:
    assert load_lab(name).name == name


def test_the_default_lab() -> None:
    lab = load_lab("emulated")

    assert lab.kind == "emulated"
    assert lab.emulator is not None
    assert (lab.emulator.nic, lab.emulator.cpus, lab.emulator.memory_mib) == ("e1000e", 2, 2560)
    assert (lab.nic, lab.peer.nic, lab.peer.netns) == ("0000:01:00.0", "0000:02:00.0", "peer")
    assert (lab.guest.vcpus, lab.guest.memory_mib) == (1, 512)


def test_a_lab_is_called_like_its_file_or_as_asked() -> None:
    Path("my-lab.yaml").write_text(GOOD)

    assert load_lab("my-lab.yaml").name == "my-lab"
    assert load_lab("./my-lab.yaml", name="second").name == "second"


def test_a_pci_address_needs_no_quotes() -> None:
    """YAML 1.1 reads 0000:01:00.0 as the number 60 in base 60."""
    Path("my-lab.yaml").write_text(GOOD.replace("0000:01:00.0", "'0000:01:00.0'"))
    quoted = load_lab("my-lab.yaml")
    Path("my-lab.yaml").write_text(GOOD)

    assert load_lab("my-lab.yaml") == quoted


def test_all_mistakes_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(DATA)
    expected = Path("many-mistakes.txt").read_text(encoding="utf-8")

    with pytest.raises(ConfigError) as caught:
        load_lab("many-mistakes.yaml")

    assert f"{caught.value}\n" == expected


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("e1000e", "e1000x", "3: emulator.nic: found 'e1000x', allowed: e1000e, igb"),
        (
            "  nic: e1000e",
            "  cpus: 99",
            "3: emulator.cpus: found 99, allowed: an integer from 1 to 16",
        ),
        (
            "  nic: e1000e",
            "  cpus: '2'",
            "3: emulator.cpus: found '2', allowed: an integer from 1 to 16",
        ),
        ("  nic: e1000e", "  cpu_model: 486", f"3: emulator.cpu_model: found 486, allowed: {CPU}"),
        (
            "  nic: e1000e",
            "  nik: e1000e",
            (
                "3: emulator.nik: unknown key, did you mean 'nic'?; "
                "allowed keys: nic, cpus, memory_mib, cpu_model, accelerator"
            ),
        ),
        ("kind", "flavour: 1\nkind", f"1: flavour: unknown key; allowed keys: {KEYS}"),
        (
            "kind",
            "name: a\nkind",
            "1: name: not a key: the lab's name is its file's name, or --name",
        ),
        ("  nic: e1000e", "  nic:", "3: emulator.nic: found nothing, allowed: e1000e, igb"),
        ("  nic: 0000:02:00.0", "  netns: p", f"5: peer.nic: missing, allowed: {PCI}"),
        ("  nic: 0000:02:00.0", "  nic: eth1", f"6: peer.nic: found 'eth1', allowed: {PCI}"),
        (
            "kind",
            "guest: 3\nkind",
            "1: guest: found 3, allowed: the keys vcpus, memory_mib, queues",
        ),
        (
            "kind",
            "guest:\n  queues: 2\nkind",
            (
                "2: guest.queues: queues is 2 and vcpus 1: the guest's driver uses as many queues "
                "as it has CPUs; give it more vcpus"
            ),
        ),
        ("kind", "clock: cpu\nkind", "1: clock: found 'cpu', allowed: wall, virtual"),
        (
            "kind",
            "tunables:\n  threaded_napi: on\nkind",
            "2: tunables.threaded_napi: found 'on', allowed: true, false",
        ),
        (
            "kind",
            "tunables: {vhost_queue_size: 300}\nkind",
            "1: tunables.vhost_queue_size: found 300, allowed: 256, 512, 1024",
        ),
        (
            "kind",
            "tunables:\n  rx_usecs: 50 us\nkind",
            "2: tunables.rx_usecs: found '50 us', allowed: an integer from 0 to 10000",
        ),
        (
            "kind",
            "network:\n  guest: 10.0.0.300/24\nkind",
            (
                "2: network.guest: found '10.0.0.300/24', allowed: "
                "an IPv4 address with its prefix length such as 192.0.2.2/24"
            ),
        ),
        (
            "kind",
            "network:\n  guest: 10.0.0.1/24\nkind",
            "2: network.guest: guest 10.0.0.1/24 and peer 192.0.2.1/24 are not in one network",
        ),
        (
            "  nic: e1000e",
            "  nic: e1000e\n  nic: igb",
            ("4: emulator.nic: given again, first in line 3; keep one"),
        ),
        (
            "  nic: e1000e",
            "",
            "1: kind: a lab of kind emulated needs 'emulator:' with keys below it",
        ),
    ],
)
def test_a_wrong_value_or_key(old: str, new: str, error: str) -> None:
    assert error_of(GOOD.replace(old, new, 1)) == f"my-lab.yaml:{error}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ": empty; start from a copy of labs/emulated.yaml"),
        ("# only this\n", ": empty; start from a copy of labs/emulated.yaml"),
        ("- a\n", ":1: not keys with values; for an example see labs/emulated.yaml"),
        ("kind: a: b\n", ":1: not YAML: mapping values are not allowed here"),
        (
            "a: [1,\n  2\n",
            (
                ":3: not YAML: while parsing a flow sequence: expected ',' or ']', "
                "but got '<stream end>'"
            ),
        ),
        ("peer:\n\tnic: x\n", ":2: not YAML: a tab; indent with spaces"),
        ("a: *x\n", ":1: not YAML: found undefined alias 'x'"),
        ("a: 1\n---\nb: 2\n", ":2: not YAML: a second document ('---'); a file has one"),
        ("a: 1\nb: \0\n", ":2: not YAML: the character U+0000; leave it out"),
        (b"\xff\xfek\0i\0", ":1: byte 0xff is not UTF-8; save the file as UTF-8"),
        ('a: "\\U00110000"\n', ": not YAML: an escape or a number in it is out of range"),
        (
            GOOD.replace("e1000e", "!nic e1000e"),
            (":3: emulator.nic: tags (!nic) are not supported; leave it out"),
        ),
        (GOOD + "? [a]\n: b\n", ":7: a key must be one word"),
        (b"# lab\n# caf\xe9\n", ":2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("#" * 70_000, ": longer than 64 KiB; is it a file for zclab?"),
        ("[" * 5_000, ": nested too deep"),
    ],
)
def test_a_file_that_is_not_a_lab_at_all(text: str | bytes, error: str) -> None:
    assert error_of(text) == f"my-lab.yaml{error}"


def test_a_file_name_that_cannot_be_a_lab_name() -> None:
    allowed = "found 'My_Lab', allowed: up to 32 lower-case letters, digits and hyphens"

    assert (
        error_of(GOOD, file="My_Lab.yaml")
        == f"My_Lab.yaml:1: name: {allowed}; rename the file, or say --name"
    )
    assert error_of(GOOD, file="my-lab.yaml", name="My_Lab") == f"my-lab.yaml:1: name: {allowed}"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("emulatd", "no lab 'emulatd', did you mean 'emulated'?"),
        ("zzz", "no lab 'zzz'"),
        ("labs/zzz.yaml", "labs/zzz.yaml: no such file"),
        ("./labs", "./labs: not a file"),
        ("/dev/null", "/dev/null: not a file"),
    ],
)
def test_a_lab_that_is_not_there(name: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(LABS.parent)
    there_are = ", ".join(lab_names())

    with pytest.raises(ConfigError) as caught:
        load_lab(name)

    assert str(caught.value) == f"{error}; labs in labs/: {there_are}"


def test_the_command_line_overrides_the_nic() -> None:
    lab = load_lab("emulated")

    other = with_overrides(lab, nic="igb")

    assert other.emulator is not None
    assert other.emulator.nic == "igb"
    assert with_overrides(lab) == lab


@pytest.mark.parametrize(
    ("lab", "nic", "error"),
    [
        ("emulated", "e1000x", "--nic: found 'e1000x', allowed: e1000e, igb"),
        (
            "ssh-example",
            "igb",
            (
                "--nic igb: lab 'ssh-example' is of kind ssh: only an emulated one has a nic to "
                "choose; leave --nic out"
            ),
        ),
    ],
)
def test_an_override_that_cannot_be(lab: str, nic: str, error: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_overrides(load_lab(lab), nic=nic)

    assert str(caught.value) == error


SSH = """\
kind: ssh
host:
  address: lab1
nic: 0000:01:00.0
peer:
  nic: 0000:01:00.1
  endpoint:
    address: peer1
"""


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("lab1", "lab1"),
        ("rack_4.example", "rack_4.example"),
        ("2001:db8::5", "2001:db8::5"),
        ("'[2001:db8::5]'", "2001:db8::5"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_is_a_name_an_alias_or_an_ip_address(written: str, address: str) -> None:
    Path("lab.yaml").write_text(SSH.replace("lab1", written))

    host = load_lab("lab.yaml").host

    assert host
    assert (host.address, host.port, host.user) == (address, None, None)


ADDRESS = (
    "a host name, an IP address or an alias of ~/.ssh/config; port and user are keys of their own"
)
BY_NAME = "write NAME as in `ssh NAME`"


@pytest.mark.parametrize(
    ("written", "remedy"),
    [
        ("lab1:2222", "write address: 'lab1', port: 2222"),
        ("root@lab1", "write address: 'lab1', user: root"),
        ("ssh://me@lab1:22/", "write address: 'lab1', port: 22, user: me"),
        ("'[::1]:22'", "write address: '::1', port: 22"),
        ("'me@[::1]'", "write address: '::1', user: me"),
        ("''", BY_NAME),
        ("lab 1", BY_NAME),
        ("-oProxyCommand=reboot", BY_NAME),
        ("me@-oProxyCommand=reboot", BY_NAME),
        ("'*'", BY_NAME),
        ("lab1,lab2", BY_NAME),
        ("'::1%'", BY_NAME),
        ("$HOME", BY_NAME),
    ],
)
def test_an_address_that_says_more_is_told_which_keys_say_it(written: str, remedy: str) -> None:
    shown = written.strip("'")

    for key, line, name in (("host", 3, "lab1"), ("peer.endpoint", 8, "peer1")):
        text = SSH.replace(f"address: {name}", f"address: {written}")
        wanted = f"{key}.address: found '{shown}', allowed: {ADDRESS}; {remedy}"
        assert error_of(text) == f"my-lab.yaml:{line}: {wanted}"


@pytest.mark.parametrize("name", ["zclab-guest", "Zclab-Guest"])
def test_no_host_is_called_what_ssh_calls_the_guest(name: str) -> None:
    for key, line, host in (("host", 3, "lab1"), ("peer.endpoint", 8, "peer1")):
        assert error_of(SSH.replace(host, name)) == (
            f"my-lab.yaml:{line}: {key}.address: found '{name}', allowed: any other name; "
            "zclab has this one for guests. Give the host another alias"
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_any_address_is_taken_or_refused_with_its_line(text: str) -> None:
    Path("lab.yaml").write_text(SSH.replace("lab1", json.dumps(text)))

    try:
        lab = load_lab("lab.yaml")
    except ConfigError as exc:
        assert str(exc).startswith("lab.yaml:3: ")  # noqa: PT017 - either outcome is right
    else:
        assert lab.host
        assert lab.host.address in {text, text[1:-1]}
        assert not set(lab.host.address) & set(" \t\n\"'\\$`*?!,;&|<>(){}@#")
        assert not lab.host.address.startswith("-")


@pytest.mark.parametrize("key", ["identity_file", "known_hosts_file"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/none/there", "there is none"),
        ("/", "there is none"),
        ("~nobody-of-that-name/key", "that user has no home"),
        ("", "there is none"),
    ],
)
def test_a_file_for_ssh_that_is_not_there_is_told_at_once(
    key: str, name: str, problem: str
) -> None:
    for where, line, address in (("host", 4, "lab1"), ("peer.endpoint", 9, "peer1")):
        given_address = f"address: {address}\n"
        indent = "  " if where == "host" else "    "
        text = SSH.replace(given_address, f"{given_address}{indent}{key}: '{name}'\n")
        wanted = f"{where}.{key}: found '{name}', allowed: a file; {problem}"
        assert error_of(text) == f"my-lab.yaml:{line}: {wanted}"


def test_a_file_for_ssh_whose_name_is_too_long_is_told_with_its_line() -> None:
    text = SSH.replace("address: lab1\n", f"address: lab1\n  identity_file: /{'x' * 300}\n")

    told = error_of(text)

    assert told.startswith("my-lab.yaml:4: host.identity_file: found '/xxx")
    assert told.endswith("cannot be looked at: File name too long")


def test_of_a_key_that_is_in_an_agent_only_the_public_half_does(here: Path) -> None:
    (here / "key.pub").touch()
    text = SSH.replace("address: lab1\n", f"address: lab1\n  identity_file: {here}/key\n")
    Path("lab.yaml").write_text(text)

    host = load_lab("lab.yaml").host

    assert host
    assert host.identity_file == f"{here}/key"
