"""A relative link of a document leads to a file of the tree, and to a heading that is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.tasks import links, lint


def found(root: Path, text: str) -> list[str]:
    """Write docs/a.md beside docs/b.md and return its broken links."""
    (root / "docs").mkdir()
    (root / "docs" / "b.md").write_text("# One\n\n## Two words\n")
    document = root / "docs" / "a.md"
    document.write_text(text)
    return list(links.broken(document, root))


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[x](c.md)", "c.md: no such file"),
        ("![x](img/c.png)", "img/c.png: no such file"),
        ("[`x`](<c.md>)", "c.md: no such file"),
        ("[x]: c.md", "c.md: no such file"),
        ("[x](b.md#three)", "b.md#three: no such heading"),
        ("[x](#two-words)", "#two-words: no such heading"),
        ("[x](/etc/passwd)", "/etc/passwd: outside of the project; write the whole address"),
        ("[x](../../b.md)", "../../b.md: outside of the project; write the whole address"),
    ],
)
def test_a_broken_link_is_named_with_its_line(tmp_path: Path, link: str, said: str) -> None:
    assert found(tmp_path, f"# Here\n\n`code\ncode`\n\n{link}\n") == [f"docs/a.md:6: {said}"]


def test_links_that_hold_and_addresses_of_the_web_are_not_named(tmp_path: Path) -> None:
    text = (
        "# Here\n[b](b.md) [b](b.md#two-words) [here](#here) [up](..) [b](b%2Emd) [b](b.md 'B')\n"
        "[web](https://example.org/none.md) [mail](mailto:a@example.org) [web](//example.org)\n"
    )

    assert found(tmp_path, text) == []


def test_code_has_no_links_and_no_headings(tmp_path: Path) -> None:
    text = "`[x](none.md)` ``a ` [x](none.md)``\n```\n# No\n[x](none.md)\n```\n[x](#no)\n"

    assert found(tmp_path, text) == ["docs/a.md:6: #no: no such heading"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## What `it` is, and why", "what-it-is-and-why"),
        ("### A hook in netif_receive_skb()", "a-hook-in-netif_receive_skb"),
        ("# [Linked](b.md) & so on #", "linked--so-on"),
        ("# Same\n# Same", "same-1"),
    ],
)
def test_a_heading_has_the_anchor_that_github_gives_it(heading: str, anchor: str) -> None:
    assert anchor in links.anchors(heading)


def test_the_gate_reads_every_document_of_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gate,) = (gate for gate in lint.gates(None) if gate.name == "links")

    outcome = lint.run(gate)

    assert {"README.md", "docs/guide.md", "docs/decisions/README.md"} <= set(gate.argv)
    assert (outcome.status, outcome.output) == ("ok", "")

    monkeypatch.setattr(lint, "ROOT", tmp_path)
    (gate,) = (gate for gate in lint.gates(None) if gate.name == "links")
    assert gate.skip == "no documents tracked by git here"


def test_the_gate_fails_with_the_broken_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.md").write_text("[x](none.md)\n")
    program = Path(links.__file__).read_text(encoding="utf-8")
    (tmp_path / "zclab" / "tasks").mkdir(parents=True)
    for module in ("__init__.py", "tasks/__init__.py"):  # else one of the PYTHONPATH goes before it
        (tmp_path / "zclab" / module).touch()
    (tmp_path / "zclab" / "tasks" / "links.py").write_text(program)
    monkeypatch.setattr(lint, "ROOT", tmp_path)

    outcome = lint.run(lint.links_gate(("a.md",)))

    assert (outcome.status, outcome.output) == ("FAILED", "a.md:1: none.md: no such file")
