"""Captured output, spoiled in the ways in which programs, wires and disks spoil it.

`mutated` takes what a program really printed and cuts it, repeats and swaps lines of it, puts
other numbers and other characters in it. A parser has to end in a value or in one of our errors
for all of that. `mutated_bytes` does the same to a file's bytes, which then need not be UTF-8.

Hypothesis draws one number for each text, and what is wrong in it follows from that number: a
tenth of the time that it takes to draw each choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from zclab.errors import ZclabError

INPUTS = 2000
"""How many spoiled texts a parser has to survive."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\s\"',:;=()\[\]{}]+")
_NUMBERS = (
    *("", "0", "-1", "0.000", "-0.5", "1e400", "nan", "-nan", "inf", "-inf", "NaN", "Infinity"),
    *(str(2**63), str(2**64), "9" * 400, "9" * 5000, "0x10", "1_000", "1,5", "1.2.3", "--1"),
    *("\u0663", "\u00b2", "\u2460"),  # digits to some functions and not to others
)
_WORDS = (
    *("", "null", "true", "[]", "{}", "[[]]", '""', "-", "=", ":", "n/a", "x" * 3000),
    *("Welcome to lab7", "../..", "%s%n", "[/red]", "'", '"', "\\", "[" * 3000),
)
_CHARACTERS = (
    *("\0", "\x1b[2J", "\x07", "\x7f", "\x85", "\r", "\n", "\n\n", "\t", " ", "\x0c", "\x1c"),
    *("\ufffd", "\ufeff", "\ufffe", "\u2028", "\u202e", "\udcff", "\ud800", "\U0001f642"),
    *(*"{}[]\"'\\,:;=|#<>&()/-+.%@", "\u00e4", "'\"", "]]>"),
)
_BYTES = (b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\x80", b"\xe4")
_BATCH = 10
"""How many texts come of one draw: hypothesis itself takes ten times as long as a short parser."""
# From 2**24 on hypothesis prefers small numbers, and would come back to the same few texts.
_RANDOMS = st.integers(0, 2**24 - 1).map(Random)


def mutated(*samples: str) -> st.SearchStrategy[str]:
    """Return what yields one of the samples with one to four things wrong in it."""
    return _RANDOMS.map(lambda rng: _spoiled(rng, samples))


def mutated_bytes(*samples: bytes) -> st.SearchStrategy[bytes]:
    """Return what yields one of the samples with one to four things wrong in it, as bytes."""
    # Characters that stand for one byte each: a cut can fall between the bytes of a character.
    texts = [sample.decode("latin-1") for sample in samples]
    return _RANDOMS.map(lambda rng: _spoiled_bytes(rng, texts))


def _spoiled(rng: Random, samples: Sequence[str]) -> str:
    text = rng.choice(samples)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        text = rng.choice(_MUTATIONS)(rng, text)
    return text


def _spoiled_bytes(rng: Random, samples: Sequence[str]) -> bytes:
    data = b"".join(
        character.encode("latin-1" if ord(character) < 256 else "utf-8", "surrogatepass")
        for character in _spoiled(rng, samples)
    )
    if rng.random() < 0.5:
        at = rng.randint(0, len(data))
        data = data[:at] + rng.choice(_BYTES) + data[at:]
    return data


def _truncate(rng: Random, text: str) -> str:
    return text[: rng.randint(0, len(text))]


def _behead(rng: Random, text: str) -> str:
    return text[rng.randint(0, len(text)) :]


def _cut_out(rng: Random, text: str) -> str:
    start = rng.randint(0, len(text))
    return text[:start] + text[start + rng.randint(1, 40) :]


def _line(rng: Random, text: str) -> str:
    """Leave a line out, repeat it, or swap it with another."""
    lines = text.splitlines(keepends=True) or [""]
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(3):
        case 0:
            del lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
    return "".join(lines)


def _other_number(rng: Random, text: str) -> str:
    return _put(rng, text, _NUMBER, _NUMBERS)


def _other_word(rng: Random, text: str) -> str:
    return _put(rng, text, _WORD, _WORDS)


def _put(rng: Random, text: str, what: re.Pattern[str], instead: Sequence[str]) -> str:
    """Put something else in the place of the first match after some place in a text."""
    found = what.search(text, rng.randint(0, len(text))) or what.search(text)
    start, end = found.span() if found else (0, 0)
    return text[:start] + rng.choice(instead) + text[end:]


def _character(rng: Random, text: str) -> str:
    at = rng.randint(0, len(text))
    return text[:at] + rng.choice(_CHARACTERS) + text[at:]


def _greet(_rng: Random, text: str) -> str:
    """Have a shell greet before the output."""
    return f"Welcome to lab7\n{text}"


_MUTATIONS: tuple[Callable[[Random, str], str], ...] = (
    *(_truncate, _behead, _cut_out, _line, _line, _greet),
    *(_other_number, _other_number, _other_word, _other_word, _character, _character),
)


def check_reader(read: Callable[[str], object], *samples: str, inputs: int = INPUTS) -> None:
    """Have a parser read the samples as they are, and ``inputs`` of them spoiled.

    Of the former it makes a value. Of the latter it makes one or raises one of our errors: anything
    else goes through, with the text that did it.
    """
    for sample in samples:
        read(sample)

    @settings(max_examples=inputs // _BATCH)
    @given(_RANDOMS)
    def spoiled(rng: Random) -> None:
        for _ in range(_BATCH):
            text = _spoiled(rng, samples)
            try:
                read(text)
            except ZclabError:
                pass
            except Exception as exc:
                exc.add_note(f"It read {text!r}")
                raise

    spoiled()
