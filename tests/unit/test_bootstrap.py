"""./bootstrap makes the environment once, asks for what is missing only, and leaves no half."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTS = ("pyproject.toml", "constraints.txt", "packages.txt")
TOOLS = ("awk", "cat", "dirname", "env", "grep", "mv", "rm", "sed", "sh", "sha256sum")
STUBS = {
    "dpkg-query": 'cat "$STATE/dpkg"',
    "id": 'cat "$STATE/id"',
    "sudo": 'echo "sudo" >>"$STATE/log"; exec "$@"',
    "apt-get": 'echo "apt-get $*" >>"$STATE/log"; [ ! -e "$STATE/no-network" ]',
    # Answers for its version, and makes an environment with a Python that is a stub too.
    "python3": r"""
case $1 in
-c) cat "$STATE/version" ;;
-m) echo "venv $3" >>"$STATE/log"
    mkdir -p "$4/bin"
    echo '#!/bin/sh' >"$4/bin/python"
    echo 'echo "pip $*" >>"$STATE/log"; [ ! -e "$STATE/no-network" ]' >>"$4/bin/python"
    chmod +x "$4/bin/python" ;;
esac""",
}  # fmt: skip


@dataclass
class Checkout:
    """A checkout on a machine where every tool that changes anything is a stub."""

    root: Path
    state: Path
    path: str

    def bootstrap(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run ./bootstrap and forget what the stubs did in earlier calls."""
        self.log.write_text("")
        return subprocess.run(
            [self.root / "bootstrap", *argv],
            env={"PATH": self.path, "STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def log(self) -> Path:
        """What the stubs were asked to do."""
        return self.state / "log"

    @property
    def done(self) -> list[str]:
        """The first words of what the stubs were asked to do."""
        return [" ".join(line.split()[:2]) for line in self.log.read_text().splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """Return a checkout on a Debian machine where only flex is missing and the user is not root."""
    root, state, tools = (tmp_path / name for name in ("checkout", "state", "bin"))
    for folder in (root, state, tools):
        folder.mkdir()
    shutil.copy(ROOT / "bootstrap", root)
    for name, text in zip(LISTS, ("[project]", "rich==1", "# Kernel.\nbc\nflex\n"), strict=True):
        (root / name).write_text(text)
    for name in (*TOOLS, "mkdir", "chmod"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for name, script in STUBS.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    (state / "dpkg").write_text("bc installed\nflex config-files\n")
    (state / "id").write_text("1000\n")
    (state / "version").write_text("3.11.7\n")
    return Checkout(root=root, state=state, path=str(tools))


def test_without_a_command_it_says_how_it_is_used(checkout: Checkout) -> None:
    done = checkout.bootstrap()

    assert done.returncode == 2
    assert done.stderr.startswith("usage: ./bootstrap COMMAND")
    assert checkout.done == []


def test_the_first_call_installs_what_is_missing_and_runs_the_command(checkout: Checkout) -> None:
    done = checkout.bootstrap("sh", "-c", 'echo "$VIRTUAL_ENV" "${PATH%%:*}" "$@"', "x", "a b")

    venv = checkout.root / ".venv"
    assert done.stdout == f"{venv} {venv}/bin a b\n"
    assert checkout.done == ["sudo", "apt-get -q", "sudo", "apt-get -q", "venv --clear", "pip -m"]
    install = checkout.log.read_text().splitlines()[3]
    assert install == "apt-get -q install --yes --no-install-recommends flex"
    assert "bootstrap: installing Debian packages with sudo: flex\n" in done.stderr


def test_the_second_call_only_runs_the_command(checkout: Checkout) -> None:
    checkout.bootstrap("true")

    done = checkout.bootstrap("sh", "-c", "exit 7")

    assert (done.returncode, done.stderr) == (7, "")
    assert checkout.done == []


def test_nothing_missing_means_no_apt(checkout: Checkout) -> None:
    (checkout.state / "dpkg").write_text("bc installed\nflex installed\n")

    checkout.bootstrap("sh", "-c", ":")

    assert checkout.done == ["venv --clear", "pip -m"]


def test_root_needs_no_sudo(checkout: Checkout) -> None:
    (checkout.state / "id").write_text("0\n")

    checkout.bootstrap("sh", "-c", ":")

    assert "sudo" not in checkout.done


@pytest.mark.parametrize("name", LISTS)
def test_a_changed_list_is_installed_into_the_same_environment(
    checkout: Checkout, name: str
) -> None:
    (checkout.state / "dpkg").write_text("bc installed\nflex installed\n")
    checkout.bootstrap("sh", "-c", ":")
    (checkout.root / name).write_text("bc\n")

    checkout.bootstrap("sh", "-c", ":")

    assert checkout.done == ["pip -m"]


def test_another_python_or_another_place_makes_the_environment_anew(checkout: Checkout) -> None:
    checkout.bootstrap("sh", "-c", ":")
    (checkout.state / "version").write_text("3.13.0\n")

    checkout.bootstrap("sh", "-c", ":")
    after_another_python = checkout.done
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.bootstrap("sh", "-c", ":")

    assert "venv --clear" in after_another_python
    assert "venv --clear" in checkout.done


def test_a_call_that_failed_leaves_no_stamp(checkout: Checkout) -> None:
    (checkout.state / "dpkg").write_text("bc installed\nflex installed\n")
    (checkout.state / "no-network").touch()

    failed = checkout.bootstrap("sh", "-c", "echo ran")
    (checkout.state / "no-network").unlink()
    again = checkout.bootstrap("sh", "-c", "echo ran")

    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.endswith("bootstrap: pip failed; its last lines above say why\n")
    assert again.stdout == "ran\n"
    assert checkout.done == ["venv --clear", "pip -m"]


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (
            "apt-get",
            "no apt-get here; install what these Debian packages hold, or use Debian: flex",
        ),
        ("sudo", "no sudo here; run as root: apt-get install flex"),
    ],
)
def test_what_it_cannot_install_it_names(checkout: Checkout, without: str, message: str) -> None:
    Path(checkout.path, without).unlink()

    done = checkout.bootstrap("sh", "-c", ":")

    assert (done.returncode, done.stderr) == (1, f"bootstrap: {message}\n")


@pytest.mark.parametrize("version", ["2.7.18", "3.9.2", "3.10.13"])
def test_an_old_python_is_refused(checkout: Checkout, version: str) -> None:
    (checkout.state / "version").write_text(f"{version}\n")

    done = checkout.bootstrap("sh", "-c", ":")

    python = Path(checkout.path, "python3")
    assert done.returncode == 1
    assert done.stderr == f"bootstrap: python3 is {version} ({python}); needs 3.11 or later\n"


def test_every_requirement_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")

    pinned = {_normal(name) for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    assert {_normal(re.split(r"[^\w.-]", line)[0]) for line in wanted} <= pinned


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
