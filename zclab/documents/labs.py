"""Lab files: from YAML to a Lab, or to every mistake in the file at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zclab.documents.strict import allowed, find, found, parse, schema_at, yaml_names
from zclab.documents.yaml import Document, dotted
from zclab.errors import ConfigError
from zclab.lab.names import GUEST_ALIAS
from zclab.model import Emulator, Endpoint, Lab, Value
from zclab.options import is_file, is_there

LABS = Path(__file__).resolve().parents[2] / "labs"


def load_lab(name_or_path: str, *, name: str | None = None) -> Lab:
    """Return the lab of ``labs/NAME.yaml``, or of the YAML file at a path.

    The lab is called like its file unless ``name`` says otherwise; labs of different names run
    side by side. Raises ConfigError that lists every mistake with its line.
    """
    path = find(name_or_path, folder=LABS, kind="lab")
    document = Document.read(path)
    if "name" in document.data:
        document.note(("name",), "not a key: the lab's name is its file's name, or --name")
    _note_useless(document)
    remedies = {} if name else {"name": "; rename the file, or say --name"}
    lab = parse(document, Lab, {"name": name or path.stem}, remedies)
    _check_endpoints(lab, document)
    return lab


def _check_endpoints(lab: Lab, document: Document) -> None:
    """Raise ConfigError where ssh cannot do with an address, or a file that is named is missing."""
    second = lab.second.host if lab.second else None
    endpoints: tuple[tuple[tuple[str, ...], Endpoint | None], ...] = (
        (("host",), lab.host),
        (("peer", "endpoint"), lab.peer.endpoint),
        (("second", "host"), second),
    )
    for path, endpoint in endpoints:
        if endpoint and endpoint.address.lower() == GUEST_ALIAS:  # ssh's own names have no case
            text = f"found {found(endpoint.address)}, allowed: any other name; zclab has this one "
            document.note((*path, "address"), f"{text}for guests. Give the host another alias")
        for key in ("identity_file", "known_hosts_file"):
            name = getattr(endpoint, key, None)
            if name is not None and (problem := _unreadable(name, or_public="identity" in key)):
                document.note((*path, key), f"found {found(name)}, {problem}")
    if document.problems:
        raise document.error()


def _unreadable(name: str, *, or_public: bool) -> str:
    """Return why a file cannot be read, or nothing where it can.

    Of a key that is in an agent only, the public half does.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        return "allowed: a file; that user has no home"
    try:
        if not is_file(path) and not (or_public and is_file(Path(f"{path}.pub"))):
            return "allowed: a file; there is none"
    except ConfigError as exc:
        return f"allowed: a file; {exc}"
    if "\n" in name or "${" in name:
        return "allowed: a name without newlines and ${; ssh's configuration cannot have them"
    return "" if not is_there(path) or os.access(path, os.R_OK) else "allowed: a file to be read"


def _note_useless(document: Document) -> None:
    """Note what a file says of its peer and nothing would come of.

    Here and not in the model, where what a file says cannot be told from a default.
    """
    peer = document.data.get("peer")
    if not isinstance(peer, dict) or not peer.get("endpoint"):
        return
    if document.data.get("kind") == "emulated":
        text = "an emulated host has the peer NIC itself; leave this out"
        document.note(("peer", "endpoint"), text)
    elif peer.get("netns"):
        text = f"found {found(peer['netns'])}, allowed with an endpoint: null"
        document.note(("peer", "netns"), f"{text}; there the NIC needs no namespace")


def with_overrides(lab: Lab, *, nic: str | None = None, clock: str | None = None) -> Lab:
    """Return the lab with what the command line says in place of its file."""
    for option, value in (("nic", nic), ("clock", clock)):
        if value is not None and lab.emulator is None:
            msg = (
                f"--{option} {value}: lab '{lab.name}' is of kind {lab.kind}: only an emulated one "
                f"has a {option} to choose; leave --{option} out"
            )
            raise ConfigError(msg)
    if clock is not None:
        lab = lab.model_copy(update={"clock": _checked(Lab, "clock", clock)})
    if lab.emulator and nic is not None:
        emulator = lab.emulator.model_copy(update={"nic": _checked(Emulator, "nic", nic)})
        lab = lab.model_copy(update={"emulator": emulator})
    if nic is None and clock is None:
        return lab
    mistakes = [f"{dotted(path)}{text}" for path, text in lab.contradictions()]
    if mistakes:
        asked = " ".join(
            f"--{key} {value}" for key, value in (("nic", nic), ("clock", clock)) if value
        )
        raise ConfigError("\n".join(f"lab '{lab.name}' with {asked}: {one}" for one in mistakes))
    return lab


def _checked(model: type[Value], key: str, value: str) -> str:
    """Return an option's value, if the key that it stands in for may have it."""
    annotation: Any = model.model_fields[key].annotation
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError as exc:
        choices = allowed(schema_at(model, (key,)))
        raise ConfigError(f"--{key}: found {found(value)}, allowed: {choices}") from exc
    return value


def lab_names() -> tuple[str, ...]:
    """Return the names of the labs in ``labs/``."""
    return yaml_names(LABS)
