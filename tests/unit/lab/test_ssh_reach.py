"""A host is reached as ssh reaches it, by all that reach it: commands, copies, libvirt, hands."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import libvirt
import pytest

from tests.sshd import Sshd, keygen, public, sshd
from zclab.errors import CommandError
from zclab.lab.access import Access, write_access
from zclab.model import Endpoint
from zclab.runner import SshRunner
from zclab.runner.master import Master
from zclab.tasks.labs import ssh_argv

PASSPHRASE = "of-a-test"  # noqa: S105 - of keys that this file makes


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a home of the user's, with a key that no other file than its configuration tells of."""
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keygen(ssh / "lab_key")
    return ssh


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Iterator[Sshd]:
    """Have a host that lets that key in, and that known_hosts knows."""
    with sshd(tmp_path / "sshd") as started:
        started.authorize(public(home / "lab_key"))
        (home / "known").write_text(started.known)
        yield started


def configure(home: Path, *lines: str) -> None:
    (home / "config").write_text("\n".join(lines) + "\n")
    (home / "config").chmod(0o600)


def alias(home: Path, server: Sshd, *lines: str, name: str = "lab1") -> tuple[str, ...]:
    """Return a configuration's lines for a server."""
    return (
        f"Host {name}",
        f"  HostName {server.address}",
        f"  Port {server.port}",
        *(lines or (f"  IdentityFile {home}/lab_key", f"  UserKnownHostsFile {home}/known")),
    )


def access_to(folder: Path, **endpoint: str | int) -> Access:
    folder.mkdir(exist_ok=True)
    return write_access(
        folder, Endpoint.model_validate({"address": "lab1", **endpoint}), users=True
    )


@contextmanager
def host_of(access: Access) -> Iterator[SshRunner]:
    runner = access.host_runner()
    assert isinstance(runner, SshRunner)
    try:
        yield runner
    finally:
        runner.close()


def check_all_reach(access: Access, folder: Path) -> None:
    """Check that what can reach a host does: commands, copies, hands and libvirt's tunnel."""
    assert access.endpoint
    destination = access.endpoint.address
    with host_of(access) as host:
        assert host.run(("echo", "a  b")).stdout == "a  b\n"
        host.put(access.folder / "ssh_config", str(folder / "copied"))
    assert (folder / "copied").read_text() == (access.folder / "ssh_config").read_text()
    by_hand = (f"{access.folder}/ssh", destination, "echo 'a  b'")
    assert subprocess.run(by_hand, capture_output=True, check=True).stdout == b"a  b\n"
    tunnel = (f"{access.folder}/tunnel", "-T", "-e", "none", "--", "host", "sh -c 'cat; echo \\!'")
    done = subprocess.run(tunnel, input=b"\0\xff\n\n", capture_output=True, check=True)
    assert done.stdout == b"\0\xff\n\n!\n"


def test_an_alias_is_reached_through_its_jump_host(
    tmp_path: Path, home: Path, server: Sshd
) -> None:
    with sshd(tmp_path / "jump") as jump:
        jump.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known + jump.known)
        mine = (f"  IdentityFile {home}/lab_key", f"  UserKnownHostsFile {home}/known")
        configure(
            home,
            *alias(home, server, *mine, "  ProxyJump guest"),
            *alias(home, jump, *mine, name="guest"),
        )

        check_all_reach(access_to(tmp_path / "lab"), tmp_path)

        assert "Accepted publickey" in (jump.folder / "log").read_text()


