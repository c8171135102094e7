"""Bundles of runs: made on one machine, measured with on another.

The machines are two caches, and what measures stands in for the emulator. That the real one gives
the same figures from a bundle is shown by tests/lab/test_bundle.py.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from tests.unit.mutations import check_reader
from zclab.build import emulator, image, kernel
from zclab.build.bundle import files_in, write
from zclab.build.cache import Artifact, cache_dir, get_or_build
from zclab.build.parcel import Named
from zclab.build.plugin import PLUGIN, PluginArtifact
from zclab.build.unbundle import Bundle, read_manifest, unpacked
from zclab.documents.labs import load_lab, with_overrides
from zclab.errors import ConfigError, GateError, LabError
from zclab.experiment import bench as experiment
from zclab.experiment import builds, bundles, exchange
from zclab.lab.artifacts import Artifacts, EmulatedHost
from zclab.model import ModeName
from zclab.runs.plan import Planned
from zclab.runs.results import Provenance, Results, Trial, samples
from zclab.runs.resume import KernelOptions, Plan
from zclab.runs.store import load
from zclab.tasks import building
from zclab.virtualtime import trials as virtual
from zclab.virtualtime.lab import VirtualLab, VirtualOptions
from zclab.virtualtime.trials import Outcome

FILES = {
    "kernel": ("bzImage", "config", "System.map", "build.log", "release"),
    "emulator": (emulator.BINARY, "include/qemu-plugin.h"),
    "plugin": (PLUGIN,),
    "host-image": (image.HOST_IMAGE, "busybox", "init", image.CONTENT),
    "guest-image": (image.GUEST_IMAGE, image.CONTENT),
}
FIRMWARE = ("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin")
ONE_JOB = VirtualOptions()


class Machine:
    """A machine with a cache and a compiler of its own, and an emulator that measures ``rate``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, compiler: str = "12") -> None:
        self.folder, self.compiler, self.rate = folder, compiler, 10000.0
        self.ran: list[Trial] = []
        self.built = 0
        self.monkeypatch = monkeypatch

    def __enter__(self) -> Self:
        """Sit down at it."""
        self.monkeypatch.setenv("ZCLAB_CACHE", str(self.folder / "cache"))
        state = Artifact(kind="state", key="k", path=self.folder, inputs={}, cached=True)
        for name in ("host_state", "guest_state"):
            self.monkeypatch.setattr(virtual, name, lambda *_: state)
        self.monkeypatch.setattr(virtual, "_provenance", lambda *_: Provenance(cpu_model="max"))
        self.monkeypatch.setattr(virtual, "_side_by_side", self.trials)
        firmware = self.folder / "firmware"
        firmware.mkdir(parents=True, exist_ok=True)
        for name in FIRMWARE:
            (firmware / name).write_text(f"{name} of {self.compiler}")
        for module in (exchange, experiment):
            self.monkeypatch.setattr(module, "build_lab", self.build_lab)
        self.monkeypatch.setattr(exchange, "firmware", partial(emulator.firmware, (firmware,)))
        return self

    def __exit__(self, *_exception: object) -> None:
        """Leave it."""

    def trials(
        self,
        _lab: VirtualLab,
        _states: Mapping[ModeName, Artifact],
        trials: Sequence[Planned],
        **_options: int,
    ) -> Iterator[Outcome]:
        """See Execute."""
        for one in trials:
            trial = Trial(**dict(one.dimensions), status="ok")
            self.ran.append(trial)
            figures = samples(one.dimensions, {"transactions_per_s": self.rate})
            yield Outcome(trial=trial, samples=figures, raw=(("netperf/a.txt", "text"),))

    def artifact(self, kind: str) -> Artifact:
        """Build what is made of its compiler, which is in no log."""

        def build(folder: Path) -> None:
            for name in FILES[kind]:
                (folder / name).parent.mkdir(exist_ok=True)
                text = str(folder) if name == "build.log" else f"{name} by {self.compiler}"
                (folder / name).write_text(text)
            (folder / "task-offsets.json").write_text("{}")

        return get_or_build(kind, {"compiler": self.compiler, "packages": {}}, build)

    def artifacts(self) -> Artifacts:
        """Return what a lab is made of here."""
        self.built += 1
        host_kernel = kernel.described(
            self.artifact("kernel"), base="6.12.107-1", series_hash="5", variant="default"
        )
        plugin = self.artifact("plugin")
        return Artifacts(
            kernel=host_kernel,
            guest_kernel=host_kernel,
            guest_image=image.described(self.artifact("guest-image"), image.GUEST_IMAGE),
            host=EmulatedHost(
                emulator=emulator.described(
                    self.artifact("emulator"),
                    base="1:10.0.13+ds-0+deb13u1",
                    series_hash="6",
                    firmware_dirs=(self.folder / "firmware",),
                ),
                plugin=PluginArtifact(key=plugin.key, path=plugin.path / PLUGIN, cached=True),
                image=image.described(self.artifact("host-image"), image.HOST_IMAGE),
            ),
        )

    def build_lab(self, *_lab: object, bundle: str = "", **_options: object) -> Artifacts:
        """See builds.build_lab(); what a bundle has is not built."""
        if bundle:
            return builds.from_bundle(Path(bundle))
        return self.artifacts()

    def bench(self, name: str, *, bundle: str = "", fresh: bool = False) -> Results:
        """Run a small plan, as run-bench does."""
        options = KernelOptions.of(source="", series="", debug=False, bundle=bundle)
        path = self.folder / name
        recheck = None if fresh else 0
        experiment.bench(
            a_plan(),
            partial(self.build_lab, bundle=options.bundle),
            replace(ONE_JOB, recheck=recheck),
            keep=False,
            out_dir=str(path),
            kernel=options,
        )
        return load(path)


