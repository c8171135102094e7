"""Series: what they touch, and what is said where they are wrong or do not apply."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.unit.mutations import mutated_bytes
from zclab.build.series import NO_SERIES, apply_series, copy_touched, read_series
from zclab.errors import BuildError, ConfigError

ROOT = Path(__file__).parents[3]

CHANGE = """\
From 0123456789 Mon Sep 17 00:00:00 2001
From: A Developer <dev@example.org>
Subject: [PATCH 1/2] net: say two

---
 net/one.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/net/one.c b/net/one.c
index 1111111..2222222 100644
--- a/net/one.c
+++ b/net/one.c
@@ -1,3 +1,3 @@
 first
--- one
+-- two
 last
--\x20
2.39.5
"""

FROM = "From 0123456789 Mon Sep 17 00:00:00 2001\nFrom: dev@example.org\n"
ADDITION = """\
Subject: [PATCH 2/2] net: add another

diff --git a/net/new.c b/net/new.c
new file mode 100644
--- /dev/null
+++ b/net/new.c
@@ -0,0 +1 @@
+new
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "patches"
    folder.mkdir()
    (folder / "1.patch").write_text(CHANGE)
    (folder / "2.patch").write_text(ADDITION)
    (folder / "series").write_text("# the series\n1.patch\n\n2.patch -p1  # new file\n")
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "net").mkdir(parents=True)
    (tree / "net/one.c").write_text("first\n-- one\nlast\n")
    return tree


def test_a_series_knows_its_patches_and_their_files(folder: Path) -> None:
    series = read_series(folder)

    assert [patch.path.name for patch in series.patches] == ["1.patch", "2.patch"]
    assert {"net/one.c", "net/new.c"} == series.touched
    assert series.touching("net/one.c") == ("1.patch",)


def test_the_hash_is_over_content_and_order(folder: Path) -> None:
    before = read_series(folder).hash
    (folder / "series").write_text("1.patch\n2.patch\n")

    assert before == read_series(folder).hash

    (folder / "series").write_text("2.patch\n1.patch\n")

    assert before != read_series(folder).hash


def test_no_series_is_a_series_without_patches(tree: Path) -> None:
    assert read_series(None) == NO_SERIES

    apply_series(read_series(None), tree, target="that tree")


def test_a_missing_patch_is_named_with_its_line(folder: Path) -> None:
    (folder / "2.patch").unlink()

    with pytest.raises(ConfigError, match=r"series:4: 2\.patch: No such file.*add the patch"):
        read_series(folder)


def test_a_missing_series_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"series: cannot read the series: No such file"):
        read_series(tmp_path)


def test_a_patch_without_changes_is_an_error(folder: Path) -> None:
    (folder / "1.patch").write_text("Subject: nothing\n")

    with pytest.raises(ConfigError, match=r"series:2: 1\.patch: no change to any file"):
        read_series(folder)


def test_a_series_applies_in_order(folder: Path, tree: Path) -> None:
    apply_series(read_series(folder), tree, target="that tree")

    assert (tree / "net/one.c").read_text() == "first\n-- two\nlast\n"
    assert (tree / "net/new.c").read_text() == "new\n"
    assert list(tree.rglob("*.orig")) == []


def test_an_offset_is_fine(folder: Path, tree: Path) -> None:
    """But where a hunk has the first line of its file, that has to be the first line."""
    (folder / "1.patch").write_text(CHANGE.replace("@@ -1,3 +1,3 @@", "@@ -4,3 +4,3 @@"))
    (tree / "net/one.c").write_text("more\n" * 9 + "first\n-- one\nlast\n")
    apply_series(read_series(folder), tree, target="that tree")

    assert "-- two" in (tree / "net/one.c").read_text()


@pytest.mark.parametrize("text", ["first\n-- other\nlast\n", "changed\n-- one\nlast\n"])
def test_fuzz_is_not(folder: Path, tree: Path, text: str) -> None:
    """A patch that does not apply is named, with file, hunk and remedy."""
    (tree / "net/one.c").write_text(text)

    with pytest.raises(BuildError) as caught:
        apply_series(read_series(folder), tree, target="linux-source-6.12 6.12.9")

    for words in (
        "patches/1.patch: does not apply to linux-source-6.12 6.12.9: ",
        "net/one.c, hunk 1, at line 1:",
        "  +-- two",
        "git am",
    ):
        assert words in str(caught.value)