@pytest.mark.parametrize(
    "wrapped",
    [
        "Include conf.d/*.conf",
        "Include conf.d/*.conf\nMatch final\n  Compression yes",
        "CanonicalizeHostname always\nInclude conf.d/*.conf",
        'Match exec "test %n = lab1 -a -n %p"\n  Include conf.d/*.conf',
        "Host *\n  HostKeyAlias rack7\nInclude conf.d/*.conf",
        "Host *\n  KnownHostsCommand /bin/cat %d/known\nInclude conf.d/*.conf",
    ],
    ids=["include", "final", "canonical", "exec", "key alias", "known hosts command"],
)
def test_a_configuration_may_be_as_ssh_allows_it(
    tmp_path: Path, home: Path, server: Sshd, wrapped: str
) -> None:
    """Here in two files, of which an editor gave one the line ends of another system."""
    (home / "known").write_text(f"{server.known}rack7 {server.known.partition(' ')[2]}")
    (home / "conf.d").mkdir()
    lines = "\n".join((*alias(home, server), ""))
    (home / "conf.d" / "lab.conf").write_text(lines, newline="\r\n")
    configure(home, *wrapped.replace("%d", str(home)).split("\n"))

    with host_of(access_to(tmp_path / "lab")) as host:
        assert host.run(("echo", "in")).stdout == "in\n"


def test_what_the_user_set_for_terminals_breaks_nothing(
    tmp_path: Path, home: Path, server: Sshd
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        configure(
            home,
            *("Host *", "  RemoteCommand tmux attach", "  RequestTTY force", "  LogLevel DEBUG3"),
            *("  ControlMaster auto", f"  ControlPath {tmp_path}/%C", "  ControlPersist yes"),
            *("  PermitLocalCommand yes", f"  LocalCommand touch {tmp_path}/local"),
            *("  ForwardX11 yes", "  SessionType none", "  StdinNull yes", "  BatchMode no"),
            *("  ForkAfterAuthentication yes", "  ExitOnForwardFailure yes"),
            f"  LocalForward {taken.getsockname()[1]} localhost:1",
            *alias(home, server),
        )

        check_all_reach(access_to(tmp_path / "lab"), tmp_path)

    assert not (tmp_path / "local").exists()


def test_a_lab_s_own_keys_go_before_the_user_s(tmp_path: Path, home: Path, server: Sshd) -> None:
    configure(home, "Host 127.0.0.1", "  Port 1", "  User nobody", "  UserKnownHostsFile /none")

    access = access_to(
        tmp_path / "lab",
        address="127.0.0.1",
        port=server.port,
        user=subprocess.run(("id", "-un"), capture_output=True, text=True, check=True).stdout[:-1],
        identity_file=str(home / "lab_key"),
        known_hosts_file=str(home / "known"),
    )

    check_all_reach(access, tmp_path)


def test_an_emulated_lab_is_reached_whatever_the_user_configured(
    tmp_path: Path, home: Path, server: Sshd
) -> None:
    configure(home, "Host *", "  ProxyCommand false", "  User nobody", "  HostName nowhere")
    endpoint = Endpoint(
        address="127.0.0.1",
        port=server.port,
        identity_file=str(home / "lab_key"),
        known_hosts_file=str(home / "known"),
    )
    (tmp_path / "lab").mkdir()

    access = write_access(tmp_path / "lab", endpoint)

    with host_of(access) as host:
        assert host.run(("echo", "in")).stdout == "in\n"
    by_hand = ("ssh", "-F", f"{tmp_path}/lab/ssh_config", "host", "echo in")
    assert subprocess.run(by_hand, capture_output=True, check=True).stdout == b"in\n"


@pytest.mark.parametrize("name", ["it's my labs", 'a"b\\c %h $HOME', "a?b&c#d;ü"])
def test_a_lab_s_folder_may_be_called_anything(
    tmp_path: Path, home: Path, server: Sshd, name: str
) -> None:
    configure(home, *alias(home, server, name="lab1"))
    with sshd(tmp_path / "jump") as jump:
        jump.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known + jump.known)
        mine = (f"  IdentityFile {home}/lab_key", f"  UserKnownHostsFile {home}/known")
        configure(
            home,
            *alias(home, server, *mine, "  ProxyJump jump"),
            *alias(home, jump, *mine, name="jump"),
        )

        check_all_reach(access_to(tmp_path / name), tmp_path)


