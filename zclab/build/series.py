"""Patch series: a quilt-style ``series`` file with the patches that it names, or a mailbox."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zclab.build.mail import is_cover, is_mail, subject_of
from zclab.build.patchfile import (
    PACKED,
    apply_patch,
    decoded,
    read_patch_file,
    split_mails,
    touched_files,
)
from zclab.errors import BuildError, ConfigError

_BASE = re.compile(r"# base: (\S+)")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_STRIP = re.compile(r"-p(\d{1,3}|ab)")
_DIFF = re.compile(rb"^(?:diff --git \S|--- \S)", re.MULTILINE)
_CHANGE = re.compile(rb"^(?:diff --git \S|--- \S.*\n\+\+\+ \S)", re.MULTILINE)
_NUMBERED = re.compile(r"((?:v\d+-)?)(\d{4})-.*\.patch")


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One patch: its content as git applies it, and the files that it touches in the source tree.

    ``name`` is what the series calls it, ``strip`` how many folders of each file's name go, as
    with ``-p1``, and ``reverse`` says that it is taken back, as with ``-R``.
    """

    name: str
    path: Path
    content: bytes
    touched: tuple[str, ...]
    strip: int = 1
    reverse: bool = False

    @property
    def line(self) -> str:
        """The line of a ``series`` file that says the same."""
        options = (f" -p{self.strip}" if self.strip != 1 else "") + (" -R" if self.reverse else "")
        return self.name + options


@dataclass(frozen=True, kw_only=True)
class Series:
    """Patches in the order in which they apply; ``hash`` is over their content.

    ``folder`` is where they and fragments for them are, None for a mailbox. ``base`` is the version
    of the source that they were made for, empty where a line ``# base: VERSION`` does not say.
    """

    folder: Path | None
    patches: tuple[Patch, ...]
    hash: str
    base: str = ""

    @property
    def touched(self) -> frozenset[str]:
        """Every file that any patch touches."""
        return frozenset(name for patch in self.patches for name in patch.touched)

    def touching(self, name: str) -> tuple[str, ...]:
        """Return the names of the patches that touch a file, given by path or by bare name."""
        return tuple(
            patch.path.name
            for patch in self.patches
            if any(touched == name or touched.endswith(f"/{name}") for touched in patch.touched)
        )


SERIES_FILE = "series"
EMPTY = "# no patches"
"""The line of a series file that has none on purpose: bisect-kernel begins with one."""

NO_SERIES = Series(folder=None, patches=(), hash="none")


def read_series(path: Path | None) -> Series:
    """Read a series; with None, the one that has no patches.

    ``path`` is a folder with a file ``series`` or with what `git format-patch` wrote, that file
    itself, a mailbox, or one patch. Raises ConfigError that names file and line where the series
    names a patch that is not there, or one that is none, and for a series without any.
    """
    if path is None:
        return NO_SERIES
    series, meant = _read(path)
    if not series.patches and not meant:
        raise ConfigError(f"{path}: no patch in it; say `--series none` for that")
    return series


def _read(path: Path) -> tuple[Series, bool]:
    """Return a series, and whether its file says that it has no patches on purpose."""
    try:
        if path.is_dir():
            listed = path / SERIES_FILE
            content = listed.read_bytes() if listed.exists() else _numbered(path)
            return _listed(listed, content), EMPTY.encode() in content.split(b"\n")
        content = read_patch_file(path)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read the series: {exc.strerror}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    if content.startswith(b"From "):
        return _series(None, tuple(_mails(path, content))), False
    if _DIFF.search(content) or path.suffix in {".patch", ".diff", ".eml"} or is_mail(content):
        return _series(None, (_patch(path.name, path, content, where=str(path)),)), False
    if b"\0" in content:
        raise ConfigError(
            f"{path}: no text, so no patch, mailbox or series file; the name of a compressed one "
            f"ends in {', '.join(PACKED)}"
        )
    return _listed(path, content), EMPTY.encode() in content.split(b"\n")


def apply_series(series: Series, tree: Path, *, target: str) -> None:
    """Apply a series to a tree: offsets are fine, fuzz is not.

    Raises BuildError that names the patch, the file and the first hunk that does not apply;
    ``target`` is what the error calls the tree. The tree is spoilt then.
    """
    if series.base:
        target += f" (the series is for {series.base})"
    for patch in series.patches:
        why = apply_patch(patch.content, tree, strip=patch.strip, reverse=patch.reverse)
        if why:
            raise BuildError(
                f"{patch.path}: does not apply to {target}: {why}\n"
                "Bring the series up to that version: in a git tree of it `git am` the patches "
                "before this one, fix this one, and write the series again with `git format-patch`"
            )


