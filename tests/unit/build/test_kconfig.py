"""Fragments: contradictions and symbols that Kconfig dropped are errors that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.build.kconfig import (
    check_granted,
    fragments_of,
    joined,
    read_config,
    read_fragments,
)
from zclab.build.kernel import OURS, PATCHES
from zclab.errors import BuildError, ConfigError

ROOT = Path(__file__).parents[3]
CAPTURED = Path(__file__).parents[2] / "data/build/config-net"


def fragment(tmp_path: Path, text: str, name: str = "net.config") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    tree = tmp_path / "linux"
    (tree / "net/tls").mkdir(parents=True)
    (tree / "net/tls/Kconfig").write_text(
        'config TLS\n\ttristate "TLS"\n\tdepends on INET\n\n'
        'config TLS_DEVICE\n\tbool "offload"\n\tdepends on TLS && PACKET\n\thelp\n\t  Help.\n'
    )
    return tree


def test_everything_granted_is_fine(tmp_path: Path, kernel: Path) -> None:
    text = 'CONFIG_INET=y\n# CONFIG_TLS is not set\nCONFIG_DEFAULT_TCP_CONG="cubic"\nCONFIG_ZC=n\n'
    wishes = read_fragments([fragment(tmp_path, text)])

    check_granted(wishes, read_config(CAPTURED.read_text()), kernel)


def test_a_dropped_symbol_fails_by_name(tmp_path: Path, kernel: Path) -> None:
    """It says where it was asked for, and which of its dependencies is off."""
    wishes = read_fragments([fragment(tmp_path, "# comment\nCONFIG_TLS_DEVICE=y\n")])

    with pytest.raises(BuildError) as caught:
        check_granted(wishes, read_config(CAPTURED.read_text()), kernel)

    for words in (
        "net.config:2: CONFIG_TLS_DEVICE=y, but the kernel's configuration has =n",
        "net/tls/Kconfig:5: depends on TLS && PACKET (TLS=n, PACKET=y)",
    ):
        assert words in str(caught.value)


def test_every_dropped_symbol_is_named(tmp_path: Path, kernel: Path) -> None:
    wishes = read_fragments([fragment(tmp_path, "CONFIG_TLS=y\nCONFIG_INET=n\nCONFIG_ZC=y\n")])

    with pytest.raises(BuildError) as caught:
        check_granted(wishes, read_config(CAPTURED.read_text()), kernel)

    assert "CONFIG_TLS=y" in str(caught.value)
    assert "CONFIG_INET=n, but the kernel's configuration has =y" in str(caught.value)
    assert "CONFIG_ZC=y" in str(caught.value)
    assert "no Kconfig file of this kernel defines it" in str(caught.value)


def test_fragments_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    one = fragment(tmp_path, "CONFIG_TLS=y\n", "one.config")
    two = fragment(tmp_path, "CONFIG_INET=y\n# CONFIG_TLS is not set\n", "two.config")

    with pytest.raises(ConfigError, match=r"two\.config:2: CONFIG_TLS=n contradicts .*one.*:1"):
        read_fragments([one, two])


def test_a_line_that_is_no_assignment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"net\.config:2: neither .*: 'CONFIG_TLS y'"):
        read_fragments([fragment(tmp_path, "CONFIG_INET=y\nCONFIG_TLS y\n")])


def test_the_fragments_of_this_repository_agree() -> None:
    fragments = sorted((ROOT / "kernel-patches/6.12/config").glob("*.config"))

    assert len(read_fragments(fragments)) > 200


def test_the_debug_kernel_fills_free_pages_by_itself() -> None:
    """Configured alone it does not: the parameter has to come with every boot loader's line."""
    default, debug = (
        {wish.symbol: wish.value for wish in read_fragments(fragments_of(OURS, PATCHES, variant))}
        for variant in ("default", "debug")
    )

    assert (debug["PAGE_POISONING"], debug["CMDLINE_BOOL"]) == ("y", "y")
    assert "page_poison=1" in debug["CMDLINE"].strip('"').split()
    assert not {"PAGE_POISONING", "CMDLINE_BOOL", "CMDLINE"} & default.keys()


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "my.config"
    path.write_bytes(b"# caf\xe9\nCONFIG_TLS=y\r\nCAF\xc9=y\n")

    with pytest.raises(ConfigError, match=r"my\.config:3: neither CONFIG_X=value nor a comment"):
        read_fragments([path])
    with pytest.raises(ConfigError, match=r"none\.config: cannot be read: No such file"):
        read_fragments([tmp_path / "none.config"])


def test_fragments_are_joined_with_ends_of_lines_that_kconfig_takes(tmp_path: Path) -> None:
    """It takes the CR of CR LF for a part of the value."""
    one = fragment(tmp_path, "CONFIG_TLS=y\r\n# caf\xe9", "one.config")
    two = fragment(tmp_path, "CONFIG_NET=y", "two.config")

    assert joined([one, two]).decode() == "CONFIG_TLS=y\n# caf\xe9\nCONFIG_NET=y\n"


@pytest.mark.parametrize(("variant", "last"), [("default", []), ("debug", ["debug.config"])])
def test_every_fragment_of_a_series_is_used(tmp_path: Path, variant: str, last: list[str]) -> None:
    """In order of name between ours; one that is called like one of ours takes its place."""
    ours = ["base.config", "net.config", "host.config"]
    names = [path.name for path in fragments_of(OURS, PATCHES, variant)]

    assert names == [*ours, "mp.config", *last]

    (tmp_path / "config").mkdir()
    for name in ("my.config", "a b.config", "net.config", ".config", "mp.config", "note.txt"):
        (tmp_path / "config" / name).touch()
    paths = fragments_of(OURS, tmp_path, variant)

    assert [path.name for path in paths] == [*ours, "a b.config", "mp.config", "my.config", *last]
    assert paths[0].parent == OURS
    assert paths[1].parent == tmp_path / "config"
    assert [path.name for path in fragments_of(OURS, None, variant)] == [*ours, *last]
