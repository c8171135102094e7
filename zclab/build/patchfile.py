"""Patch files as people have them: from git or diff, in a mail, compressed. git does the work.

It is told that there is no repository (GIT_DIR is /dev/null): in a subfolder of one, `git apply`
leaves out without a word what is elsewhere in it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from zclab.build.command import git_env, run_git
from zclab.build.mail import is_mail
from zclab.errors import ConfigError

_ENCODED = re.compile(
    rb"^content-transfer-encoding:\s*\"?(?:quoted-printable|base64)"
    # Blanks are put before some lines, and long ones are broken.
    rb"|^content-type:[^\n]*(?:\n[ \t][^\n]*)*?;\s*format=\"?flowed",
    re.IGNORECASE | re.MULTILINE,
)
_LEFT_OUT = re.compile(
    rb"^(?:Binary files .+ and .+ differ|Only in .+: .+|File .+ is a .+ while file .+ is a .+)\r?$",
    re.MULTILINE,
)
"""What git and diff say of a change whose content is not in the patch; git applies the rest."""
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_NO_PREFIX = re.compile(rb"^diff --git (\S+) \1\r?$", re.MULTILINE)
_FIRST_HEADER = re.compile(rb"^(?:diff --git |--- )(?:.*\S)(\r?)$", re.MULTILINE)
_MOVED = re.compile(rb"^(?:rename|copy) from ", re.MULTILINE)
_SUBMODULE = re.compile(
    rb"^diff --git (.*)\n(?:[a-z].*\n)*?"
    rb"(?:index [0-9a-f]+\.\.[0-9a-f]+|(?:old|new|new file|deleted file) mode) 160000\r?$",
    re.MULTILINE,
)
_FAILED = re.compile(r"patch failed: (.+):(\d+)")
_REJECTED = re.compile(r"^Rejected hunk #(\d+)\.$", re.MULTILINE)
_HUNK_LINES = 20

_ALONE = {"GIT_DIR": "/dev/null", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
"""No repository, and no one's preferences such as ``apply.whitespace = fix``."""


def read_patch_file(path: Path) -> bytes:
    """Return a patch as `git apply` takes it: decompressed, and out of the mail that it is in.

    Raises OSError where it cannot be read, ConfigError where that is not what its name says.
    """
    raw = path.read_bytes()
    unpack = _UNPACK.get(path.suffix.lower())
    try:
        content = raw if unpack is None else unpack(raw)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as exc:
        raise ConfigError(f"not a whole {path.suffix} file: {exc}") from exc
    if content.startswith(_UTF_16):
        raise ConfigError("UTF-16, as PowerShell writes it with >; save it as UTF-8")
    return content


def decoded(patch: bytes) -> bytes:
    """Return a patch out of its mail's encoding; one that has none stays as it is.

    Where even the headers of the patch end in CR LF, a mailer or an editor did that to the whole,
    and it is undone. Files that have CR LF themselves have it in the hunks alone.
    """
    if _ENCODED.search(patch):
        with TemporaryDirectory(prefix="zclab-mail-") as folder:
            mail = patch.replace(b"\r\n", b"\n")
            done = _git("mailinfo", "-n", "message", "patch", cwd=Path(folder), stdin=mail)
            if done.returncode:
                raise ConfigError(f"git cannot read the mail: {_said(done)}")
            patch = (Path(folder) / "patch").read_bytes()
    first = _FIRST_HEADER.search(patch)
    return patch.replace(b"\r\n", b"\n") if first and first[1] else patch


def split_mails(mailbox: bytes) -> list[bytes]:
    """Return the mails of a mailbox, as `b4 am` and `git format-patch --stdout` write one."""
    with TemporaryDirectory(prefix="zclab-mails-") as folder:
        done = _git("mailsplit", "-o.", "--keep-cr", cwd=Path(folder), stdin=mailbox)
        if done.returncode:
            raise ConfigError(f"git cannot split the mailbox: {_said(done)}")
        return [path.read_bytes() for path in sorted(Path(folder).iterdir())]