def copy_touched(series: Series, source: Path, scratch: Path) -> None:
    """Copy the files that a series touches, where they exist, from a tree to an empty one.

    Raises BuildError for a file behind a symlink of the tree: it may be anyone's.
    """
    for name in sorted(series.touched):
        for folder in Path(name).parents[:-1]:
            if (source / folder).is_symlink():
                raise BuildError(
                    f"{series.touching(name)[0]}: changes {name}, but {folder} is a symlink in "
                    f"{source}: have the patch change the file that it leads to"
                )
        origin, copy = source / name, scratch / name
        if origin.is_symlink() or origin.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, copy, follow_symlinks=False)


def _series(folder: Path | None, patches: tuple[Patch, ...], base: str = "") -> Series:
    digest = hashlib.sha256()
    for patch in patches:
        digest.update(patch.content)
        if patch.strip != 1 or patch.reverse:
            digest.update(f"-p{patch.strip} {patch.reverse}".encode())
    return Series(folder=folder, patches=patches, hash=digest.hexdigest()[:16], base=base)


def _listed(listed: Path, content: bytes) -> Series:
    """Read a series file as quilt does: in each line a name, options, and a comment."""
    lines = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf")).split("\n")
    seen: dict[str, int] = {}
    patches = []
    for number, line in enumerate(lines, 1):
        where = f"{listed}:{number}"
        words = _COMMENT.sub("", line).split()
        if not words:
            continue
        if words[0] in seen:
            raise ConfigError(f"{where}: {words[0]}: is in line {seen[words[0]]}, too; drop one")
        seen[words[0]] = number
        strip, reverse = _options(where, words[0], words[1:])
        path = listed.parent / words[0]
        try:
            content = read_patch_file(path)
        except OSError as exc:
            raise ConfigError(
                f"{where}: {words[0]}: {exc.strerror}; add the patch or drop the line"
            ) from exc
        except ValueError as exc:  # a name with NUL in it
            raise ConfigError(f"{where}: not the name of a patch: {words[0]!r}") from exc
        except ConfigError as exc:
            raise ConfigError(f"{where}: {words[0]}: {exc}") from exc
        patches.append(_patch(words[0], path, content, where, strip=strip, reverse=reverse))
    bases = [found[1] for line in lines if (found := _BASE.fullmatch(line.strip()))]
    return _series(listed.parent, tuple(patches), bases[0] if bases else "")


def _options(where: str, name: str, words: list[str]) -> tuple[int, bool]:
    strip, reverse = 1, False
    for word in words:
        if found := _STRIP.fullmatch(word):
            strip = 1 if found[1] == "ab" else int(found[1])
        elif word == "-R":
            reverse = True
        else:
            raise ConfigError(
                f"{where}: {name}: found {word!r} behind the name, allowed: -pNUMBER, -R and a "
                "comment with # (rename a patch whose name has a space)"
            )
    return strip, reverse


def _numbered(folder: Path) -> bytes:
    """Return the series file for a folder that has only what `git format-patch` wrote."""
    names = sorted(path.name for path in folder.glob("*.patch"))
    found = [_NUMBERED.fullmatch(name) for name in names]
    kinds = {(match[1], match[2]) for match in found if match}
    rounds = {kind[0] for kind in kinds}
    if not names or len(kinds) != len(names) or len(rounds) > 1:
        raise ConfigError(
            f"{folder / SERIES_FILE}: cannot read the series: No such file or directory; write "
            "the names of the patches there, one a line, in the order in which they apply"
        )
    return os.fsencode("\n".join(m[0] for m in found if m and m[2] != "0000"))


def _mails(path: Path, mailbox: bytes) -> Iterator[Patch]:
    """Yield the patches of a mailbox; cover letters have none."""
    try:
        mails = split_mails(mailbox)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    for number, mail in enumerate(mails, 1):
        subject = subject_of(mail)
        where = f"{path}: mail {number} ({subject})"
        if is_cover(subject) and not _has_change(mail, where):
            continue
        name = f"{path.name}:{number}"
        yield _patch(name, path.with_name(name), mail, where)


def _has_change(mail: bytes, where: str) -> bool:
    """Tell whether what is in a mail is more than text that has a line like one of a patch."""
    try:
        return _CHANGE.search(decoded(mail)) is not None
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _patch(
    name: str, path: Path, raw: bytes, where: str, *, strip: int = 1, reverse: bool = False
) -> Patch:
    try:
        content = decoded(raw)
        touched = touched_files(content, strip)
    except ConfigError as exc:
        raise ConfigError(f"{where}: {name}: {exc}") from exc
    return Patch(
        name=name, path=path, content=content, touched=touched, strip=strip, reverse=reverse
    )
