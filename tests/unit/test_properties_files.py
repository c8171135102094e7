"""No file and no build tool's output is a traceback, and what is damaged in the cache is named."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from pydantic import BaseModel
from rich.console import Console

from tests.unit.mutations import check_reader, mutated_bytes
from zclab.build import apt, buildlog, cache, emulator, kconfig, offsets
from zclab.build.source import checkout
from zclab.documents.gates import default_gates
from zclab.documents.labs import load_lab
from zclab.errors import BuildError, ZclabError
from zclab.experiment.bench import Options, planned
from zclab.judge.compare import within
from zclab.judge.simulated import PROVENANCE, SimulatedRun
from zclab.lab import emulated, machine
from zclab.outside import explain
from zclab.report.markdown import markdown
from zclab.report.terminal import render
from zclab.runs import profiles
from zclab.runs.results import Results
from zclab.runs.resume import PLAN_FILE, KernelOptions, Recorded, load_recorded
from zclab.runs.store import RESULTS_FILE, _without_empty_samples, load
from zclab.virtualtime.profile import Symbols

DATA = Path(__file__).parents[1] / "data"


def a_run() -> Results:
    """Return a small run of two modes, with a trial that failed."""
    run = SimulatedRun(provenance=PROVENANCE)
    figures = {"throughput_mbps": 941.5, "service_demand_us_per_kb": 2.5}
    for boot in range(2):
        run.add("vhost", figures, boot=boot, repetition=boot)
        run.add("zerocopy", figures, boot=boot, repetition=boot)
    run.add(
        "zerocopy", {}, boot=2, repetition=2, status="failed", reason="host: no end within 60 s"
    )
    return run.results


RESULTS = a_run().model_dump_json(by_alias=True, indent=1)
PLAN = planned(load_lab("emulated"), Options(modes=["vhost"], workloads=["TCP_RR"], repetitions=1))
RECORDED = Recorded(
    plan=PLAN, kernel=KernelOptions(), copy_bytes=8, profile=False, code="0123"
).model_dump_json(by_alias=True, indent=1)
UP = emulated.Up(
    name="emulated", port=44321, contents={"kernel": "0123"}, command_line="qemu -m 2560"
)
PROFILE = (
    "component\tsymbol\tinsns\tinsns_per_kb\n"
    "vhost\trep_movs_alternative\t23539818\t179.595\n"
    "guest\t[user]\t51\t0.000389099\n"
)
INDICES = (
    "Debian|main|bookworm|http://mirror.example/debian/\n"
    "Debian|main|bookworm-security|http://mirror.example/debian-security/\n"
)
PACKAGE = "Package: qemu-system-x86\nVersion: 1:10.0.13+ds-0+deb13u1\nArchitecture: amd64\n"


def logs() -> tuple[str, ...]:
    return tuple(path.read_text() for path in sorted((DATA / "build").glob("log-*")))


def text_of(name: str) -> str:
    return (DATA / name).read_text()


def build_steps(text: str) -> object:
    return [
        (buildlog.parse_step(line), emulator._NINJA_STEP.fullmatch(line))
        for line in text.splitlines()
    ]


def addresses(text: str) -> object:
    return Symbols(text).of(1 << 63)


def explained(kind: type[BaseModel]) -> Callable[[str], object]:
    return lambda text: explain(Path("a.json"), kind, _without_empty_samples(text))


def row(text: str) -> object:
    return [profiles._row(line, "profile.tsv:2") for line in text.splitlines()[1:]]


READERS: dict[str, tuple[Callable[[str], object], tuple[str, ...]]] = {
    "results.json": (explained(Results), (RESULTS, RESULTS.replace("941.5", "null", 1))),
    "plan.json": (explained(Recorded), (RECORDED,)),
    "a profile": (row, (PROFILE,)),
    "build log": (buildlog.first_failure, logs()),
    "build steps": (build_steps, ("  CC      drivers/net/tun.o\n[3/1200] Compiling C object\n",)),
    ".config": (kconfig.read_config, (text_of("build/config-net"),)),
    "offsets": (offsets.parse, (text_of("build/task-offsets.s"),)),
    "System.map": (addresses, (text_of("account/System.map"),)),
    "apt's indices": (apt.mirror_of, (INDICES,)),
    "a package": (lambda text: apt._version(text, "qemu-system-x86"), (PACKAGE,)),
}


@pytest.mark.parametrize("name", READERS)
def test_what_a_file_says_is_a_value_or_an_error_of_ours(name: str) -> None:
    read, samples_of_it = READERS[name]

    check_reader(read, *samples_of_it)


def test_the_command_of_the_compiler() -> None:
    def read(text: str) -> None:
        offsets.compile_argv(text, Path("a.c"), Path("a.s"))

    check_reader(read, text_of("build/asm-offsets.cmd"), inputs=200)  # shlex is slow


def test_results_that_can_be_loaded_can_be_shown() -> None:
    def read(text: str) -> None:
        results = explain(Path(RESULTS_FILE), Results, text)
        within(results, default_gates(results.run.clock))
        markdown(results)
        Console(file=io.StringIO(), width=100).print(render(results))

    check_reader(read, RESULTS, inputs=100)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "labs").mkdir()
    file = tmp_path / "file"

    @settings(max_examples=200)
    @given(mutated_bytes(RESULTS.encode(), RECORDED.encode(), PROFILE.encode(), b"CONFIG_TUN=y\n"))
    def damaged(data: bytes) -> None:
        file.write_bytes(data)
        (tmp_path / PLAN_FILE).write_bytes(data)
        for read in (
            load,
            profiles._read,
            lambda path: kconfig.read_fragments([path]),
            lambda path: load_recorded(path.parent),
            cache.remembered,
            cache.read_json,
        ):
            with suppress(ZclabError):
                read(file)

    damaged()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1}', "\xff", "[" * 10000])
def test_a_damaged_artifact_is_named_and_how_to_have_it_made_anew(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "kernel" / "0123" / "task-offsets.json"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="latin-1")

    with pytest.raises(BuildError, match=r"task-offsets\.json: .* `invoke clean --kind=kernel`"):
        cache.read_json(file, cache.is_text)


def test_what_only_saves_time_is_found_out_again_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_CACHE", str(tmp_path / "cache"))
    tree = tmp_path / "linux"
    tree.mkdir()
    (tree / "Makefile").write_text("all:\n")
    first = checkout(tree)
    (known,) = (tmp_path / "cache" / "checkouts").iterdir()
    known.write_text('{"Makefile": ["1-')

    assert checkout(tree).id == first.id


def test_a_lab_whose_record_is_damaged_is_not_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZCLAB_STATE", str(tmp_path))
    monkeypatch.setattr(machine, "processes", lambda _folder: [1])
    folder = tmp_path / "emulated"
    folder.mkdir()
    ready = folder / "ready"
    ready.write_text(UP.model_dump_json())

    assert emulated.find("emulated") == UP
    for damaged in (b"", b"\xff\xfe", b"{", b"[]", UP.model_dump_json().encode()[:-9]):
        ready.write_bytes(damaged)
        assert emulated.find("emulated") is None