def test_the_shell_of_the_user_does_not_matter(
    tmp_path: Path, home: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ours, ssh would run ProxyCommand and ``Match exec`` with it."""
    monkeypatch.setenv("SHELL", "/bin/false")
    proxy = f'  ProxyCommand sh -c "exec ssh -F {home}/jump -W %h:%p jump"'
    with sshd(tmp_path / "jump") as jump:
        jump.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known + jump.known)
        (home / "jump").write_text("\n".join((*alias(home, jump, name="jump"), "")))
        configure(home, 'Match host lab1 exec "true"', proxy, *alias(home, server))

        check_all_reach(access_to(tmp_path / "lab"), tmp_path)

        assert "Accepted publickey" in (jump.folder / "log").read_text()


@pytest.mark.parametrize(
    "mine", [(), ("Host *", "  IgnoreUnknown UseKeychain", "  UseKeychain yes")]
)
def test_a_guest_is_reached_through_its_host(
    tmp_path: Path, home: Path, server: Sshd, mine: tuple[str, ...]
) -> None:
    """By the commands of a run over their host's connection, and by hand."""
    configure(home, *mine, *alias(home, server))
    folder = tmp_path / "my labs"
    access = access_to(folder)
    with sshd(tmp_path / "guest") as guest:
        guest.authorize(access.authorized_key)
        (folder / "guest_known_hosts").write_text(guest.known)
        here = f"HostName 127.0.0.1\n  Port {guest.port}"
        for config in folder.glob("*ssh_config"):
            config.write_text(config.read_text().replace("HostName 198.18.0.2", here))

        with host_of(access) as host:
            runner = access.guest_runner(host)
            assert runner.run(("echo", "in")).stdout == "in\n"
            assert (server.folder / "log").read_text().count("Accepted publickey") == 1
            process = runner.start(("sleep", "1000"))
            host.close()
            with pytest.raises(CommandError, match="lost while running"):
                process.wait()
            runner.close()
        by_hand = (f"{folder}/ssh", "zclab-guest", "echo in")
        assert subprocess.run(by_hand, capture_output=True, check=True).stdout == b"in\n"


@pytest.mark.parametrize(
    "command",
    ["grep 'a  b' f", "echo it's", "-V", 'a "$b" `c` \\', 'echo "it\'s"\necho two', " ", "echo ü"],
)
def test_a_command_of_lab_ssh_reaches_the_far_shell_as_typed(
    tmp_path: Path, home: Path, command: str
) -> None:
    login = tmp_path / "login"
    login.write_text('#!/bin/sh\nprintf %s "$SSH_ORIGINAL_COMMAND"\n')
    login.chmod(0o755)
    with sshd(tmp_path / "sshd", options=f"ForceCommand {login}") as server:
        server.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known)
        configure(home, *alias(home, server))
        access = access_to(tmp_path / "my lab")

        argv = ssh_argv(access.folder, "lab1", command)
        done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stdout == command


def test_libvirt_s_tunnel_runs_its_helper_as_root(tmp_path: Path, home: Path) -> None:
    programs = {
        "id": 'case $1 in -u) echo "${AS:-1000}" ;; *) echo ubuntu ;; esac',
        "sudo": 'shift 2; AS=0; export AS; exec "$@"',
        "virt-ssh-helper": f'echo "$(id -u) $*" > {tmp_path}/helped; echo lab7: no daemon >&2',
    }
    login = tmp_path / "login"
    login.write_text('#!/bin/sh\necho Welcome to lab7\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    login.chmod(0o755)
    with sshd(tmp_path / "host", options=f"ForceCommand {login}", programs=programs) as server:
        server.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known)
        configure(home, *alias(home, server))
        access = access_to(tmp_path / "a ?&#%b")

        with pytest.raises(libvirt.libvirtError, match="lab7: no daemon"):
            libvirt.open(access.libvirt_uri)

    assert (tmp_path / "helped").read_text() == "0 qemu:///system\n"


def test_ipv6_addresses_are_reached(tmp_path: Path, home: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with sshd(tmp_path / "sshd", address="::1") as server:
        server.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known)
        configure(home)
        for address in ("::1", "[::1]"):
            access = access_to(
                tmp_path / "lab",
                address=address,
                port=server.port,
                identity_file=str(home / "lab_key"),
                known_hosts_file=str(home / "known"),
            )
            check_all_reach(access, tmp_path)


