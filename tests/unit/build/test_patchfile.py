"""Patch files: what is in them ends up in the tree, or an error says why it cannot."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
import os
import quopri
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.unit.mutations import mutated_bytes
from zclab.build.patchfile import (
    apply_patch,
    decoded,
    read_patch_file,
    split_mails,
    touched_files,
)
from zclab.errors import ConfigError

CHANGE = b"""\
diff --git a/net/one.c b/net/one.c
index 1111111..2222222 100644
--- a/net/one.c
+++ b/net/one.c
@@ -1,3 +1,3 @@
 first
-rate = 1
+rate = 10; /* caf\xc3\xa9 */
 last
"""
MAIL = b"""\
From: =?utf-8?q?D=C3=A9veloper?= <dev@example.org>
Subject: [PATCH] net: be faster
MIME-Version: 1.0
Content-Type: text/plain; charset="%b"
Content-Transfer-Encoding: %b

"""
BODY = b"It was slow.\n---\n net/one.c | 2 +-\n\n" + CHANGE + b"-- \n2.39.5\n"


def quoted(body: bytes) -> bytes:
    return MAIL % (b"utf-8", b"quoted-printable") + quopri.encodestring(body)


def in_base64(body: bytes) -> bytes:
    return MAIL % (b"utf-8", b"base64") + base64.encodebytes(body)


def in_8bit(body: bytes) -> bytes:
    return MAIL % (b"iso-8859-1", b"8bit") + body


def attached(body: bytes) -> bytes:
    return (
        b"From: dev@example.org\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/mixed; boundary="=-x"\n\n--=-x\n'
        b"Content-Type: text/plain\n\nIt was slow.\n--=-x\nContent-Type: text/x-patch\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(body) + b"--=-x--\n"
    )


def flowed(body: bytes) -> bytes:
    """Have a mailer put blanks before some lines, take those behind them off, and fold a header."""
    content_type = b"utf-8; x=y;\n format=flowed"
    lines = ((b" " + line if line[:1] in b" >" else line) for line in body.split(b"\n"))
    head = (MAIL % (b"?", b"8bit")).replace(b'"?"', content_type)
    return head + b"\n".join(line.rstrip(b" ") for line in lines)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "net").mkdir(parents=True)
    (tree / "net/one.c").write_text("first\nrate = 1\nlast\n")
    (tree / "net/link").symlink_to("one.c")
    return tree


def diff_of(tree: Path, change: Callable[[], object], *options: str) -> bytes:
    """Return the patch that git makes of a change of a tree, which is taken back."""
    git = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-C", str(tree))
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "before")):
        subprocess.run((*git, *words), check=True)
    change()
    subprocess.run((*git, "add", "-A"), check=True)
    argv = (*git, "diff", "--cached", *options)
    patch = subprocess.run(argv, check=True, capture_output=True).stdout
    subprocess.run((*git, "reset", "-q", "--hard"), check=True)
    shutil.rmtree(tree / ".git")
    return patch


def test_lines_of_a_hunk_that_look_like_headers_are_not_files() -> None:
    """A removed line ``-- one`` reads ``--- one`` in a patch."""
    patch = b"--- a/net/x.c\n+++ b/net/x.c\n@@ -1,2 +1,2 @@\n first\n--- one\n+-- two\n"

    assert touched_files(patch) == ("net/x.c",)


def test_a_time_after_a_name_is_not_part_of_it() -> None:
    patch = b"--- a/net/x.c\t2026-11-22\n+++ b/net/x.c\t2026-11-23\n@@ -1 +1 @@\n-a\n+b\n"

    assert touched_files(patch) == ("net/x.c",)


@pytest.mark.parametrize("word", [b"rename", b"copy"])
def test_a_rename_and_a_copy_touch_both_names(word: bytes) -> None:
    moved = (
        b"diff --git a/net/x.c b/net/y.c\nsimilarity index 100%%\n%b from net/x.c\n%b to net/y.c\n"
    )

    assert set(touched_files(moved % (word, word))) == {"net/x.c", "net/y.c"}


def test_a_patch_s_folders_are_stripped() -> None:
    patch = CHANGE.replace(b"a/net", b"old/linux/net").replace(b"b/net", b"new/linux/net")
    patch = patch.partition(b"\n")[2].partition(b"\n")[2]

    assert touched_files(patch, 2) == ("net/one.c",)
    assert touched_files(CHANGE.partition(b"\n")[2].replace(b" a/", b" ").replace(b" b/", b" "), 0)


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (lambda tree: (tree / "empty").touch(), {"empty"}),
        (lambda tree: (tree / "\u00e4 b\n.txt").write_text("x\n"), {"\u00e4 b\n.txt"}),
        (lambda tree: (tree / os.fsdecode(b"\xe4")).touch(), {os.fsdecode(b"\xe4")}),
        (lambda tree: (tree / "net/one.c").chmod(0o755), {"net/one.c"}),
        (lambda tree: (tree / "net/one.c").rename(tree / "two.c"), {"net/one.c", "two.c"}),
        (lambda tree: shutil.copy(tree / "net/one.c", tree / "two.c"), {"two.c"}),
        (lambda tree: (tree / "net/one.c").unlink(), {"net/one.c"}),
        (lambda tree: (tree / "new").symlink_to("net/one.c"), {"new"}),
        (lambda tree: (tree / "net/one.c").write_bytes(bytes(range(256))), {"net/one.c"}),
        (lambda tree: (tree / "net/one.c").write_text("first\r\nrate\r\n"), {"net/one.c"}),
        (lambda tree: (tree / "net/one.c").write_text("first\nrate = 2"), {"net/one.c"}),
    ],
    ids=[
        *("empty", "quoted", "latin-1", "mode", "rename", "copy", "delete", "symlink", "binary"),
        *("crlf", "no-newline"),
    ],
)
def test_whatever_git_writes_is_in_the_tree(
    tree: Path, change: Callable[[Path], object], touched: set[str]
) -> None:
    wanted = tree.with_name("wanted")
    shutil.copytree(tree, wanted, symlinks=True)
    change(wanted)
    patch = decoded(diff_of(tree, lambda: change(tree), "--binary", "-M"))

    assert touched <= set(touched_files(patch))
    assert apply_patch(patch, tree) == ""
    subprocess.run(("diff", "-r", "--no-dereference", wanted, tree), check=True)
    for path in wanted.rglob("*"):
        assert (
            path.lstat().st_mode & 0o100
            == (tree / path.relative_to(wanted)).lstat().st_mode & 0o100
        )


@pytest.mark.parametrize("mail", [quoted, in_base64, in_8bit, attached, flowed])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_mail_is_decoded(mail: Callable[[bytes], bytes], line_end: bytes, tree: Path) -> None:
    patch = decoded(mail(BODY).replace(b"\n", line_end))

    assert touched_files(patch) == ("net/one.c",)
    assert apply_patch(patch, tree) == ""
    assert (tree / "net/one.c").read_text() == "first\nrate = 10; /* caf\u00e9 */\nlast\n"


def test_a_patch_that_is_no_mail_stays_as_it_is() -> None:
    """Its bytes are in the key of every kernel that was built with it."""
    plain = MAIL % (b"utf-8", b"8bit") + BODY

    assert decoded(plain) is plain


def test_a_message_that_speaks_of_encodings_is_none() -> None:
    spoken = b"Subject: x\n\nContent-Transfer-Encoding: base64 is wrong here.\n---\n" + CHANGE

    assert touched_files(decoded(spoken)) == ("net/one.c",)


def test_line_ends_of_the_files_are_kept(tree: Path) -> None:
    """Only where the patch's own headers have CR LF, too, did somebody convert it."""
    (tree / "net/one.c").write_bytes(b"first\r\nrate = 1\r\nlast\r\n")
    lines = CHANGE.splitlines(keepends=True)
    patch = b"".join([*lines[:5], *(line.replace(b"\n", b"\r\n") for line in lines[5:])])

    assert apply_patch(decoded(patch), tree) == ""
    assert (tree / "net/one.c").read_bytes().count(b"\r\n") == 3