def a_plan() -> Plan:
    return experiment.planned(
        with_overrides(load_lab("emulated"), clock="virtual"),
        experiment.Options(
            modes=["vhost", "zerocopy"], workloads=["TCP_RR"], repetitions=2, baseline="vhost"
        ),
    )


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "ours", monkeypatch)


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path / "theirs", monkeypatch, compiler="14")


def a_bundle(machine: Machine, only: str = "") -> str:
    """Make a bundle of a run on a machine."""
    with machine:
        machine.bench("run")
        file = machine.folder / f"mine{only}.zclab"
        exchange.bundle(str(machine.folder / "run"), str(file), only=only)
    return str(file)


def test_a_machine_that_builds_otherwise_measures_with_what_the_bundle_has(
    ours: Machine, theirs: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is known comes from the bundle, and says so. The rest is measured on that machine."""
    file = a_bundle(ours)
    with ours:
        before = load(ours.folder / "run")
    with theirs:
        results = theirs.bench("run", bundle=file)
        again = theirs.bench("again", bundle=file, fresh=True)

    said = " ".join(capsys.readouterr().out.split())
    assert results.samples == before.samples
    assert {trial.known_from.bundle for trial in results.trials if trial.known_from} == {
        "mine.zclab"
    }
    for machine in (results, again):
        assert machine.provenance.artifacts == before.provenance.artifacts
    assert "4 of 4 trials are known from run" in said
    assert "imported from bundle mine.zclab" in said
    assert (theirs.built, len(theirs.ran)) == (0, 4)
    assert [trial.known_from for trial in again.trials] == [None] * 4


def test_a_run_with_a_bundle_goes_on_with_that(ours: Machine, theirs: Machine) -> None:
    file = a_bundle(ours)
    with theirs:
        theirs.bench("run", bundle=file)
        path = theirs.folder / "run" / "results.json"
        stopped = json.loads(path.read_text())
        path.write_text(json.dumps({**stopped, "trials": stopped["trials"][:2]}))
        experiment.resume(str(path.parent), jobs=1, executor="", keep=False, dry_run=False)

        assert len(load(path).trials) == 4
    assert theirs.built == 0


def test_a_bundle_can_be_made_of_a_run_that_was_made_with_a_bundle(
    ours: Machine, theirs: Machine
) -> None:
    file = a_bundle(ours)
    with theirs:
        theirs.bench("run", bundle=file)
        exchange.bundle(str(theirs.folder / "run"), str(theirs.folder / "second.zclab"), only="")
        first, second = unpacked(Path(file)), unpacked(theirs.folder / "second.zclab")

    def built(bundle: Bundle) -> list[object]:
        return [one for one in bundle.manifest.artifacts if one.kind != "known-trial"]

    assert built(second) == built(first)


def test_what_was_unbundled_is_found_where_inputs_are_equal(
    ours: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = a_bundle(ours)
    twin = Machine(tmp_path / "twin", monkeypatch)
    with twin:
        exchange.unbundle(file)
        said = capsys.readouterr().out
        results = twin.bench("run")
        log = (twin.artifact("kernel").path / "build.log").read_text()
        exchange.unbundle(file)

    assert "kernel: 1 taken\n" in said
    assert "known-trial: 4 taken\n" in said
    assert "firmware: for --bundle alone\n" in said
    assert "known-trial: 4 there already\n" in capsys.readouterr().out
    assert len(results.trials) == 4
    assert twin.ran == []
    assert str(ours.folder) in log


def test_results_alone_are_small_and_known_where_the_machine_is_equal(
    ours: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_bundle(ours, only="results")
    twin = Machine(tmp_path / "twin", monkeypatch)
    with twin:
        exchange.unbundle(file)
        twin.bench("run")
        kinds = {one.kind for one in unpacked(Path(file)).manifest.artifacts}
        with pytest.raises(ConfigError, match="has results only"):
            bundles.artifacts_of(unpacked(Path(file)))

    assert kinds == {"known-trial"}
    assert twin.ran == []


def test_artifacts_alone_know_nothing(ours: Machine, theirs: Machine) -> None:
    file = a_bundle(ours, only="artifacts")
    with theirs:
        theirs.bench("run", bundle=file)
        with pytest.raises(ConfigError, match="has no results; there is nothing to compare"):
            exchange.verify(file, trials=0)

    assert len(theirs.ran) == 4


def test_verify_says_part_by_part_and_trial_by_trial_that_all_is_equal(
    ours: Machine, theirs: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = a_bundle(ours)
    capsys.readouterr()
    with theirs:
        theirs.artifact("kernel")
        exchange.verify(file, trials=3)

    lines = capsys.readouterr().out.splitlines()
    assert len(theirs.ran) == 3
    for part in ("kernel", "emulator", "host_image", "guest_image", "experiment", "cpu_model"):
        assert any(line.startswith(f"{part} ") and line.endswith(": equal") for line in lines)
    assert "firmware: the bundle's; this machine has another" in lines
    assert sum("this cache has none of equal inputs" in line for line in lines) == 5
    assert sum(line.endswith(("-0: equal", "-1: equal")) for line in lines) == 3
    assert lines[-1].startswith("this machine gives the same figures: 3 of 4 known trials of run")


def test_verify_fails_where_a_figure_differs_and_names_it(
    ours: Machine, theirs: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    file = a_bundle(ours)
    theirs.rate = 10000.5
    with (
        theirs,
        pytest.raises(GateError, match=r"4 of 4 .* differ; its parts are equal;") as caught,
    ):
        exchange.verify(file, trials=0)

    said = capsys.readouterr().out
    assert caught.value.exit_status == 5
    assert "TCP_RR-1-e1000e-1500-on-0: NOT EQUAL\n" in said
    assert "  transactions_per_s: 10000.5, and 10000.0 before\n" in said


def test_with_results_only_verify_builds_and_names_the_parts_that_are_others(
    ours: Machine, theirs: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Equal figures are equal figures, whoever compiled the emulator."""
    file = a_bundle(ours, only="results")
    with theirs:
        exchange.verify(file, trials=1)
        said = capsys.readouterr().out
        theirs.rate = 1.0
        with pytest.raises(GateError, match="the first suspects: kernel, guest_image, emulator"):
            exchange.verify(file, trials=1)

    assert theirs.built == 2
    assert "experiment" in said
    assert said.count("NOT EQUAL") == 5
    assert "this machine gives the same figures: 1 of 4" in said


def test_an_artifact_of_equal_inputs_with_other_contents_is_named_and_stays(
    ours: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = a_bundle(ours)
    twin = Machine(tmp_path / "twin", monkeypatch)
    with twin:
        image_here = twin.artifact("kernel").path / "bzImage"
        image_here.write_text("another")
        exchange.verify(file, trials=1)
        exchange.unbundle(file)
        theirs = bundles.artifacts_of(unpacked(Path(file))).kernel.bzimage.read_text()

    said = capsys.readouterr().out
    assert "this cache has another of equal inputs: bzImage differ" in said
    assert "kernel: 1 another here, which stays" in said
    assert (image_here.read_text(), theirs) == ("another", "bzImage by 12")


def test_results_that_contradict_what_is_known_here_are_an_error(
    ours: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_bundle(ours)
    twin = Machine(tmp_path / "twin", monkeypatch)
    twin.rate = 1.0
    with twin:
        twin.bench("run")
        with pytest.raises(LabError, match=r"4 results in \S+mine\.zclab are not those that"):
            exchange.unbundle(file)


def _leads_elsewhere(known: dict[str, Any]) -> None:
    known["raw"] = [["../../../../.bashrc", "rm -rf ~"]]


def _of_no_figure(known: dict[str, Any]) -> None:
    known["samples"][0]["metric"] = "speed"


def _of_another_trial(known: dict[str, Any]) -> None:
    known["samples"][0]["boot"] = 7


@pytest.mark.parametrize("forge", [_leads_elsewhere, _of_no_figure, _of_another_trial])
def test_a_forged_result_is_refused(
    ours: Machine, theirs: Machine, forge: Callable[[dict[str, Any]], None]
) -> None:
    """One whose raw output had a name that leads elsewhere could write where it likes."""
    file = a_bundle(ours, only="results")
    with theirs:
        bundle = unpacked(Path(file))
        results = [files_in(bundle.place(one)) for one in bundle.manifest.artifacts]
        path = results[0]["known.json"]
        known = json.loads(path.read_text())
        forge(known)
        path.write_text(json.dumps(known))
        forged = theirs.folder / "forged.zclab"
        named = [Named(one.kind, one.key) for one in bundle.manifest.artifacts]
        write(forged, zip(named, results, strict=True), about=bundle.manifest.about, zclab="")
        for use in (exchange.unbundle, partial(exchange.verify, trials=1)):
            with pytest.raises(ConfigError, match=r"the known result \w+ in it is none of this"):
                use(str(forged))
        assert list(cache_dir().glob("artifacts/known-trial/*")) == []


def test_a_result_of_another_trial_is_forgotten(ours: Machine) -> None:
    with ours:
        ours.bench("run")
        one, other = list(cache_dir().glob("artifacts/known-trial/*/known.json"))[:2]
        one.write_text(other.read_text())
        assert len(ours.bench("again").trials) == 4

    assert len(ours.ran) == 5


def test_a_run_is_not_bundled_with_other_artifacts_than_it_was_made_with(ours: Machine) -> None:
    with ours:
        ours.bench("run")
        ours.compiler = "13"
        with pytest.raises(ConfigError, match=r"another kernel, guest_image, emulator, host_image"):
            exchange.bundle(str(ours.folder / "run"), str(ours.folder / "x"), only="")

    assert not (ours.folder / "x").exists()


def test_a_run_of_which_nothing_is_known_any_more_has_artifacts_alone(ours: Machine) -> None:
    with ours:
        ours.bench("run")
        building.clean.body(None, kind="known-trial")
        with pytest.raises(ConfigError, match="no result of it is known here; --only=artifacts"):
            exchange.bundle(str(ours.folder / "run"), str(ours.folder / "x"), only="")


def test_a_run_of_another_zclab_is_refused(ours: Machine) -> None:
    with ours:
        ours.bench("run")
        plan = ours.folder / "run" / "plan.json"
        plan.write_text(json.dumps({**json.loads(plan.read_text()), "code": "0"}))
        with pytest.raises(ConfigError, match=r"--run: \S+: zclab has changed"):
            exchange.bundle(str(ours.folder / "run"), str(ours.folder / "x"), only="")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"source": "linux"}, "--bundle: has a kernel already"),
        ({"debug": True}, "--bundle: has a kernel already"),
        ({}, "x: No such file or directory: name a file of `invoke bundle`"),
    ],
)
def test_a_bundle_that_cannot_be_used_is_refused_before_there_is_a_run(
    options: dict[str, object], says: str
) -> None:
    plain: dict[str, object] = {"source": "", "series": "", "debug": False}
    with pytest.raises(ConfigError, match=says):
        KernelOptions.of(**{**plain, **options}, bundle="/nowhere/x")  # type: ignore[arg-type]