def test_an_error_says_what_the_series_was_made_for(folder: Path, tree: Path) -> None:
    listed = folder / "series"
    listed.write_text(f"# base: 6.12.7-1\n{listed.read_text()}")
    (tree / "net/one.c").write_text("other\n")

    assert read_series(folder).base == "6.12.7-1"
    with pytest.raises(BuildError, match=r"apply to 6\.12\.9-1 \(the series is for 6\.12\.7-1\)"):
        apply_series(read_series(folder), tree, target="6.12.9-1")


def test_a_patch_to_a_file_that_is_gone_names_the_file(folder: Path, tree: Path) -> None:
    (tree / "net/one.c").unlink()

    with pytest.raises(BuildError, match=r"1\.patch: .*net/one\.c: no such file in that tree"):
        apply_series(read_series(folder), tree, target="that tree")


@pytest.mark.parametrize("name", ["emulator-patches"])
def test_the_series_of_this_repository_can_be_read(name: str) -> None:
    assert read_series(ROOT / name).patches


def test_the_series_of_the_kernel_has_the_key_that_its_text_gives() -> None:
    """Decoding must not make another kernel of the same plain patches."""
    folder = ROOT / "kernel-patches" / "6.12"
    series = read_series(folder)
    text = b"".join((folder / name).read_bytes() for name in _names(folder / "series"))

    assert series.hash == hashlib.sha256(text).hexdigest()[:16]


def _names(series: Path) -> list[str]:
    return [line for line in series.read_text().splitlines() if not line.startswith("#")]


def write(folder: Path, series: bytes, **patches: str) -> Path:
    """Write a series file, and CHANGE under each name that it may have."""
    (folder / "series").write_bytes(series)
    for name, text in patches.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


STRIPPED = CHANGE.replace(" a/", " ").replace(" b/", " ").replace("diff --git", "diff")
DEEP = CHANGE.replace(" a/", " a/linux/").replace(" b/", " b/linux/")


@pytest.mark.parametrize(
    ("line", "name", "text"),
    [
        (b"fix#123.patch", "fix#123.patch", CHANGE),
        (b"fix.patch -p0", "fix.patch", STRIPPED),
        (b"fix.patch -p2", "fix.patch", DEEP),
        (b"fix.patch -pab", "fix.patch", CHANGE),
        (b"fix.patch\t-p1\t# caf\xe9", "fix.patch", CHANGE),
        (b" fix.patch # why -R not", "fix.patch", CHANGE),
        (b"fix.patch\r\n\r\n# comment\r", "fix.patch", CHANGE),
        (b"\xef\xbb\xbffix.patch", "fix.patch", CHANGE),
        (b"bugfix/all/fix.patch", "bugfix/all/fix.patch", CHANGE),
        (b"../fix.patch", "../fix.patch", CHANGE),
        (b"caf\xe9.patch", os.fsdecode(b"caf\xe9.patch"), CHANGE),
    ],
)
def test_a_series_file_is_read_as_quilt_reads_it(
    folder: Path, tree: Path, line: bytes, name: str, text: str
) -> None:
    series = read_series(write(folder, line + b"\n", **{name: text}))
    apply_series(series, tree, target="that tree")

    assert [name] == [patch.name for patch in series.patches]
    assert "-- two" in (tree / "net/one.c").read_text()


def test_the_line_of_a_patch_says_what_it_was_read_from(folder: Path) -> None:
    text = "1.patch\n2.patch -p0 -R\n"
    series = read_series(write(folder, b"1.patch # why\n2.patch -R -p0\n"))

    assert [patch.line for patch in series.patches] == text.splitlines()
    assert read_series(write(folder, text.encode())).hash == series.hash