def test_a_mailbox_is_split() -> None:
    mails = b"".join(b"From 0123 Mon Sep 17 00:00:00 2001\n" + quoted(BODY) + b"\n" for _ in "12")

    assert [touched_files(decoded(mail)) for mail in split_mails(mails)] == [("net/one.c",)] * 2


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)]
)
def test_a_compressed_patch_is_unpacked(
    suffix: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / f"fix.patch.{suffix}"
    for name in (path, path.with_suffix(f".{suffix.upper()}")):
        name.write_bytes(pack(CHANGE))
        assert read_patch_file(name) == CHANGE

    for broken in (pack(CHANGE)[:-9], CHANGE):
        path.write_bytes(broken)
        with pytest.raises(ConfigError, match=f"not a whole .{suffix} file"):
            read_patch_file(path)


@pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd")
def test_a_patch_in_zstd_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "fix.patch.zst"
    subprocess.run(("zstd", "-q", "-o", path), input=CHANGE, check=True)

    assert read_patch_file(path) == CHANGE

    path.write_bytes(CHANGE)
    with pytest.raises(ConfigError, match=r"not a whole \.zst file"):
        read_patch_file(path)


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (b"", "is it a patch"),
        (b"Subject: nothing\n", "is it a patch"),
        (CHANGE[:-6], "corrupt patch"),
        (CHANGE.replace(b"a/net", b"a/../../net").replace(b"b/net", b"b/../../net"), "outside"),
        (CHANGE.replace(b"a/net", b"a//net").replace(b"b/net", b"b//net"), "outside"),
        (CHANGE.replace(b" a/", b" ").replace(b" b/", b" "), "no a/ and b/ before net/one.c"),
        (b"".join(b"\x1b[1m" + line for line in CHANGE.splitlines(keepends=True)), "colours"),
    ],
)
def test_what_is_no_patch_is_refused(patch: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        touched_files(patch)


WITHOUT = (
    b"diff --git a/x.bin b/x.bin\nnew file mode 100644\nindex 0000000..c86626e\n"
    b"Binary files /dev/null and b/x.bin differ\n"
)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        (WITHOUT, "Binary files /dev/null and b/x.bin differ"),
        (CHANGE + WITHOUT, "Binary files /dev/null and b/x.bin differ"),
        (b"Only in b/net: new.c\n" + CHANGE, "Only in b/net: new.c"),
        (CHANGE + b"Only in b: new\n", "Only in b: new"),
        (
            b"File a/x is a regular file while file b/x is a symbolic link\n" + CHANGE,
            "File a/x is a regular file while file b/x is a symbolic link",
        ),
    ],
)
def test_a_patch_without_the_content_of_a_change_is_refused(patch: bytes, said: str) -> None:
    """Git takes some of these for nothing, and the rest is applied without them."""
    with pytest.raises(ConfigError, match=rf"^{said}: that change is not in it; .*--binary.* -N"):
        touched_files(patch)


