"""The text of a lab, suite or gates file: from bytes to plain data that knows each key's line.

Plain YAML words mean what they mean in JSON and are text otherwise, so that ``0000:01:00.0`` is
not a number in base 60 and ``on`` is not ``true``. Aliases and tags are rejected: a file says what
it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zclab.errors import ConfigError

MAX_BYTES = 64 * 1024

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """A YAML file as plain data, the line of each key, and what is wrong with it."""

    shown: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, *, example: str = "labs/emulated.yaml") -> Document:
        """Return a file's document; raise ConfigError where it is not a YAML mapping.

        ``example`` is a file of the same kind for those who wonder what one looks like.
        """
        document = cls(shown_path(path))
        node = _compose(_text(path, document.shown), document.shown)
        if node is None:
            raise ConfigError(f"{document.shown}: empty; start from a copy of {example}")
        if not isinstance(node, yaml.MappingNode):
            where = f"{document.shown}:{_line(node)}"
            raise ConfigError(f"{where}: not keys with values; for an example see {example}")
        document.data = document._plain(node, ())
        return document

    def note(self, path: KeyPath, text: str) -> None:
        """Add a problem at the line of the key path, or of its nearest parent that has one."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        self.problems.append((self.lines.get(known, 1), dotted(path) + text))

    def error(self) -> ConfigError:
        """Return all problems, in the order of their lines, as one error."""
        listed = sorted(self.problems, key=lambda problem: problem[0])
        return ConfigError("\n".join(f"{self.shown}:{line}: {text}" for line, text in listed))

    def _plain(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, _line(node))
        data: Any
        if isinstance(node, yaml.MappingNode):
            expected, data = "map", dict(self._pairs(node, path))
        elif isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            expected, data = "seq", [self._plain(item, (*path, i)) for i, item in items]
        else:
            expected, data = "str", _scalar(node)
        if node.tag != f"tag:yaml.org,2002:{expected}":
            self.note(path, f"tags ({node.tag}) are not supported; leave it out")
        return data

    def _pairs(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((line, f"{dotted(path)}a key must be one word"))
            elif key in first:
                text = f"{dotted((*path, key))}given again, first in line {first[key]}; keep one"
                self.problems.append((line, text))
            else:
                first[key] = line
                self.lines[*path, key] = line
                yield key, self._plain(value_node, (*path, key))


def shown_path(path: Path) -> str:
    """Return a path as its reader would type it."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else path)


def dotted(path: KeyPath) -> str:
    """Return ``emulator.nic: `` for a key path, and nothing for the whole file."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return f"{words.lstrip('.')}: " if words else ""


class _Loader(yaml.BaseLoader):
    """Composes nodes, every scalar as text, and has no aliases."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            problem = "aliases (*name) are not supported; write the value out"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
        return super().compose_node(parent, index)


def _text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{shown}: cannot be read: {exc.strerror}") from exc
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{shown}: longer than {MAX_BYTES // 1024} KiB; is it a file for zclab?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(
            f"{shown}:{line}: byte 0x{raw[exc.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from exc


def _compose(text: str, shown: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"{shown}:{mark.line + 1}" if mark else shown
        raise ConfigError(f"{where}: not YAML: {_syntax_problem(exc, text)}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{shown}: not YAML: {str(exc).splitlines()[0]}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{shown}: nested too deep") from exc
    return node


def _syntax_problem(exc: yaml.MarkedYAMLError, text: str) -> str:
    mark = exc.problem_mark
    if mark and "\t" in text.split("\n")[mark.line][: mark.column + 1]:
        return "a tab; indent with spaces"
    return ": ".join(part for part in (exc.context, exc.problem) if part)


def _scalar(node: yaml.Node) -> Any:
    """Return a scalar's value: plain words as in JSON, everything else text."""
    text = str(node.value)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
