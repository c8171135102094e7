"""The text of a lab, suite or gates file: from bytes to plain data that knows each key's line.

Plain YAML words mean what they mean in JSON and are text otherwise, so that ``0000:01:00.0`` is
not a number in base 60 and ``on`` is not ``true``. Anchors, aliases and merge keys (``<<``) work; a
key of the whole file that begins with ``x-`` is for anchors and says nothing itself. Tags are
rejected: a file says what it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zclab.errors import ConfigError

MAX_BYTES = 64 * 1024
MAX_NODES = 10_000
"""Values in a file, each as often as aliases repeat it: ten lines can stand for billions."""
MAX_DEPTH = 32
LONGEST_SHOWN = 60
MERGE = "<<"
HOLDER = "x-"

_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""As YAML counts lines."""

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """A YAML file as plain data, the line of each key, and what is wrong with it."""

    shown: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    _nodes: int = 0

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
        data = document._plain(node, ())
        document.data = {key: data[key] for key in data if not key.startswith(HOLDER)}
        return document

    def note(self, path: KeyPath, text: str) -> None:
        """Add a problem at the line of the key path, or of its nearest parent that has one."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        self.problems.append((self.lines.get(known, 1), dotted(path) + text))

    def error(self) -> ConfigError:
        """Return all problems, each once and in the order of their lines, as one error."""
        listed = sorted(dict.fromkeys(self.problems), key=lambda problem: problem[0])
        return ConfigError("\n".join(f"{self.shown}:{line}: {text}" for line, text in listed))

    def _plain(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, _line(node))
        self._count(node)
        if len(path) > MAX_DEPTH:
            why = "nested too deep, or an alias of what it is part of; write the values out"
            raise ConfigError(f"{self.shown}:{_line(node)}: {why}")
        data: Any
        if isinstance(node, yaml.MappingNode):
            entries = self._entries(node, path)
            self.lines.update({(*path, key): line for key, (line, _) in entries.items()})
            expected = "map"
            data = {key: self._plain(one, (*path, key)) for key, (_, one) in entries.items()}
        elif isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            expected, data = "seq", [self._plain(item, (*path, i)) for i, item in items]
        else:
            expected, data = "str", _scalar(node)
        if node.tag != f"tag:yaml.org,2002:{expected}":
            self.note(path, f"tags ({node.tag}) are not supported; leave it out")
        return data

    def _entries(
        self, node: yaml.MappingNode, path: KeyPath, merging: tuple[yaml.Node, ...] = ()
    ) -> dict[str, tuple[int, yaml.Node]]:
        """Return a mapping's values by their keys, each with the line of its key.

        With those that it merges: its own count before them, and of two merged ones the first.
        """
        if node in merging:
            raise ConfigError(f"{self.shown}:{_line(node)}: merges itself; write the keys out")
        self._count(node)
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            key, line = _text_of(key_node), _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append((line, f"{dotted(path)}a key must be one word"))
            elif key in first:
                text = f"{dotted((*path, key))}given again, first in line {first[key]}; keep one"
                self.problems.append((line, text))
            elif key == MERGE and key_node.style is None:
                first[key] = line
                for source in self._sources(value_node, path):
                    merged = {**self._entries(source, path, (*merging, node)), **merged}
            else:
                first[key] = line
                own[key] = (line, value_node)
        return {**merged, **own}

    def _sources(self, node: yaml.Node, path: KeyPath) -> Iterator[yaml.MappingNode]:
        """Yield the mappings that a merge key merges."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else (node,):
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                text = f"merges what has no keys; allowed: {MERGE}: *name, or a list of such"
                self.problems.append((_line(source), f"{dotted((*path, MERGE))}{text}"))

    def _count(self, node: yaml.Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            why = f"more than {MAX_NODES:,} values, counting what aliases repeat; use fewer"
            raise ConfigError(f"{self.shown}:{_line(node)}: {why}")


def shown_path(path: Path) -> str:
    """Return a path as its reader would type it."""
    absolute, here = path.absolute(), Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else path)


def dotted(path: KeyPath) -> str:
    """Return ``emulator.nic: `` for a key path, and nothing for the whole file."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{_short(part)}" for part in path)
    return f"{words.lstrip('.')}: " if words else ""


def _short(key: str) -> str:
    """Return a key so that it fits in a line, whatever is in it."""
    plain = key.isprintable() and key == key.strip() != ""
    shown = key if plain else json.dumps(key)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}…"


class _Loader(yaml.BaseLoader):
    """Composes nodes, every scalar as text, and does not go down without end."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


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
    except yaml.reader.ReaderError as exc:
        line = len(_LINE_END.split(text[: exc.position]))
        found = f"the character U+{int(exc.character):04X}"
        raise ConfigError(f"{shown}:{line}: not YAML: {found}; leave it out") from exc
    except (ValueError, OverflowError) as exc:
        why = "an escape or a number in it is out of range"
        raise ConfigError(f"{shown}: not YAML: {why}") from exc
    except RecursionError as exc:
        raise ConfigError(f"{shown}: nested too deep") from exc
    return node


def _syntax_problem(exc: yaml.MarkedYAMLError, text: str) -> str:
    mark = exc.problem_mark
    if mark and "\t" in _LINE_END.split(text)[mark.line][: mark.column + 1]:
        return "a tab; indent with spaces"
    if exc.problem == "but found another document":
        return "a second document ('---'); a file has one"
    return ": ".join(part for part in (exc.context, exc.problem) if part)


def _scalar(node: yaml.Node) -> Any:
    """Return a scalar's value: plain words as in JSON, everything else text."""
    text = _text_of(node)
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return text
    if not text:
        return None
    try:
        value = json.loads(text, parse_constant=str)
    except ValueError:
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _text_of(node: yaml.Node) -> str:
    """Return a scalar's text; half a character, as escapes can say it, becomes a question mark."""
    return str(node.value).encode(errors="replace").decode()


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
