"""Text from outside: what programs, kernels, hosts and files say becomes a value, or an error.

Whoever reads such text goes through here, so that it ends in a ParseError that says what was found
where, and whoever shows it does, so that it moves no cursor and breaks no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from zclab.errors import ConfigError, ParseError

MOST_MISTAKES = 20
"""How many mistakes in a file an error names; of a damaged file there may be thousands."""

LONGEST_SHOWN = 200
"""How many characters of a text an error quotes."""

_WHOLE = re.compile(r"[0-9]{1,20}")
_LIMIT = 1 << 64

_T = TypeVar("_T")
_Model = TypeVar("_Model", bound=BaseModel)

Count = Annotated[int, Field(ge=0, lt=_LIMIT)]
"""A counter in JSON: the kernel's and QEMU's have 64 bits."""


class Said(BaseModel):
    """The part of a program's JSON that is used; there may be more, now or in a later version."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


def whole_number(text: str, what: str) -> int:
    """Return the number that a text is, of at most 64 bits; ParseError names ``what`` it should be.

    int() itself also takes signs, underscores and the digits of every script.
    """
    word = text.strip()
    if not _WHOLE.fullmatch(word) or int(word) >= _LIMIT:
        raise ParseError(f"{what}: found {quoted(text)}, allowed: a whole number")
    return int(word)


def from_json(kind: TypeAdapter[_T], text: str | bytes, what: str) -> _T:
    """Return the value that JSON text is; ParseError says what is wrong in it, and quotes it."""
    try:
        return kind.validate_json(encoded(text))
    except ValidationError as exc:
        shown = text if isinstance(text, str) else text.decode(errors="replace")
        raise ParseError(f"{what}: {_mistake(exc)}; it said {quoted(shown)}") from exc


def from_plain(kind: TypeAdapter[_T], found: object, what: str) -> _T:
    """Return the value that a part of a JSON document is, which has been read; see from_json()."""
    try:
        return kind.validate_python(found)
    except ValidationError as exc:
        raise ParseError(f"{what}: {_mistake(exc)}; it said {quoted(str(found))}") from exc


def encoded(text: str | bytes) -> bytes:
    """Return text as UTF-8; half surrogates, which that has not, become question marks."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "replace")


def printable(text: str) -> str:
    r"""Return a text with all that no line or table can show as it is written in Python: ``\x1b``.

    That is control characters but line ends and tabs, half surrogates, and what no encoding or XML
    file may have.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def quoted(text: str) -> str:
    """Return a text in quotes on one line, cut to what an error can show."""
    cut = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
    return printable(repr(cut))


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value


Shown = Annotated[str, BeforeValidator(_printable)]
"""Text that is stored to be shown, and can be: see printable()."""


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _mistake(error: ValidationError) -> str:
    """Return the first of the mistakes, with its place: ``[0].stats64: Field required``."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(part for part in (printable(_place(first)), first["msg"]) if part)


def _place(mistake: ErrorDetails) -> str:
    """Return where in a document a mistake is: ``trials[2].status``, nothing for all of it."""
    keys = (f"[{key}]" if isinstance(key, int) else f".{key}" for key in mistake["loc"])
    return "".join(keys).lstrip(".")


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return a guess at what was meant, as the end of a message."""
    close = get_close_matches(word, known, n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def explain(file: Path, kind: type[_Model], text: str) -> _Model:
    """Return the value that a file's text is; raises ConfigError that names all mistakes in it."""
    try:
        return kind.model_validate_json(encoded(text))
    except ValidationError as exc:
        raise ConfigError("\n".join(mistakes(file, exc))) from exc


def mistakes(file: Path, error: ValidationError) -> list[str]:
    """Return a line for each of the first mistakes: ``results.json: trials[2].status: …``."""
    lines = []
    found_wrong = error.errors(include_url=False, include_context=False)
    for mistake in found_wrong[:MOST_MISTAKES]:
        where = f"{file}: {place}" if (place := _place(mistake)) else str(file)
        message = re.sub(r"^Input should be", "should be", mistake["msg"])
        found = mistake["input"]
        shown = f", not {_shown(found)}" if isinstance(found, str | int | float | None) else ""
        if mistake["type"] in {"missing", "json_invalid"}:
            shown = ""
        lines.append(printable(f"{where}: {message}{shown}"))
    if (more := len(found_wrong) - MOST_MISTAKES) > 0:
        lines.append(f"{file}: and {more} more")
    return lines


def _shown(found: str | float | None) -> str:
    return quoted(found) if isinstance(found, str) else repr(found)
