"""Lab files: from YAML to a Lab, or to every mistake in the file at once."""

from __future__ import annotations

import json
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zclab.errors import ConfigError
from zclab.labfile import Document, KeyPath, shown_path
from zclab.model import Emulator, Lab

LABS = Path(__file__).resolve().parent.parent / "labs"
LONGEST_SHOWN = 60


def load_lab(name_or_path: str, *, name: str | None = None) -> Lab:
    """Return the lab of ``labs/NAME.yaml``, or of the YAML file at a path.

    The lab is called like its file unless ``name`` says otherwise; labs of different names run
    side by side. Raises ConfigError that lists every mistake with its line.
    """
    path = _find(name_or_path)
    document = Document.read(path)
    if "name" in document.data:
        document.note(("name",), "not a key: a lab is called like its file, or as --name says")
    data = {**document.data, "name": name or path.stem}
    try:
        lab = Lab.model_validate_json(json.dumps(data))
    except ValidationError as exc:
        for details in exc.errors():
            document.note(details["loc"], _explain(details, named=name is not None))
        raise document.error() from exc
    if document.problems:
        raise document.error()
    return lab


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
        allowed = _allowed(_schema_at(("emulator", "nic")))
        raise ConfigError(f"--nic: found {_found(nic)}, allowed: {allowed}") from exc
    return lab.model_copy(update={"emulator": emulator})


def lab_names() -> tuple[str, ...]:
    """Return the names of the labs in ``labs/``."""
    return tuple(sorted(path.stem for path in LABS.glob("*.yaml")))


def _find(name_or_path: str) -> Path:
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path).expanduser()
        missing = f"{name_or_path}: no such file"
    else:
        path = LABS / f"{name_or_path}.yaml"
        missing = f"no lab '{name_or_path}'{_did_you_mean(name_or_path, lab_names())}"
    if not path.is_file():
        there_are = ", ".join(lab_names()) or "none"
        raise ConfigError(f"{missing}; labs in {shown_path(LABS)}/: {there_are}")
    return path


def _explain(details: ErrorDetails, *, named: bool) -> str:
    """Return what is wrong at a key: what was found, what is allowed."""
    path, kind = details["loc"], details["type"]
    if kind == "extra_forbidden":
        keys = [key for key in _schema_at(path[:-1])["properties"] if path[1:] or key != "name"]
        guess = _did_you_mean(str(path[-1]), keys)
        return f"unknown key{guess}; allowed keys: {', '.join(keys)}"
    if kind == "missing":
        return f"missing, allowed: {_allowed(_schema_at(path))}"
    if kind == "json_invalid":
        return details["msg"]
    schema = _schema_at(path)
    if kind == "value_error" and "properties" in schema:
        return str(details["ctx"]["error"])
    remedy = "; rename the file, or say --name" if path == ("name",) and not named else ""
    return f"found {_found(details['input'])}, allowed: {_allowed(schema)}{remedy}"


def _schema_at(path: KeyPath) -> dict[str, Any]:
    """Return the part of Lab's JSON schema that describes the value at a key path."""
    root = Lab.model_json_schema()
    schema: dict[str, Any] = root
    for part in path:
        schema = schema["properties"][part] if isinstance(part, str) else schema["items"]
        schema = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _allowed(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "minimum" in schema:
        return f"an integer from {schema['minimum']} to {schema['maximum']}"
    words = {"boolean": "true, false", "string": "text"}
    return str(schema.get("description") or words.get(schema["type"], schema["type"]))


def _found(value: Any) -> str:
    """Return a value as it would stand in the file, cut to fit a line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"the keys {', '.join(value)}"
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _did_you_mean(word: str, known: Collection[str]) -> str:
    close = get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""
