"""What a check of a machine came to, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check: one line, and what to do about it unless it is ok."""

    status: Literal["ok", "warn", "fail"]
    name: str
    detail: str
    remedy: str = ""


def failed(findings: Sequence[Finding]) -> bool:
    """Return whether a finding stands in the way of a run."""
    return any(finding.status == "fail" for finding in findings)


def render(findings: Sequence[Finding]) -> str:
    """Return findings as aligned lines, with the remedy under each that has one."""
    width = max((len(finding.name) for finding in findings), default=0)
    words = {"ok": "ok", "warn": "warn", "fail": "FAIL"}
    lines = []
    for finding in findings:
        lines.append(f"{words[finding.status]:4}  {finding.name:{width}}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{'':4}  {'':{width}}  -> {finding.remedy}")
    counts = {word: sum(f.status == key for f in findings) for key, word in words.items()}
    lines.append(", ".join(f"{count} {word}" for word, count in counts.items()))
    return "\n".join(lines)
