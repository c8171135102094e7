"""Lab files: from YAML to a Lab, or to every mistake in the file at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from zclab.errors import ConfigError
from zclab.labfile import Document
from zclab.model import Emulator, Lab
from zclab.strict import allowed, find, found, parse, schema_at, yaml_names

LABS = Path(__file__).resolve().parent.parent / "labs"


def load_lab(name_or_path: str, *, name: str | None = None) -> Lab:
    """Return the lab of ``labs/NAME.yaml``, or of the YAML file at a path.

    The lab is called like its file unless ``name`` says otherwise; labs of different names run
    side by side. Raises ConfigError that lists every mistake with its line.
    """
    path = find(name_or_path, folder=LABS, kind="lab")
    document = Document.read(path)
    if "name" in document.data:
        document.note(("name",), "not a key: a lab is called like its file, or as --name says")
    remedies = {} if name else {"name": "; rename the file, or say --name"}
    return parse(document, Lab, {"name": name or path.stem}, remedies)


def with_overrides(lab: Lab, *, nic: str | None = None) -> Lab:
    """Return the lab with what the command line says in place of its file."""
    if nic is None:
        return lab
    if lab.emulator is None:
        raise ConfigError(
            f"--nic {nic}: lab '{lab.name}' is of kind {lab.kind}, so its NIC is the one its host "
            f"has at {lab.nic}; leave --nic out"
        )
    try:
        emulator = Emulator.model_validate({**lab.emulator.model_dump(), "nic": nic})
    except ValidationError as exc:
        nics = allowed(schema_at(Emulator, ("nic",)))
        raise ConfigError(f"--nic: found {found(nic)}, allowed: {nics}") from exc
    return lab.model_copy(update={"emulator": emulator})


def lab_names() -> tuple[str, ...]:
    """Return the names of the labs in ``labs/``."""
    return yaml_names(LABS)