def test_a_patch_can_be_taken_back(folder: Path, tree: Path) -> None:
    before = (tree / "net/one.c").read_text()
    shutil.copy(folder / "1.patch", folder / "3.patch")
    series = read_series(write(folder, b"1.patch\n3.patch -R\n"))
    apply_series(series, tree, target="that tree")

    assert (tree / "net/one.c").read_text() == before
    assert read_series(write(folder, b"1.patch\n3.patch\n")).hash != series.hash


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"1.patch\n\n1.patch\n", r"series:3: 1\.patch: is in line 1, too; drop one"),
        (b"my 1.patch\n", r"series:1: my: found '1\.patch' behind the name, allowed: -pNUMBER"),
        (b"1.patch -p\n", r"series:1: 1\.patch: found '-p' behind"),
        (b"1.patch --dry-run\n", r"found '--dry-run' behind"),
        (b"1.patch -p9\n", r"series:1: 1\.patch: "),
        (b"../none.patch\n", r"series:1: \.\./none\.patch: No such file"),
        (b"/none.patch\n", r"series:1: /none\.patch: No such file"),
        (b".\n", r"series:1: \.: Is a directory"),
        (b"x" * 300 + b"\n", r"series:1: x*: File name too long"),
        ("1.patch\n".encode("utf-16"), r"series:1: "),
    ],
)
def test_a_line_that_makes_no_sense_is_named(folder: Path, line: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_series(write(folder, line))


@pytest.mark.parametrize("name", ["series", "mine.series"])
def test_a_series_file_itself_is_taken(folder: Path, name: str) -> None:
    wanted = read_series(folder)
    (folder / "series").rename(folder / name)

    assert read_series(folder / name) == wanted


def test_what_git_format_patch_wrote_is_taken_in_order(folder: Path) -> None:
    (folder / "series").unlink()
    (folder / "1.patch").rename(folder / "v2-0001-net-say-two.patch")
    (folder / "2.patch").rename(folder / "v2-0002-net-add-another.patch")
    (folder / "v2-0000-cover-letter.patch").write_text("Subject: [PATCH v2 0/2] net\n")

    names = [patch.name for patch in read_series(folder).patches]
    assert names == ["v2-0001-net-say-two.patch", "v2-0002-net-add-another.patch"]

    (folder / "0001-net-say-two.patch").write_text(CHANGE)
    with pytest.raises(ConfigError, match="one a line, in the order in which they apply"):
        read_series(folder)


@pytest.mark.parametrize("cover", [True, False])
def test_a_mailbox_is_taken(tree: Path, tmp_path: Path, *, cover: bool) -> None:
    """As `b4 am` and `git format-patch --stdout` write it."""
    line = "From 0123456789 Mon Sep 17 00:00:00 2001\nFrom: dev@example.org\n"
    mails = [f"{line}{text.partition(chr(10))[2]}" for text in ("\n" + ADDITION, CHANGE)]
    if cover:
        mails.insert(0, f"{line}Subject: [PATCH v2 0/2] net: two things\n\nThey are good.\n")
    mailbox = tmp_path / "v2_dev.mbx"
    mailbox.write_text("\n".join(mails))
    series = read_series(mailbox)
    apply_series(series, tree, target="that tree")

    assert (tree / "net/new.c").read_text() == "new\n"
    assert series.touching("net/one.c") == (f"v2_dev.mbx:{len(mails)}",)
    assert series.folder is None

    mailbox.write_text(f"{line}Subject: [PATCH 1/2] net: say\n\nnothing\n")
    with pytest.raises(ConfigError, match=r"mail 1 \(\[PATCH 1/2\] net: say\).* is it a patch"):
        read_series(mailbox)


COVER_TEXT = "\n\nWhat is new:\n--- a/old vs new\n+ better\n"


@pytest.mark.parametrize(
    "cover",
    [
        "Subject: [PATCH v2 0/2] net: two" + COVER_TEXT,
        "Subject: =?utf-8?q?=5BPATCH_0/2=5D_net=3A_caf=C3=A9?=" + COVER_TEXT,
        "Subject: =?utf-8?b?W1BBVENIIDAvMl0gbmV0?=" + COVER_TEXT,
        "Subject:\n [PATCH net-next\n v2 0/2] net: two" + COVER_TEXT,
        "Subject: [PATCH\n\t00/02] =?no-such-charset?q?caf=E9?=" + COVER_TEXT,
        "subject: [net-next] [PATCH 0/2] two" + COVER_TEXT,
    ],
)
def test_a_cover_letter_is_told_by_its_decoded_subject(cover: str, tmp_path: Path) -> None:
    mailbox = tmp_path / "v2.mbx"
    mailbox.write_text(f"{FROM}{cover}\n{FROM}{ADDITION}\n")

    assert [patch.name for patch in read_series(mailbox).patches] == ["v2.mbx:2"]


def test_a_mail_with_a_change_is_no_cover_letter_whatever_its_number(tmp_path: Path) -> None:
    mailbox = tmp_path / "v2.mbx"
    mailbox.write_text(f"{FROM}{ADDITION.replace('2/2', '0/1')}\n")

    assert read_series(mailbox).touched == {"net/new.c"}


def in_base64(text: str) -> str:
    head = "Content-Transfer-Encoding: base64\nContent-Type: text/plain\n\n"
    return head + base64.encodebytes(text.encode()).decode()


@pytest.mark.parametrize("name", ["fix.eml", "fix.txt", "fix"])
def test_a_single_mail_is_decoded(name: str, tmp_path: Path) -> None:
    mail, change = tmp_path / name, ADDITION.partition("\n\n")[2]
    mail.write_text("Received: x\nSubject: [PATCH] net: x\n" + in_base64(f"Hi.\n---\n{change}"))

    assert read_series(mail).touched == {"net/new.c"}

    boundary = 'Content-Type: multipart/mixed; boundary="=-x"\n\n--=-x\n'
    mail.write_text(
        f"From: a@example.org\nMIME-Version: 1.0\n{boundary}Content-Type: text/plain\n\nHi.\n"
        f"--=-x\n{in_base64(change)}--=-x--\n"
    )

    assert read_series(mail).touched == {"net/new.c"}

    mail.write_text("Subject: [PATCH] net: x\n" + in_base64("Hi.\n"))
    with pytest.raises(ConfigError, match=f"{name}: no change to any file in it; is it a patch"):
        read_series(mail)


def test_a_patch_is_a_series_of_one(folder: Path) -> None:
    (folder / "only.patch.gz").write_bytes(gzip.compress(ADDITION.encode()))

    assert read_series(folder / "only.patch.gz").touched == {"net/new.c"}


@pytest.mark.parametrize(
    "text", ["", "\n", "# 1.patch\n", f"{FROM}Subject: [PATCH 0/2] net\n\nhi\n"]
)
def test_a_series_without_a_patch_is_refused(text: str, folder: Path) -> None:
    """It is not taken for the kernel without a series."""
    (folder / "series").write_text(text)

    for path in (folder, folder / "series"):
        if path.is_file() or not text.startswith("From "):
            with pytest.raises(ConfigError, match="no patch in it; say `--series none` for that"):
                read_series(path)


@pytest.mark.parametrize("name", ["patches.zip", "patches.tgz"])
def test_what_is_no_text_is_no_series_file(name: str, tmp_path: Path) -> None:
    """Its first bytes would be the name of a patch that is not there."""
    (tmp_path / name).write_bytes(b"PK\3\4\x14\0\0\0 net/one.c\n")

    with pytest.raises(ConfigError, match=rf"{name}: no text, so no patch, .* ends in \.gz"):
        read_series(tmp_path / name)


@pytest.mark.parametrize("name", ["none", "x" * 300])
def test_a_series_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the series"):
        read_series(tmp_path / name)


def test_a_patch_behind_a_symlink_of_the_tree_is_refused(
    folder: Path, tree: Path, tmp_path: Path
) -> None:
    """The file is anyone's; a copy of it in the work tree's place would be written to."""
    shutil.move(tree / "net", tmp_path / "mine")
    (tree / "net").symlink_to(tmp_path / "mine")
    (tmp_path / "scratch").mkdir()

    with pytest.raises(BuildError, match=r"changes net/.*, but net is a symlink"):
        copy_touched(read_series(folder), tree, tmp_path / "scratch")


def test_a_symlink_that_a_series_touches_is_copied_as_one(
    folder: Path, tree: Path, tmp_path: Path
) -> None:
    (tree / "net/new.c").symlink_to("/nowhere")
    (tmp_path / "scratch").mkdir()
    copy_touched(read_series(folder), tree, tmp_path / "scratch")

    assert (tmp_path / "scratch/net/new.c").readlink() == Path("/nowhere")


@settings(max_examples=150)  # each of which is some processes
@given(
    lines=mutated_bytes(b"# base: 6.12\n1.patch -p1 # one\n\n2.patch\t-p0\n", b"1.patch -R\r\n"),
    mailbox=mutated_bytes(f"From 01 Mon Sep 17 00:00:00 2001\n{CHANGE}\n{CHANGE}".encode()),
)
def test_any_series_is_read_or_refused(lines: bytes, mailbox: bytes, folder: Path) -> None:
    (folder / "v2.mbx").write_bytes(mailbox)
    for path in (write(folder, lines), folder / "v2.mbx"):
        with suppress(ConfigError):
            assert read_series(path).hash