def test_a_peer_is_reached_by_its_own_keys(tmp_path: Path, home: Path, server: Sshd) -> None:
    configure(home)
    access = access_to(tmp_path / "lab")
    endpoint = Endpoint(
        address="127.0.0.1",
        port=server.port,
        identity_file=str(home / "lab_key"),
        known_hosts_file=str(home / "known"),
    )

    peer = access.peer_runner(endpoint)

    try:
        assert peer.run(("echo", "in")).stdout == "in\n"
    finally:
        peer.close()


def hashed(folder: Path, line: str) -> str:
    (folder / "hashed").write_text(line)
    subprocess.run(("ssh-keygen", "-q", "-H", "-f", folder / "hashed"), check=True)
    return (folder / "hashed").read_text()


@pytest.mark.parametrize("kind", ["hashed", "wildcard", "second file", "no port's", "global"])
def test_every_kind_of_known_hosts_is_looked_at(
    tmp_path: Path, home: Path, server: Sshd, kind: str
) -> None:
    """Beside lines of other hosts that are none of anybody's business."""
    key = public(server.folder / "host_key")
    lines = {
        "hashed": hashed(tmp_path, server.known),
        "wildcard": f"[127.0.0.*]:*,!10.0.0.1 {key}\n",
        "no port's": f"127.0.0.1 {key}\n",
    }
    (home / "known").write_bytes(
        b"# caf\xe9\n\nother.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n"
        + f"@revoked * {public(home / 'lab_key')}\n@cert-authority *.example {key}\n".encode()
        + b"third.example ssh-rsa !!!! caf\xe9\nno fields\n"
        + f"fourth.example {key} ".encode()
        + b"caf\xe9\n"
        + lines.get(kind, "").encode()
    )
    (home / "second").write_text(server.known)
    files = {
        "second file": (f"  UserKnownHostsFile {home}/known {home}/second",),
        "global": (f"  GlobalKnownHostsFile {home}/second",),
    }
    known = files.get(kind, (f"  UserKnownHostsFile {home}/known",))
    configure(home, *alias(home, server, f"  IdentityFile {home}/lab_key", *known))

    with host_of(access_to(tmp_path / "lab")) as host:
        assert host.run(("echo", "in")).stdout == "in\n"


@pytest.mark.parametrize("kind", ["unknown", "revoked", "another"])
def test_a_host_whose_key_is_not_its_known_one_is_not_logged_in_to(
    tmp_path: Path, home: Path, server: Sshd, kind: str
) -> None:
    another = f"[127.0.0.1]:{server.port} {public(home / 'lab_key')}\n"
    revoked = f"{server.known}@revoked * {public(server.folder / 'host_key')}\n"
    (home / "known").write_text({"unknown": "", "revoked": revoked, "another": another}[kind])
    configure(home, *alias(home, server))

    with host_of(access_to(tmp_path / "lab")) as host, pytest.raises(CommandError) as caught:
        host.connect()

    assert f"no SSH connection to lab1 (root@127.0.0.1:{server.port}): " in str(caught.value)
    assert "Host key verification failed" in str(caught.value)
    assert "log in once by hand: ssh lab1" in str(caught.value)


