"""Real kernel builds: what is said when a series does not apply or does not compile.

They share the cache with everybody else, so that each is an incremental build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from zclab.build.kernel import COMPILER, PATCHES, KernelArtifact, build_kernel
from zclab.errors import BuildError

pytestmark = pytest.mark.lab

PATCH = """\
Subject: [PATCH] dummy: {subject}

---
diff --git a/drivers/net/dummy.c b/drivers/net/dummy.c
--- a/drivers/net/dummy.c
+++ b/drivers/net/dummy.c
@@ -44,4 +44,5 @@
 #define DRV_NAME	"{name}"
\x20
+{line}
 static int numdummies = 1;
\x20
"""


@pytest.fixture(scope="module")
def kernel() -> KernelArtifact:
    """Return the kernel that all lab tests use, built or from the cache."""
    return build_kernel()


def series(folder: Path, *, subject: str = "", name: str = "dummy", line: str = "") -> Path:
    """Write the project's series with one more patch, to the dummy driver.

    One file more is built, where a series of that patch alone would be another kernel altogether.
    """
    shutil.copytree(PATCHES, folder, dirs_exist_ok=True)
    with (folder / "series").open("a") as file:
        file.write("0001-dummy.patch\n")
    text = PATCH.format(subject=subject, name=name, line=line)
    (folder / "0001-dummy.patch").write_text(text)
    return folder


def never(done: int, total: int | None, what: str) -> None:
    """Fail: what reports progress is not served from the cache."""
    pytest.fail(f"a step of a build: {done} of {total}: {what}")


def test_with_nothing_changed_nothing_is_built(kernel: KernelArtifact) -> None:
    again = build_kernel(progress=never)

    assert again.cached
    assert kernel.key == again.key
    assert again.version.startswith("6.12.")
    assert again.version.endswith("-zclab")
    assert again.bzimage.read_bytes()[0x202:0x206] == b"HdrS"  # the boot protocol's magic


@pytest.mark.usefixtures("kernel")
def test_a_patch_that_does_not_apply_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        build_kernel(series=series(tmp_path, name="dumbo"))

    for words in (
        "0001-dummy.patch: does not apply to linux-source-6.12 6.12.",
        "drivers/net/dummy.c, hunk 1, at line 44",
        "git format-patch",
    ):
        assert words in str(caught.value)


@pytest.mark.usefixtures("kernel")
def test_a_patch_that_does_not_compile_is_named(tmp_path: Path) -> None:
    """The first error has file and line, and the log is kept."""
    with pytest.raises(BuildError) as caught:
        build_kernel(series=series(tmp_path, line="static int broken = ;"))

    text = str(caught.value)
    assert "drivers/net/dummy.c:46:21: error: expected expression before" in text
    assert "look first at what changes drivers/net/dummy.c: 0001-dummy.patch" in text
    assert "drivers/net/dummy.c" in Path(text.rpartition("Complete output: ")[2]).read_text()


@pytest.mark.usefixtures("kernel")
def test_the_same_source_is_the_same_kernel_to_the_byte(tmp_path: Path) -> None:
    """Whatever the work tree held before: an incremental build leaves no trace of it."""
    first = build_kernel(series=series(tmp_path, subject="one", line="int zclab_test = 7;"))
    other = build_kernel(series=series(tmp_path, subject="two", line="int zclab_test = 8;"))
    again = build_kernel(series=series(tmp_path, subject="three", line="int zclab_test = 7;"))

    assert first.key != again.key
    assert first.bzimage.read_bytes() == again.bzimage.read_bytes()
    assert first.bzimage.read_bytes() != other.bzimage.read_bytes()


def test_a_file_that_an_object_includes_is_no_older_than_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed kernel of the same length as another's was taken for the other once."""
    if not shutil.which("ccache"):
        pytest.skip("no ccache: nothing is cached")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path / "ccache"))
    monkeypatch.setenv("CCACHE_DEPEND", "1")
    (tmp_path / "piggy.S").write_text('.incbin "kernel.gz"\n')
    made = []
    for content in ("one", "two"):
        (tmp_path / "kernel.gz").write_text(content)
        argv = ("-Wp,-MMD,piggy.d", "-c", "-o", "piggy.o", "piggy.S")
        subprocess.run(("sh", COMPILER, *argv), check=True)
        made.append((tmp_path / "piggy.o").read_bytes())

    assert b"one" in made[0]
    assert b"two" in made[1]


def test_what_is_not_compiled_makes_no_other_kernel(
    kernel: KernelArtifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do tools that other kernels are built with, where they are installed."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool, answer in (("rustc", "rustc 1.95.0 (1 2026-04-14)"), ("pahole", "v1.30")):
        (tools / tool).write_text(f"#!/bin/sh\necho '{answer}'\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    folder = series(tmp_path / "series")
    note = "--- /dev/null\n+++ b/drivers/vhost/NOTE\n@@ -0,0 +1 @@\n+planted\n"
    (folder / "0001-dummy.patch").write_text(note)

    noted = build_kernel(series=folder)

    assert noted.key != kernel.key
    assert noted.config.read_text() == kernel.config.read_text()
    assert noted.content == kernel.content
