"""Packages of Debian 13, whatever Debian the controller runs.

apt gets a state of its own in the cache: its own sources, lists and archives, and an empty
status file. Nothing of the system's is written, no package is installed, any user can do it.
The mirror, proxies and credentials are those of the system's own configuration.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from zclab.build.cache import cache_dir, disk_full, is_text, key_of, locked, remembered
from zclab.build.command import build_env, missing
from zclab.errors import BuildError
from zclab.progress import Progress, silent

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ARCHITECTURE = "amd64"
DEADLINE_S = 900
"""For one call of apt, which waits for ever where the disk is full in the middle of a list."""

_TARGETS = "$(ORIGIN)|$(COMPONENT)|$(RELEASE)|$(REPO_URI)"
_RELEASES = {"bookworm", "trixie", "forky", "sid"}
_RELEASES |= {"oldstable", "stable", "testing", "unstable"}


class Apt:
    """Debian 13's packages, with versions as the cached lists have them.

    The lists are fetched at first use and by ``update()``; in between nothing needs a network,
    and every build sees the same versions.
    """

    suite = SUITE
    keyring = KEYRING

    def __init__(self, cache: Path | None = None, *, progress: Progress = silent) -> None:
        self._cache = cache or cache_dir()
        self._root = self._cache / "apt"
        self._config = self._root / "apt.conf"
        self._progress = progress
        self._mirror = ""

    @property
    def mirror(self) -> str:
        """The Debian archive that the controller's own apt uses."""
        if not self._mirror:
            argv = ("apt-get", "indextargets", "--format", _TARGETS, "Created-By: Packages")
            self._mirror = mirror_of(_run(argv))
        return self._mirror

    def sources_list(self) -> str:
        """Return the one-line-style sources of this suite, fit for mmdebstrap too."""
        where = f"[signed-by={self.keyring}] {self.mirror} {self.suite} main"
        return f"deb {where}\ndeb-src {where}\n"

    def update(self) -> None:
        """Fetch the newest package lists from the mirror."""
        with locked("apt", progress=self._progress):
            self._update()

    def candidate(self, package: str, *, at_least: str = "") -> str:
        """Return the version of a binary package.

        Lists that only know of one before ``at_least`` are older than whoever asks: they are
        fetched anew, once.
        """
        version = self._candidate(package)
        if at_least and _older(version, at_least):
            self.update()
            version = self._candidate(package)
        return version

    def source_version(self, package: str) -> str:
        """Return the version of a source package."""
        shown = self._apt("apt-cache", "showsrc", "--only-source", package)
        return _version(shown, package)

    def download(self, package: str) -> Path:
        """Download a binary package, unless it is here already; return the .deb's path."""
        version = self.candidate(package)
        folder = self._cache / "debs"
        folder.mkdir(parents=True, exist_ok=True)
        pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
        if not list(folder.glob(pattern)):
            self._progress(0, None, f"downloading {package} {version}")
            self._fetch(("apt-get", "download", f"{package}={version}"), folder)
        if there := sorted(folder.glob(pattern)):
            return there[0]
        raise BuildError(f"apt-get download {package}={version}: it left no {pattern} in {folder}")

    def source(self, package: str) -> tuple[Path, ...]:
        """Download a source package; return its files: the .dsc and the tarballs."""
        version = self.source_version(package)
        folder = self._cache / "debs" / f"{package}-{version.replace(':', '%3a')}"
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.dsc")):
            self._progress(0, None, f"downloading the source of {package} {version}")
            argv = ("apt-get", "source", "--download-only", "--only-source")
            self._fetch((*argv, f"{package}={version}"), folder)
        return tuple(sorted(folder.iterdir()))

    def resolve(self, packages: Sequence[str]) -> dict[str, str]:
        """Return all packages, with versions, that installing these on an empty system takes."""
        memo = self._root / "resolved" / key_of({"packages": list(packages), **self._release()})
        resolved: dict[str, str] | None = remembered(memo, is_text)
        if resolved is None:  # apt takes the better part of a second
            argv = ("apt-get", "--simulate", "--no-install-recommends", "install", "?essential")
            shown = self._apt(*argv, *packages)
            found = re.findall(r"^Inst (\S+) \((\S+)", shown, flags=re.MULTILINE)
            memo = self._root / "resolved" / key_of({"packages": list(packages), **self._release()})
            memo.parent.mkdir(exist_ok=True)
            resolved = dict(sorted(found))
            memo.write_text(json.dumps(resolved))
        return resolved

    def _candidate(self, package: str) -> str:
        shown = self._apt("apt-cache", "show", "--no-all-versions", package)
        return _version(shown, package)

    def _release(self) -> dict[str, Path]:
        """Return the signed file that decides what the lists are; empty before they are fetched."""
        return {path.name: path for path in (self._root / "lists").glob("*_InRelease")}

    def _fetch(self, argv: Sequence[str], folder: Path) -> None:
        """Run a download; lists that name files which the mirror no longer has say what to do."""
        with locked("apt", progress=self._progress):
            try:
                self._run(argv, folder)
            except BuildError as exc:
                hint = "If the mirror has a newer version by now, build with --update to take that"
                raise BuildError(f"{exc}\n{hint}") from exc

    def _apt(self, *argv: str) -> str:
        if not list((self._root / "lists").glob("*_Packages*")):
            self.update()
        return self._run(argv)

    def _update(self) -> None:
        self._write_config()
        self._progress(0, None, f"fetching the package lists of Debian {self.suite}")
        # Without --error-on=any apt is content with no lists at all.
        self._run(("apt-get", "update", "-q", "--error-on=any"))

    def _write_config(self) -> None:
        if not self.keyring.exists():
            raise BuildError(f"{self.keyring}: not found; install debian-archive-keyring")
        for folder in ("lists/partial", "archives/partial"):
            (self._root / folder).mkdir(parents=True, exist_ok=True)
        (self._root / "sources.list").write_text(self.sources_list())
        (self._root / "status").touch()
        self._config.write_text(config_of(self._root))

    def _run(self, argv: Sequence[str], cwd: Path | None = None) -> str:
        return _run((argv[0], "-c", str(self._config), *argv[1:]), cwd)


