"""From a strict YAML document to a value of the model, or to every mistake in it at once."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zclab.documents.yaml import LONGEST_SHOWN, Document, KeyPath, shown_path
from zclab.errors import ConfigError
from zclab.model import COLLECTING, Value
from zclab.options import is_file, is_there, user_path
from zclab.outside import did_you_mean

Model = TypeVar("Model", bound=Value)


def find(name_or_path: str, *, folder: Path, kind: str) -> Path:
    """Return the YAML file of a name in ``folder``, or at a path; say what there is if neither."""
    names = yaml_names(folder)
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        path = user_path(name_or_path, kind)
        missing = f"{name_or_path}: {'not a' if is_there(path) else 'no such'} file"
    else:
        path = folder / f"{name_or_path}.yaml"
        missing = f"no {kind} '{name_or_path}'{did_you_mean(name_or_path, names)}"
    if not is_file(path):
        there_are = ", ".join(names) or "none"
        raise ConfigError(f"{missing}; {kind}s in {shown_path(folder)}/: {there_are}")
    return path


def yaml_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the YAML files of a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def parse(
    document: Document,
    model: type[Model],
    given: Mapping[str, Any] | None = None,
    remedies: Mapping[str, str] | None = None,
) -> Model:
    """Return the value that a document describes.

    ``given`` are fields that a file must not say; ``remedies`` tell what to do where one of them
    is wrong. Raises ConfigError that lists every mistake with its line.
    """
    given = given or {}
    try:
        text = json.dumps({**document.data, **given})
        value = model.model_validate_json(text, context=COLLECTING)
    except ValidationError as exc:
        for details in _own_mistakes(exc.errors()):
            document.note(details["loc"], _explain(details, model, given, remedies or {}))
        raise document.error() from exc
    for path, mistake in value.all_contradictions():
        document.note(path, mistake)
    if document.problems:
        raise document.error()
    return value


def _own_mistakes(mistakes: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Yield all but lists that are only too short because of what is wrong in their items."""
    for one in mistakes:
        path = one["loc"]
        below = (other["loc"] for other in mistakes if len(other["loc"]) > len(path))
        if one["type"] != "too_short" or not any(loc[: len(path)] == path for loc in below):
            yield one


def _explain(
    details: ErrorDetails, model: type[Value], given: Collection[str], remedies: Mapping[str, str]
) -> str:
    """Return what is wrong at a key: what was found, what is allowed."""
    path, kind = details["loc"], details["type"]
    if kind == "extra_forbidden":
        hidden = () if path[1:] else given
        keys = [key for key in schema_at(model, path[:-1])["properties"] if key not in hidden]
        guess = did_you_mean(str(path[-1]), keys)
        return f"unknown key{guess}; allowed keys: {', '.join(keys)}"
    if kind == "missing":
        return f"missing, allowed: {allowed(schema_at(model, path))}"
    if kind == "json_invalid":
        return details["msg"]
    schema = schema_at(model, path)
    if kind == "value_error" and "properties" in schema:
        return str(details["ctx"]["error"])
    remedy = remedies.get(str(path[0]), "") if path[:1] else ""
    if kind == "remedy":  # of a validator that knows what was meant
        remedy = f"; {details['msg']}"
    return f"found {found(details['input'])}, allowed: {allowed(schema)}{remedy}"


def schema_at(model: type[Value], path: KeyPath) -> dict[str, Any]:
    """Return the part of a model's JSON schema that describes the value at a key path."""
    root = _schema(model)
    schema: dict[str, Any] = root
    for part in path:
        schema = schema["properties"][part] if isinstance(part, str) else schema["items"]
        schema = next((s for s in schema.get("anyOf", ()) if s.get("type") != "null"), schema)
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


@cache
def _schema(model: type[Value]) -> dict[str, Any]:
    return model.model_json_schema()


def allowed(schema: dict[str, Any]) -> str:
    """Return in words what a JSON schema allows."""
    if "properties" in schema:
        return f"the keys {', '.join(schema['properties'])}"
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "description" in schema:
        return str(schema["description"])
    if "minimum" in schema:
        return f"an integer from {schema['minimum']} to {schema['maximum']}"
    words = {"boolean": "true, false", "string": "text", "array": "a list"}
    return words.get(schema["type"], str(schema["type"]))


def found(value: Any) -> str:
    """Return a value as it would stand in the file, cut to fit a line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        value = list(value)
        return f"the keys {', '.join(value)}" if value else "no keys"
    text = f"'{value}'" if isinstance(value, str) and value.isprintable() else json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
