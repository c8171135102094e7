"""Lab files: from YAML to a Lab, or to every mistake in the file at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zclab.errors import ConfigError
from zclab.labfile import Document
from zclab.model import Emulator, Lab, Value
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