@pytest.mark.parametrize("mail", [quoted, in_8bit])
def test_a_message_that_shows_what_diff_says_is_none(mail: Callable[[bytes], bytes]) -> None:
    patch = decoded(mail(b"It said:\n\nBinary files a and b differ\nOnly in b: x\n" + BODY))

    assert touched_files(patch) == ("net/one.c",)


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-be"])
def test_a_patch_that_windows_wrote_is_named(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "fix.patch"
    path.write_bytes(("\ufeff" * (codec == "utf-16-be") + CHANGE.decode()).encode(codec))

    with pytest.raises(ConfigError, match="UTF-16, as PowerShell writes it with >; save it as"):
        read_patch_file(path)


BUMP = b"""\
diff --git a/sub b/sub
index 1111111..2222222 160000
--- a/sub
+++ b/sub
@@ -1 +1 @@
-Subproject commit 1111111111111111111111111111111111111111
+Subproject commit 2222222222222222222222222222222222222222
"""


@pytest.mark.parametrize(
    "patch",
    [
        BUMP,
        CHANGE + BUMP,
        BUMP.replace(b"index 1111111..2222222 160000", b"new file mode 160000\nindex 0..2222222"),
        BUMP.replace(b"index 1111111..2222222 160000", b"deleted file mode 160000\nindex 1..0"),
        b"diff --git a/sub b/sub\nold mode 100644\nnew mode 160000\n",
    ],
)
def test_a_change_of_a_submodule_is_refused(patch: bytes) -> None:
    """`git apply` takes it, and does nothing."""
    with pytest.raises(ConfigError, match="changes the submodule a/sub b/sub, not its files"):
        touched_files(patch)


def test_a_message_that_speaks_of_a_submodule_is_none() -> None:
    assert touched_files(b"new file mode 160000\n\n" + CHANGE) == ("net/one.c",)


def test_a_repository_around_makes_no_difference(tree: Path) -> None:
    """There, `git apply` leaves out without a word what is outside of the current folder."""
    subprocess.run(("git", "init", "-q", str(tree.parent)), check=True)

    assert apply_patch(CHANGE, tree) == ""
    assert "rate = 10" in (tree / "net/one.c").read_text()


def test_nobody_s_git_configuration_makes_a_difference(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text(
        "[apply]\n\twhitespace = error\n[core]\n\tautocrlf = true\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))

    assert apply_patch(CHANGE.replace(b"*/", b"*/ "), tree) == ""
    assert (tree / "net/one.c").read_bytes() == b"first\nrate = 10; /* caf\xc3\xa9 */ \nlast\n"


def test_a_patch_does_not_write_through_a_symlink(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/one.c").write_text("first\nrate = 1\nlast\n")
    shutil.rmtree(tree / "net")
    (tree / "net").symlink_to(tmp_path / "mine")

    assert "beyond a symbolic link" in apply_patch(CHANGE, tree)
    assert "rate = 1\n" in (tmp_path / "mine/one.c").read_text()


def test_a_reverse_patch_is_taken_back(tree: Path) -> None:
    assert apply_patch(CHANGE, tree) == ""
    assert apply_patch(CHANGE, tree, reverse=True) == ""
    assert (tree / "net/one.c").read_text() == "first\nrate = 1\nlast\n"


@settings(max_examples=150)  # each of which is some processes
@given(raw=mutated_bytes(BODY, quoted(BODY), in_base64(BODY), attached(BODY)))
def test_any_patch_is_applied_or_refused(raw: bytes, tmp_path: Path) -> None:
    """Whatever is wrong with it, nothing is written outside of the tree."""
    room = tmp_path / "room"
    shutil.rmtree(room, ignore_errors=True)
    (room / "tree/net").mkdir(parents=True)
    (room / "tree/net/one.c").write_text("first\nrate = 1\nlast\n")
    try:
        patch = decoded(raw)
        touched_files(patch)
    except ConfigError:
        return
    apply_patch(patch, room / "tree")

    assert list(room.iterdir()) == [room / "tree"]


def test_a_mail_without_a_patch_is_refused() -> None:
    html = textwrap.dedent("""\
        From: dev@example.org
        Content-Type: text/html
        Content-Transfer-Encoding: quoted-printable

        <p>see attachment</p>
        """)

    with pytest.raises(ConfigError, match="is it a patch"):
        touched_files(decoded(html.encode()))
