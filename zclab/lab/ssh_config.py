"""How a lab's machines are reached, as a configuration file of ssh.

It is the one place that decides that: what runs commands, copies files, carries libvirt or is
started by hand, is an ssh with this file.
"""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

from zclab.errors import ConfigError
from zclab.lab.names import GUEST_ALIAS
from zclab.model import Endpoint
from zclab.runner import LocalRunner
from zclab.runner.far import far_command
from zclab.runner.master import ALIVE_COUNT, ALIVE_INTERVAL_S, CONNECT_TIMEOUT_S, SHELL

GUEST = GUEST_ALIAS
"""What ssh calls the guest; the user's own configuration does not apply to it."""
SYSTEM_CONFIG = "/etc/ssh/ssh_config"

# Where nobody sits at a terminal, a question would be a hang and a greeting an answer. What is said
# first holds: so the user's own configuration cannot undo this.
_EVERY = f"""\
Host *
  BatchMode yes
  ClearAllForwardings yes
  ConnectTimeout {CONNECT_TIMEOUT_S}
  ControlMaster no
  ControlPath none
  ForkAfterAuthentication no
  ForwardX11 no
  LogLevel ERROR
  PermitLocalCommand no
  RemoteCommand none
  RequestTTY auto
  ServerAliveCountMax {ALIVE_COUNT}
  ServerAliveInterval {ALIVE_INTERVAL_S}
  SessionType default
  StdinNull no
  StrictHostKeyChecking yes
  Tunnel no
"""

_SECOND_READING = "zclab_second_reading"
"""A variable that ssh would send if there were one: so it can be told to, and nothing comes of it.
"""

_TUNNEL_MARK = "zclab-tunnel-begins"
_TUNNEL = f"""\
as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n --"
echo {_TUNNEL_MARK}
exec $as_root sh -c "$(printf %b "$2")"
"""


def host_config(endpoint: Endpoint, *, users: bool, read_twice: bool = False) -> str:
    """Return the configuration for a host that ssh calls by its address.

    With ``users`` that may be an alias: what the lab's file leaves open is as in the user's and
    the system's configuration. Without, nothing outside the lab matters.

    With ``read_twice``, see is_read_twice(), root logs in only where the second reading has come to
    its end without a user, too. In the first one it would go before that of a ``Match canonical``.
    """
    name = quoted(endpoint.address)
    lines = [f"Host {name}" if users else f"Host host {name}\n  HostName {name}"]
    if endpoint.port is not None:
        lines.append(f"  Port {endpoint.port}")
    if endpoint.user is not None:
        lines.append(f"  User {quoted(endpoint.user)}")
    if endpoint.identity_file is not None:
        lines += [f"  IdentityFile {_path(endpoint.identity_file)}", "  IdentitiesOnly yes"]
    if endpoint.known_hosts_file is not None:
        lines.append(f"  UserKnownHostsFile {_path(endpoint.known_hosts_file)}")
    lines.append(_EVERY.rstrip())
    if users:
        mine = quoted(Path("~/.ssh/config").expanduser())
        lines += [f"Match !originalhost {GUEST}", f"  Include {mine}", f"  Include {SYSTEM_CONFIG}"]
    lines += [f"Match canonical originalhost {name}" if read_twice else f"Host {name}"]
    return "\n".join((*lines, "  User root", ""))


def users_host_config(endpoint: Endpoint) -> str:
    """Return host_config() with the user's configuration, as ssh reads that now."""
    return host_config(endpoint, users=True, read_twice=is_read_twice(endpoint))


def is_read_twice(endpoint: Endpoint) -> bool:
    """Tell whether ssh, on its way to a host, reads the user's configuration a second time.

    It does so for CanonicalizeHostname and ``Match final``, and no block of ours can ask for it
    without causing it. A configuration that has a mistake is read once: who connects is told.
    """
    text = host_config(endpoint, users=True, read_twice=True)
    with tempfile.NamedTemporaryFile("w", prefix="zclab-") as file:
        file.write(f"{text}Match canonical\n  SendEnv {_SECOND_READING}\n")
        file.flush()
        argv = ("env", f"SHELL={SHELL}", "ssh", "-G", "-F", file.name, "--", endpoint.address)
        done = LocalRunner().run(argv, timeout_s=CONNECT_TIMEOUT_S, check=False)
    return f"sendenv {_SECOND_READING}" in done.stdout.splitlines()


def guest_config(folder: Path, address: str, endpoint: Endpoint | None) -> str:
    """Return the configuration for a guest, whose keys are in ``folder``, through its host.

    A host's may follow it. ssh reads the keywords in blocks of other machines, too. One that it
    does not know (``UseKeychain``) is an error there, even where the user's ``IgnoreUnknown`` in
    such a block names it.
    """
    lines = [
        f"Host {GUEST}",
        "  IgnoreUnknown *",
        f"  HostName {address}",
        "  User root",
        f"  IdentityFile {_path(folder / 'guest_id_ed25519')}",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {_path(folder / 'guest_known_hosts')}",
    ]
    if endpoint:
        program, host = (
            shlex.quote(word).replace("%", "%%") for word in (f"{folder}/ssh", endpoint.address)
        )
        lines.append(f"  ProxyCommand {program} -W %h:%p -- {host}")
    return "\n".join(lines) + "\n" + _EVERY


def ssh_script(folder: Path) -> str:
    """Return a program that is ssh with the configuration of a lab's folder.

    A jump host is reached by another ssh, to which ssh passes ``-F`` without quoting it: so the
    name must be one that needs no quotes, whatever the folder's is.
    """
    return f"""\
#!/bin/sh
export SHELL={SHELL}
cd {shlex.quote(str(folder))} && exec ssh -F ssh_config "$@"
"""


def tunnel_script(folder: Path, destination: str) -> str:
    """Return a program that libvirt takes for ssh: its last argument is what the host is to run.

    That runs as root, and what the login shell prints before is no part of libvirt's protocol.
    """
    far = far_command(_TUNNEL).replace("'", "'\"'\"'")
    return f"""\
#!/bin/sh
for command; do :; done
octal=$(printf %s "$command" | od -An -v -to1 | tr -d '\\n' | sed 's/ /\\\\0/g')
{shlex.quote(str(folder / "ssh"))} -T -- {shlex.quote(destination)} '{far}'" '$octal'" | {{
    while IFS= read -r line; do
        case $line in *{_TUNNEL_MARK}) exec cat ;; esac
    done
    exit 1
}}
"""


def quoted(text: str | Path) -> str:
    """Return a word as ssh's configuration files have it."""
    word = str(text)
    if "\n" in word or "${" in word:
        raise ConfigError(f"{word!r}: ssh's configuration cannot have a newline or ${{ in a name")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _path(text: str | Path) -> str:
    """Return a path, in which ssh takes a percent sign for the beginning of something."""
    return quoted(Path(text).expanduser().absolute()).replace("%", "%%")