def test_certificates_of_hosts_and_users_are_taken(tmp_path: Path, home: Path) -> None:
    keygen(tmp_path / "ca")
    folder = tmp_path / "sshd"
    options = f"TrustedUserCAKeys {tmp_path}/ca.pub\nHostCertificate {folder}/host_key-cert.pub"

    def sign(key: Path, *more: str) -> None:
        argv = ("ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "x", *more, f"{key}.pub")
        subprocess.run(argv, check=True)

    user = subprocess.run(("id", "-un"), capture_output=True, text=True, check=True).stdout[:-1]
    sign(home / "lab_key", "-n", user)
    with sshd(folder, options=options, sign=lambda key: sign(key, "-h", "-n", "lab1")) as server:
        ca = public(tmp_path / "ca")
        (home / "known").write_text(f"@cert-authority lab* {ca}\n")
        configure(home, *alias(home, server), "  HostKeyAlias lab1")

        check_all_reach(access_to(tmp_path / "lab"), tmp_path)


@pytest.fixture
def agent(tmp_path: Path, home: Path) -> Iterator[Path]:
    """Have an agent that has the key, whose file has a passphrase."""
    (home / "lab_key").unlink()
    keygen(home / "lab_key", passphrase=PASSPHRASE)
    path = tmp_path / "agent"
    asks = tmp_path / "askpass"
    asks.write_text(f"#!/bin/sh\necho {PASSPHRASE}\n")
    asks.chmod(0o700)
    with subprocess.Popen(("ssh-agent", "-D", "-a", path), stdout=subprocess.DEVNULL) as process:
        try:
            environment = {**os.environ, "SSH_AUTH_SOCK": str(path), "SSH_ASKPASS": str(asks)}
            environment["SSH_ASKPASS_REQUIRE"] = "force"
            while not path.exists():
                assert process.poll() is None
            argv = ("ssh-add", "-q", home / "lab_key")
            subprocess.run(argv, env=environment, check=True, stdin=subprocess.DEVNULL)
            yield path
        finally:
            process.kill()


@pytest.mark.parametrize("by", ["environment", "IdentityAgent", "identity_file"])
def test_a_key_with_a_passphrase_comes_from_its_agent(
    tmp_path: Path, home: Path, agent: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    endpoint = {"identity_file": str(home / "lab_key")} if by == "identity_file" else {}
    named = f"  IdentityAgent {agent}" if by == "IdentityAgent" else ""
    if by != "IdentityAgent":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    with sshd(tmp_path / "sshd") as server:
        server.authorize(public(home / "lab_key"))
        (home / "known").write_text(server.known)
        configure(home, *alias(home, server, f"  UserKnownHostsFile {home}/known", named))

        check_all_reach(access_to(tmp_path / "lab", **endpoint), tmp_path)


def test_a_key_with_a_passphrase_and_no_agent_is_one_clear_error(
    tmp_path: Path, home: Path, server: Sshd
) -> None:
    (home / "lab_key").unlink()
    keygen(home / "lab_key", passphrase=PASSPHRASE)
    server.authorize(public(home / "lab_key"))
    configure(home, *alias(home, server))

    with (
        host_of(access_to(tmp_path / "lab")) as host,
        pytest.raises(CommandError, match=r"Permission denied .*ssh-add"),
    ):
        host.connect()


def test_a_mistake_in_the_user_s_configuration_is_told_with_its_line(
    tmp_path: Path, home: Path
) -> None:
    configure(home, "Host lab1", "  Prot 22")

    with (
        host_of(access_to(tmp_path / "lab")) as host,
        pytest.raises(CommandError, match=r"config: line 2: Bad configuration option: prot"),
    ):
        host.connect()


def test_an_address_that_does_not_answer_is_told_with_the_way_to_it(
    tmp_path: Path, home: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The jump host lets us in; what is behind it takes connections and says nothing."""
    monkeypatch.setenv("SHELL", "/bin/false")
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        port = silent.getsockname()[1]
        config = tmp_path / "short"
        lines = ("Host *", "  ConnectTimeout 1", "  BatchMode yes",
                 'Match host lab1 exec "true"', "  User me",
                 "  HostName 127.0.0.1", f"  Port {port}", "  ProxyJump jump",
                 *alias(home, server, name="jump"))  # fmt: skip
        config.write_text("\n".join((*lines, "")))
        master = Master("host", config=config, destination="lab1")
        stack.callback(master.end)

        with pytest.raises(CommandError) as caught:
            master.wait_for_login()

    said = str(caught.value)
    assert f"no SSH connection to lab1 (me@127.0.0.1:{port} through jump): " in said
    assert "timed out" in said
