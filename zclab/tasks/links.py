"""Links between the project's documents: each leads to a file of the tree and a heading in it.

``python -m zclab.tasks.links FILE...`` is a gate of `invoke check`. It asks no web server:
addresses with a scheme are left alone. Headings get their anchors by GitHub's rules.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]

_FENCED = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\1(?!`)", re.DOTALL)
_TARGET = re.compile(r"\]\(<?([^\s<>()]+)|^\[[^\]\n]+\]: *(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} +(.+?)(?: +#+)? *$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ELSEWHERE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//")


def broken(path: Path, root: Path = ROOT) -> Iterator[str]:
    """Yield a line for each relative link of a Markdown file under ``root`` that leads nowhere."""
    text = _blanked(_CODE, _blanked(_FENCED, _read(path)))
    for match in _TARGET.finditer(text):
        target = unquote(match[1] or match[2])
        if _ELSEWHERE.match(target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        at = f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: {target}"
        if not there.is_relative_to(root):
            yield f"{at}: outside of the project; write the whole address"
        elif not there.exists():
            yield f"{at}: no such file"
        elif anchor and there.suffix == ".md" and anchor not in anchors(_read(there)):
            yield f"{at}: no such heading"


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings: ``What `it` is`` has ``what-it-is``.

    A heading that comes again has ``-1`` behind its anchor, then ``-2``.
    """
    found: set[str] = set()
    times: Counter[str] = Counter()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        shown = _LINK.sub(r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        found.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _blanked(pattern: re.Pattern[str], text: str) -> str:
    """Take out what matches, and leave its line ends, so that lines keep their numbers."""
    return pattern.sub(lambda match: "\n" * match[0].count("\n"), text)


if __name__ == "__main__":
    sys.exit("\n".join(line for name in sys.argv[1:] for line in broken(ROOT / name)) or None)