def config_of(root: Path) -> str:
    """Return the apt configuration that keeps all state under ``root``."""
    return f"""\
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State "{root}";
Dir::State::Lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}";
Dir::Cache::archives "{root}/archives";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
APT::Architecture "{ARCHITECTURE}";
APT::Architectures {{ "{ARCHITECTURE}"; }};
APT::Default-Release "";
// Nothing here is the system's, so nothing needs the sandbox user, who could not read it.
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "2";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


def mirror_of(targets: str) -> str:
    """Return the Debian archive among apt's package indices.

    ``targets`` has a line ``origin|component|release|URI`` for each, such as
    ``Debian|main|bookworm|http://mirror.example/debian/``. Only a release's own index is of the
    archive: security updates live elsewhere, and other vendors call a component main, too. The
    origin is unknown (a literal ``$(ORIGIN)``) before the system's first `apt-get update`.
    """
    for line in targets.splitlines():
        # A line that is none, such as a greeting, has too few words and is no archive's.
        origin, component, release, uri = (*line.split("|", 3), "", "", "")[:4]
        known = not origin or origin.startswith("$")
        if uri and component == "main" and release in _RELEASES and (known or origin == "Debian"):
            return uri
    raise BuildError(
        "apt: no Debian archive among this machine's package sources; add one to "
        "/etc/apt/sources.list.d, of any Debian release: its mirror has Debian 13, too"
    )


def _version(shown: str, package: str) -> str:
    found = re.search(r"^Version: (\S+)$", shown, re.MULTILINE)
    if not found:
        raise BuildError(f"apt: Debian {SUITE} has no package {package}")
    return found[1]


def _older(version: str, than: str) -> bool:
    """Compare as Debian does; see deb-version(7)."""
    argv = ("dpkg", "--compare-versions", version, "lt", than)
    try:
        return subprocess.run(argv, check=False).returncode == 0
    except FileNotFoundError as exc:
        raise missing(argv[0]) from exc


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=build_env(DEBIAN_FRONTEND="noninteractive"),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=DEADLINE_S,
        )
    except FileNotFoundError as exc:
        raise missing(argv[0]) from exc
    except subprocess.TimeoutExpired as exc:
        hint = "is the disk full, or the mirror out of reach?"
        raise BuildError(f"{argv[0]}: no end within {DEADLINE_S} s: {hint}") from exc
    if done.returncode:
        raise _explained(argv, done.stderr, cwd)
    return done.stdout


def _explained(argv: Sequence[str], stderr: str, cwd: Path | None) -> BuildError:
    """Return an error with apt's first complaint and what to do about it."""
    complaints = [line for line in stderr.splitlines() if line.startswith(("E:", "W:"))]
    first = (complaints or [stderr.strip() or "it said nothing"])[0]
    if "No space left" in stderr:
        return disk_full(cwd or cache_dir())
    if re.search(r"Could not (resolve|connect)|Failed to fetch|Temporary failure", stderr):
        return BuildError(
            f"{argv[0]}: the Debian mirror cannot be reached: {first}\n"
            "Check the network, and that `apt-get update` works on this machine"
        )
    return BuildError(f"{argv[0]}: {first}")
