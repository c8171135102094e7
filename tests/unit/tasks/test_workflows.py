"""The workflow files are valid, and what they call exists with these options."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from invoke.collection import Collection
from invoke.exceptions import ParseError
from invoke.parser import Parser

from zclab.documents.suites import SUITES
from zclab.experiment import nightly

ROOT = Path(__file__).parents[3]
GITHUB = ROOT / ".github/workflows/nightly.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
UNITS = ROOT / "contrib/systemd"
SERVICE, TIMER = UNITS / "zclab-nightly@.service", UNITS / "zclab-nightly@.timer"
FILES = (GITHUB, GITLAB, SERVICE)


@pytest.fixture
def parser(tasks: ModuleType) -> Parser:
    return Parser(contexts=Collection.from_module(tasks).to_contexts())


def invocations(path: Path) -> list[list[str]]:
    """Return what follows `invoke` in each line of a file, without shell variables."""
    found = re.findall(r"(?<!`\./)bootstrap invoke ([^`\n]*)$", path.read_text(), re.MULTILINE)
    return [[word for word in shlex.split(line) if not word.startswith("$")] for line in found]


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(GITHUB.read_text())
    found: list[dict[str, Any]] = workflow["jobs"]["nightly"]["steps"]
    return found


def left_behind() -> Iterator[str]:
    """Yield the files that CI collects, by their names in the folder of nights."""
    yield from (nightly.SUMMARY, nightly.PAGE, nightly.JUNIT, nightly.BASELINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_invocation_is_a_task_with_these_options(path: Path, parser: Parser) -> None:
    called = invocations(path)

    assert any(argv[0] == "nightly" for argv in called)
    for argv in called:
        assert parser.parse_argv(argv)[0].name == argv[0]


def test_an_option_that_does_not_exist_would_be_noticed(parser: Parser) -> None:
    with pytest.raises(ParseError):
        parser.parse_argv(["nightly", "--baselin=x"])


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.name)
def test_what_is_cached_is_where_the_cache_has_it(path: Path) -> None:
    kinds = set(re.findall(r"\.cache/zclab/artifacts/([\w-]+)", path.read_text()))

    assert kinds == {"kernel", "emulator", "plugin", "host-image", "guest-image"}
    assert "ZCLAB_CACHE" in path.read_text()


def test_github_runs_in_a_debian_container_and_keeps_the_baseline_of_a_failed_night() -> None:
    workflow = yaml.safe_load(GITHUB.read_text())
    job = workflow["jobs"]["nightly"]
    saved = [step for step in steps() if str(step.get("uses")).startswith("actions/cache/save")]

    assert job["container"]["image"].startswith("debian:")
    # YAML 1.1 takes the key `on` for a boolean, and GitHub does not.
    assert {"schedule", "workflow_dispatch"} <= workflow[True].keys()
    assert len(saved) == 2
    assert all("!cancelled()" in step["if"] for step in saved)


@pytest.mark.parametrize("pattern", ["*.html", "*.md", "*.json"])
def test_both_collect_what_a_night_leaves(pattern: str) -> None:
    upload = next(step for step in steps() if "upload-artifact" in str(step.get("uses")))
    job = yaml.safe_load(GITLAB.read_text())["nightly"]
    wanted = [name for name in left_behind() if Path(name).match(pattern)]

    assert wanted
    assert f"runs/nightly/{pattern}" in upload["with"]["path"].split()
    assert f"runs/nightly/{pattern}" in job["artifacts"]["paths"]


def test_gitlab_shows_the_junit_file_and_keys_its_cache_by_files_that_exist() -> None:
    job = yaml.safe_load(GITLAB.read_text())["nightly"]
    files = job["cache"][0]["key"]["files"]

    assert job["artifacts"]["reports"]["junit"] == f"{nightly.FOLDER}/{nightly.JUNIT}"
    assert len(files) <= 2  # GitLab allows no more
    assert all((ROOT / name).is_file() for name in files)
    assert all(cache["when"] == "always" for cache in job["cache"])


def test_the_service_runs_a_suite_that_exists() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SERVICE)

    argv = shlex.split(unit["Service"]["ExecStart"])

    suite = next(word for word in argv if word.startswith("--suite=")).partition("=")[2]
    assert (SUITES / f"{suite}.yaml").is_file()
    assert unit["Service"]["Type"] == "oneshot"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Of the copy, the program is one that exists; systemd looks whether it does."""
    for unit in (SERVICE, TIMER):
        text = unit.read_text().replace("%h/zclab/bootstrap", "/bin/true")
        (tmp_path / unit.name.replace("@", "@rack4")).write_text(text)

    done = subprocess.run(
        ("systemd-analyze", "verify", "--man=no", *sorted(map(str, tmp_path.iterdir()))),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
