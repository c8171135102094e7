"""Kconfig fragments: what they ask for, and whether Kconfig granted it.

Kconfig drops without a word what depends on something that is off. A kernel that lacks what its
fragments ask for would make a lab that measures something else, so it is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zclab.errors import BuildError, ConfigError

_ASSIGNED = re.compile(r"CONFIG_(\w+)=(.+)")
_UNSET = re.compile(r"# CONFIG_(\w+) is not set")


ALWAYS = ("base", "net", "host")
"""The fragments of ours that every kernel is configured with."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """One symbol that a fragment asks for; ``n`` for one that has to be off."""

    symbol: str
    value: str
    where: str


def fragments_of(ours: Path, series: Path | None, variant: str) -> tuple[Path, ...]:
    """Return the fragments: always, those in a series' folder by name, the variant's.

    ``ours`` is the folder of ours; one in the series' folder that is called like one of them takes
    its place.
    """
    found = (series / "config").glob("[!.]*.config") if series else ()
    theirs = {path.stem: path for path in found}
    own = sorted(theirs.keys() - {*ALWAYS, "debug"})
    last = ("debug",) if variant == "debug" else ()
    return tuple(theirs.get(name, ours / f"{name}.config") for name in (*ALWAYS, *own, *last))


def read_fragments(fragments: Iterable[Path]) -> tuple[Wish, ...]:
    """Read fragments; ConfigError with all lines that make no sense or contradict each other."""
    wishes: dict[str, Wish] = {}
    errors: list[str] = []
    for fragment in fragments:
        for number, line in enumerate(_text(fragment).splitlines(), 1):
            where = f"{fragment}:{number}"
            wish = _read_line(line.strip(), where)
            if wish is None:
                if line.strip() and not line.lstrip().startswith("#"):
                    errors.append(f"{where}: neither CONFIG_X=value nor a comment: {line!r}")
                continue
            earlier = wishes.setdefault(wish.symbol, wish)
            if earlier.value != wish.value:
                errors.append(
                    f"{where}: CONFIG_{wish.symbol}={wish.value} contradicts "
                    f"{earlier.where}, which has ={earlier.value}"
                )
    if errors:
        raise ConfigError("\n".join(errors))
    return tuple(wishes.values())


def joined(fragments: Iterable[Path]) -> bytes:
    """Return fragments as one, whatever ends their lines."""
    lines = (line for path in fragments for line in path.read_bytes().splitlines())
    return b"".join(line + b"\n" for line in lines)


def read_config(text: str) -> dict[str, str]:
    """Return the symbols of a ``.config`` with their values; those that are off are absent.

    It has lines such as ``CONFIG_NR_CPUS=64`` and ``# CONFIG_IPV6 is not set``.
    """
    lines = map(_ASSIGNED.fullmatch, text.splitlines())
    return {found[1]: found[2] for found in lines if found}


def check_granted(wishes: Iterable[Wish], config: dict[str, str], tree: Path) -> None:
    """Raise BuildError that names every wish which the final ``.config`` does not grant.

    ``tree`` is the kernel's source, whose Kconfig files say what a symbol depends on.
    """
    dropped = [wish for wish in wishes if config.get(wish.symbol, "n") != wish.value]
    if not dropped:
        return
    definitions = _definitions(tree, {wish.symbol for wish in dropped})
    words = [
        f"{wish.where}: CONFIG_{wish.symbol}={wish.value}, but the kernel's configuration has "
        f"={config.get(wish.symbol, 'n')}{_why(definitions.get(wish.symbol, []), config)}"
        for wish in dropped
    ]
    raise BuildError(
        "\n".join(words) + "\nSet its dependencies in a fragment, too, or drop the line"
    )


def _text(fragment: Path) -> str:
    try:
        return fragment.read_text(encoding="utf-8", errors="replace")  # of comments, too
    except OSError as exc:
        raise ConfigError(f"{fragment}: cannot be read: {exc.strerror}") from exc


def _read_line(line: str, where: str) -> Wish | None:
    if found := _ASSIGNED.fullmatch(line):
        return Wish(symbol=found[1], value=found[2], where=where)
    if found := _UNSET.fullmatch(line):
        return Wish(symbol=found[1], value="n", where=where)
    return None


def _why(definitions: list[tuple[str, list[str]]], config: dict[str, str]) -> str:
    """Return what a symbol depends on, with the values that those symbols have."""
    if not definitions:
        return "\n  no Kconfig file of this kernel defines it"
    words = []
    for where, depends in definitions:
        names = dict.fromkeys(re.findall(r"\b[A-Z][A-Z0-9_]+\b", " ".join(depends)))
        values = ", ".join(f"{name}={config.get(name, 'n')}" for name in names)
        condition = " && ".join(depends) or "nothing by itself; is it in a menu that is off?"
        words.append(f"\n  {where}: depends on {condition}" + (f" ({values})" if values else ""))
    return "".join(words)


def _definitions(tree: Path, symbols: set[str]) -> dict[str, list[tuple[str, list[str]]]]:
    """Return for each symbol where it is defined, and its ``depends on`` lines there."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for path in sorted(tree.rglob("Kconfig*")):
        name = path.relative_to(tree)
        other_machine = name.parts[0] == "arch" and name.parts[1] not in {"x86", "Kconfig"}
        if not path.is_file() or other_machine:
            continue
        depends: list[str] | None = None
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            word, _, rest = line.strip().partition(" ")
            if word in {"config", "menuconfig"}:
                depends = [] if rest in symbols else None
                if depends is not None:
                    found.setdefault(rest, []).append((f"{name}:{number}", depends))
            elif depends is not None and word == "depends":
                depends.append(rest.removeprefix("on ").strip())
    return found