def touched_files(patch: bytes, strip: int = 1) -> tuple[str, ...]:
    """Return the files that a patch touches, without the first ``strip`` folders of their names.

    Of a rename or a copy, these are both names. Raises ConfigError for what is no patch, and for
    one that would change a file outside of the tree, or a submodule, which git does not do.
    """
    if found := _SUBMODULE.search(patch):
        name = os.fsdecode(found[1]).rstrip()
        raise ConfigError(
            f"changes the submodule {name}, not its files; have a patch of the files instead"
        )
    if strip == 1 and (found := _NO_PREFIX.search(patch)):
        raise ConfigError(
            f"has no a/ and b/ before {os.fsdecode(found[1])}, by git's diff.noprefix; write it "
            "with --src-prefix=a/ --dst-prefix=b/, or name it in a series file with -p0 behind it"
        )
    message = _FIRST_HEADER.search(patch) if patch.startswith(b"From ") or is_mail(patch) else None
    if found := _LEFT_OUT.search(patch, message.start() if message else 0):
        raise ConfigError(
            f"{os.fsdecode(found[0]).rstrip()}: that change is not in it; write it with "
            "`git diff --binary`, or with diff's -N"
        )
    names = _names(patch, f"-p{strip}")
    if _MOVED.search(patch):
        names += _names(patch, f"-p{strip}", "--reverse")  # git lists only what comes out
    for name in names:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ConfigError(f"would change {name}, which is outside of the source tree")
    return tuple(dict.fromkeys(names))


def apply_patch(patch: bytes, tree: Path, *, strip: int = 1, reverse: bool = False) -> str:
    """Apply a patch to a tree, whole or not at all; return why it does not apply, or nothing.

    Offsets are fine, fuzz is not. A tree that it does not apply to is spoilt: git leaves rejected
    hunks there.
    """
    argv = ["apply", "--whitespace=nowarn", f"-p{strip}", *(["--reverse"] if reverse else [])]
    done = _git(*argv, cwd=tree, stdin=patch)
    if not done.returncode:
        return ""
    why = _said(done)
    if why.endswith(": No such file or directory"):
        return f"{why.rpartition(':')[0]}: no such file in that tree"
    found = _FAILED.fullmatch(why)
    if not found:
        return why
    again = _git(*argv, "--reject", "--verbose", cwd=tree, stdin=patch)
    number = _REJECTED.search(os.fsdecode(again.stderr))
    hunk = _rejected_hunk(tree / f"{found[1]}.rej")
    return f"{found[1]}, hunk {number[1] if number else '?'}, at line {found[2]}:\n{hunk}"


def _names(patch: bytes, *options: str) -> list[str]:
    """Ask git for the names: it prints ``1<TAB>1<TAB>net/one.c<NUL>`` for each."""
    done = _git("apply", "--numstat", "-z", *options, cwd=Path("/"), stdin=patch)
    if done.returncode:
        why = _said(done)
        if "No valid patches" in why or "unrecognized input" in why:
            why = "no change to any file in it; is it a patch?"
            if b"\x1b[" in patch:
                why = "has colours; write it with --no-color"
        raise ConfigError(why)
    return [os.fsdecode(line.split(b"\t", 2)[2]) for line in done.stdout.split(b"\0") if line]


def _git(*words: str, cwd: Path, stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return run_git(*words, cwd=cwd, env={**git_env(), **_ALONE}, stdin=stdin)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first error that git names."""
    lines = os.fsdecode(done.stderr).splitlines()
    errors = [line.partition(": ")[2] for line in lines if line.startswith(("error: ", "fatal: "))]
    return errors[0] if errors else f"git ended with status {done.returncode}"


def _rejected_hunk(rejects: Path) -> str:
    lines = rejects.read_text(errors="replace").splitlines() if rejects.is_file() else []
    starts = [n for n, line in enumerate(lines) if line.startswith("@@ ")] + [len(lines)]
    hunk = lines[starts[0] : starts[1]][:_HUNK_LINES] if len(starts) > 1 else ["(not printed)"]
    return "\n".join(f"  {line}" for line in hunk)


def _zstd(packed: bytes) -> bytes:
    try:
        done = subprocess.run(("zstd", "-dcq"), input=packed, capture_output=True, check=False)
    except FileNotFoundError as exc:
        raise ConfigError("zstd: not installed; unpack the patch, or install zstd") from exc
    if done.returncode:
        raise ValueError(done.stderr.decode(errors="replace").strip())
    return done.stdout


_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".lzma": lzma.decompress,
    ".zst": _zstd,
}
PACKED = tuple(_UNPACK)
"""How the names of compressed patches end."""
