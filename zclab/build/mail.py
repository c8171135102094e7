"""Mails that patches come in: what their headers say. What is in them is git's work."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.parser import BytesHeaderParser

_HEADER = re.compile(rb"[!-9;-~]+:(?:[ \t]|\r?$)", re.MULTILINE)
_COVER = re.compile(r"(?:\[[^\]]*\] *)*?\[[^\]]*\b0+/\d+\]")
_KNOWN = ("From", "Subject", "MIME-Version", "Message-Id")


def is_mail(content: bytes) -> bool:
    """Tell whether a file is a mail, and no mailbox: it begins with headers."""
    if not _HEADER.match(content):
        return False
    headers = BytesHeaderParser().parsebytes(content)
    return any(name in headers for name in _KNOWN)


def subject_of(mail: bytes) -> str:
    """Return a mail's subject, in one line and out of its encoding; nothing where it has none."""
    found = BytesHeaderParser().parsebytes(mail).get("Subject", "")
    try:
        text = str(make_header(decode_header(found)))
    except (HeaderParseError, ValueError, LookupError):  # so it stands there as it is
        text = str(found)
    return " ".join(text.split())


def is_cover(subject: str) -> bool:
    """Tell whether a subject is that of a cover letter, such as ``[PATCH v2 0/3] net: ...``."""
    return _COVER.match(subject) is not None