def test_a_lab_with_a_real_host_takes_no_bundle(tmp_path: Path) -> None:
    plan = experiment.planned(load_lab("ssh-example"), experiment.Options())
    with pytest.raises(ConfigError, match="--bundle: lab ssh-example is not emulated"):
        experiment.begin(
            plan, ONE_JOB, kernel=KernelOptions(bundle="x"), out_dir=str(tmp_path / "run")
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["kernel", "all"])
def test_what_is_no_part_of_a_bundle_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=f"--only: found '{value}', allowed: artifacts, results"):
        exchange.bundle("run", "file", only=value)


def test_a_bundle_without_a_whole_machine_is_refused(ours: Machine, theirs: Machine) -> None:
    file = a_bundle(ours)
    with theirs:
        bundle = unpacked(Path(file))
        (artifact,) = bundle.folder.glob("kernel/*")
        (artifact / "release").unlink()
        with pytest.raises(ConfigError, match=r"no whole machine is in it: .*release"):
            bundles.artifacts_of(bundle)


def test_whatever_a_manifest_says_is_a_value_or_an_error_of_ours(
    ours: Machine, tmp_path: Path
) -> None:
    with gzip.open(a_bundle(ours, only="results")) as stream:
        header = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "ascii", "strict")
        manifest = stream.read(header.size).decode()
    file = tmp_path / "spoiled.zclab"

    def read(text: str) -> None:
        content = text.encode(errors="replace")
        header.size = len(content)
        file.write_bytes(gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + content, 1))
        bundle = Bundle(file=file, key="", folder=tmp_path, manifest=read_manifest(file))
        bundles.about_of(bundle)

    check_reader(read, manifest, inputs=300)
