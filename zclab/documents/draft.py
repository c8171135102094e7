"""The text of a lab file for hosts that were looked at."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from zclab.documents.labs import LABS, load_lab
from zclab.documents.yaml import shown_path
from zclab.errors import ConfigError
from zclab.host.inventory import EthernetNic, Inventory
from zclab.model import Endpoint, Lab, LabName
from zclab.outside import quoted

MOST_VCPUS = 4
MOST_MEMORY_MIB = 4096
LEAST_MEMORY_MIB = 512
"""A guest gets half of what its host has, within these limits."""

_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off)$)[a-z][a-z_.-]*|[0-9a-f]{4}(:[0-9a-f]{2}){2}\.[0-7]",
    re.IGNORECASE,
)
"""A word that is nothing else in YAML or JSON, and a PCI address."""


def place(name: str) -> Path:
    """Return where the file of a new lab goes; ConfigError where it cannot be one, or is there."""
    try:
        TypeAdapter(LabName).validate_python(name)
    except ValidationError as exc:
        raise ConfigError(
            f"--write: found {quoted(name)}, allowed: the name of a new lab, such as rack7: up to "
            "32 lower-case letters, digits and hyphens"
        ) from exc
    path = LABS / f"{name}.yaml"
    if path.exists() or path.is_symlink():
        raise ConfigError(f"--write: {shown_path(path)} is there; remove it, or say another name")
    return path


def write(
    path: Path,
    *,
    host: Endpoint,
    peer: Endpoint | None,
    ends: tuple[EthernetNic, EthernetNic],
    here: Inventory,
) -> Lab:
    """Write the file of a lab and return the lab; ConfigError where the text is not one."""
    text = draft(host=host, peer=peer, ends=ends, here=here)
    try:
        path.write_text(text)
        return load_lab(str(path))
    except OSError as exc:
        raise ConfigError(f"--write: {shown_path(path)}: {exc.strerror}") from exc
    except ConfigError:
        path.unlink()
        raise


def draft(
    *,
    host: Endpoint,
    peer: Endpoint | None,
    ends: tuple[EthernetNic, EthernetNic],
    here: Inventory,
) -> str:
    """Return a lab file's text. ``ends`` are the NIC under test and the peer's."""
    nic, other = ends
    vcpus = max(1, min(MOST_VCPUS, here.cpus // 2))
    memory_mib = max(LEAST_MEMORY_MIB, min(MOST_MEMORY_MIB, here.memory_mib // 2))
    beside = {"endpoint": _keys(peer), "netns": None} if peer else {"netns": "peer"}
    return "\n".join(
        (
            "# Made by `invoke doctor`: a cable joins these two NICs.",
            f"# {LABS.name}/ssh-example.yaml explains all keys.",
            _yaml({"kind": "ssh", "host": _keys(host)}),
            f"# {_described(nic)}",
            _yaml({"nic": nic.pci}),
            f"# {_described(other)}",
            _yaml({"peer": {"nic": other.pci, **beside}}),
            "# half of what the host has, or less",
            _yaml({"guest": {"vcpus": vcpus, "memory_mib": memory_mib}}),
        )
    )


def _keys(endpoint: Endpoint) -> dict[str, Any]:
    return endpoint.model_dump(exclude_none=True)


def _described(nic: EthernetNic) -> str:
    words = (nic.netdev, nic.driver, nic.product)
    return " ".join(" ".join(words).split())


class _Dumper(yaml.SafeDumper):
    """Quotes text that a reader might take for something else, as zclab's takes 1e3 for JSON."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if _PLAIN.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(keys: dict[str, Any]) -> str:
    return yaml.dump(keys, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
