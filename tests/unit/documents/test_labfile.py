"""Anchors, aliases and merge keys; and files that are spoiled in any way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.unit.mutations import mutated_bytes
from zclab.documents.gates import GATES, load_gates
from zclab.documents.labs import LABS, load_lab
from zclab.documents.suites import SUITES, load_suite
from zclab.documents.yaml import Document
from zclab.errors import ConfigError

WITH_ANCHORS = """\
x-size: &size
  vcpus: 2
  memory_mib: 1024
x-queues: &queues {queues: 2, vcpus: 1}
x-nic: &dut 0000:01:00.0
kind: emulated
emulator: {nic: igb, cpus: 4}
nic: *dut
peer: {nic: 0000:02:00.0}
guest:
  <<: [*size, *queues]
  memory_mib: 768
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of its own, so that files are shown by their plain names."""
    monkeypatch.chdir(tmp_path)


def mistakes(text: str) -> list[str]:
    """Return what is said about a lab file, without its name."""
    Path("my-lab.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_lab("my-lab.yaml")
    return [line.removeprefix("my-lab.yaml:") for line in str(caught.value).splitlines()]


def data_of(text: str) -> object:
    Path("my.yaml").write_text(text)
    return Document.read(Path("my.yaml")).data


def test_a_lab_can_say_something_once_and_use_it_twice() -> None:
    Path("my-lab.yaml").write_text(WITH_ANCHORS)
    lab = load_lab("my-lab.yaml")

    assert lab.nic == "0000:01:00.0"
    # What stands there wins over what is merged, and of what is merged the first.
    assert (lab.guest.vcpus, lab.guest.memory_mib, lab.guest.queues) == (2, 768, 2)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: &a {x: 1}\nb: {<<: *a}\n", {"a": {"x": 1}, "b": {"x": 1}}),
        ("a: &a {x: 1}\nb: {x: 2, <<: *a}\n", {"a": {"x": 1}, "b": {"x": 2}}),
        ("b: {<<: {x: 1}, y: 2}\n", {"b": {"x": 1, "y": 2}}),
        ("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n", {
            "a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 2}}),
        ("a: &a [1, 2]\nb: *a\n", {"a": [1, 2], "b": [1, 2]}),
        ("b: {<<: []}\n", {"b": {}}),
        ("b: {'<<': 1}\n", {"b": {"<<": 1}}),
        ("x-a: 1\nb: {x-a: 1}\n", {"b": {"x-a": 1}}),
    ],
)  # fmt: skip
def test_merge_keys_are_as_yaml_has_them(text: str, data: object) -> None:
    assert data_of(text) == data


def test_a_mistake_in_what_is_merged_is_told_where_it_can_be_mended() -> None:
    text = WITH_ANCHORS.replace("memory_mib: 1024", "memory: 1024").replace("vcpus: 2", "vcpus: 99")

    assert mistakes(text) == [
        "2: guest.vcpus: found 99, allowed: an integer from 1 to 16",
        (
            "3: guest.memory: unknown key, did you mean 'memory_mib'?; allowed keys: "
            "vcpus, memory_mib, queues"
        ),
    ]


def test_a_wrong_alias_is_told_where_it_is_used() -> None:
    assert mistakes(WITH_ANCHORS.replace("&dut 0000:01:00.0", "&dut eth0"))[0].startswith(
        "8: nic: found 'eth0', allowed: a PCI address"
    )


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "guest: {<<: 3}\n",
            "1: guest.<<: merges what has no keys; allowed: <<: *name, or a list of such",
        ),
        ("guest: {<<: {vcpus: 1}, <<: {queues: 1}}\n", "1: guest.<<: given again, first in line 1"),
        (
            "guest:\n  <<: {vcpus: 1,\n    vcpus: 2}\n",
            "3: guest.vcpus: given again, first in line 2",
        ),
        ("guest: &g\n  <<: *g\n", "1: merges itself; write the keys out"),
        ("guest: &g\n  vcpus: *g\n", "1: nested too deep, or an alias of what it is part of"),
        ("x-a: &a [*a]\n", "1: nested too deep, or an alias of what it is part of"),
        ("emulator: {x-cpus: 2}\n", "1: emulator.x-cpus: unknown key, did you mean 'cpus'?"),
    ],
)
def test_an_alias_that_cannot_be(text: str, mistake: str) -> None:
    assert any(line.startswith(mistake) for line in mistakes(text))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\x85", "\u2028"])
def test_lines_are_counted_as_yaml_does(end: str) -> None:
    assert mistakes(f"kind: emulated{end}peer:{end}\tnic: x{end}") == [
        "3: not YAML: a tab; indent with spaces"
    ]
    assert mistakes(f"kind: emulated{end}nic: \0{end}") == [
        "2: not YAML: the character U+0000; leave it out"
    ]


@pytest.mark.parametrize("shape", ["[{}]", "{{<<: [{}]}}"])
def test_ten_lines_that_stand_for_billions_are_refused(shape: str) -> None:
    ten = {at: shape.format(", ".join([f"*x{at - 1}"] * 10)) for at in range(1, 12)}
    lines = ("x0: &x0 {a: 1}", *(f"x{at}: &x{at} {value}" for at, value in ten.items()))

    (mistake,) = mistakes("\n".join(lines))

    assert mistake.endswith("more than 10,000 values, counting what aliases repeat; use fewer")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('kind: "\\ud800"\n', "1: kind: found '?', allowed: emulated, ssh"),
        ('kind: "a\\e[2J\\nb"\n', '1: kind: found "a\\u001b[2J\\nb", allowed: emulated, ssh'),
        (f"kind: {'9' * 5000}\n", f"1: kind: found '{'9' * 59}…, allowed: emulated, ssh"),
        ("kind: 1e400\n", "1: kind: found '1e400', allowed: emulated, ssh"),
        ("kind: .nan\n", "1: kind: found '.nan', allowed: emulated, ssh"),
        ("kind: 2026-01-01\n", "1: kind: found '2026-01-01', allowed: emulated, ssh"),
        (
            "kind: !!python/none x\n",
            "1: kind: tags (tag:yaml.org,2002:python/none) are not supported",
        ),
        (f'"{"k" * 500}": 1\n', f"1: {'k' * 60}…: unknown key"),
        ('"\\e[2J": 1\n', '1: "\\u001b[2J": unknown key'),
        ("? \n: 1\n", '1: "": unknown key'),
        ("'kind ': 1\n", "1: \"kind \": unknown key, did you mean 'kind'?"),
        ("kind: {}\n", "1: kind: found no keys, allowed: emulated, ssh"),
    ],
)
def test_odd_values_are_shown_so_that_they_can_be_read(text: str, shown: str) -> None:
    assert any(line.startswith(shown) for line in mistakes(text))


@pytest.mark.parametrize(
    ("folder", "load"),
    [(LABS, load_lab), (SUITES, load_suite), (GATES, load_gates)],
    ids=["labs", "suites", "gates"],
)
def test_a_file_that_is_spoiled_is_a_value_or_told_with_its_line(
    folder: Path, load: Callable[[str], object], tmp_path: Path
) -> None:
    files = [path.read_bytes() for path in sorted(folder.glob("*.yaml"))]
    path = tmp_path / "my-lab.yaml"

    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(mutated_bytes(*files, WITH_ANCHORS.encode()))
    def spoiled(raw: bytes) -> None:
        path.write_bytes(raw)
        try:
            load(str(path))
        except ConfigError as exc:
            lines = str(exc).encode().decode().splitlines()
            assert all(line.startswith("my-lab.yaml:") for line in lines), lines

    spoiled()
