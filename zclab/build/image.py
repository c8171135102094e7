"""Host and guest images, from the recipes in guest-images/.

The host image is Debian 13 with libvirt and QEMU as Debian ships them, in a read-only squashfs;
the guest image is an initramfs of a few programs with their libraries. Both are made without
root (mmdebstrap chooses user namespaces where it is not root), without loop devices, and equal
from equal inputs: packages of the same versions, the same recipe.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zclab.build.apt import Apt
from zclab.build.cache import Artifact, cache_dir, get_or_build, is_built, key_of
from zclab.build.command import build_env, ended_with_its_caller
from zclab.errors import BuildError
from zclab.progress import Progress, silent

RECIPES = Path(__file__).resolve().parents[2] / "guest-images"
RECIPE_VERSION = 5
"""Counts changes of this file that change what comes out of it."""

NOT_SHIPPED = (
    "etc/ssh/ssh_host_*",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/cache/ldconfig/aux-cache",
    "var/log/*.log",
    "var/log/apt/*",
    "var/cache/apt/archives/partial",
    "var/lib/apt/lists/partial",
)
"""What the host image leaves out, as patterns of sqfstar: what installing packages draws at random,
or takes from the clock, the disk or the folders that it is done in. Keys are the first of it; a
host gets its own with the seed.
"""

BUSYBOX = "busybox"
"""Beside the host image, for those who boot it from an initramfs."""

UMASK = 0o022
"""Maintainer scripts make files; whose umask it is must not show in them."""

LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
GUEST_DIRECTORIES = (
    "bin", "dev", "etc/dropbear", "proc", "root/.ssh", "run", "sbin", "sys", "tmp", "usr/bin",
    "usr/sbin", "var/run",
)  # fmt: skip


INIT = "init"
"""Beside it, too: what that busybox runs first there."""

HOST_IMAGE, GUEST_IMAGE = "host.squashfs", "guest.cpio.gz"

CONTENT = "content"
"""The file with the hash over all that was built, which takes a second to make again."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image: where it is, its key, and the versions of the packages in it.

    ``key`` is a hash over what it was made from, ``content`` one over the image and the files
    beside it.
    """

    path: Path
    key: str
    content: str
    packages: dict[str, str]
    cached: bool


def build_host_image(*, update: bool = False, progress: Progress = silent) -> Image:
    """Return the host image, a squashfs; raises BuildError with what mmdebstrap said last."""
    recipe = RECIPES / "host"

    def build(folder: Path, apt: Apt) -> None:
        progress(0, None, f"installing the packages of the {recipe.name} image")
        tar = _mmdebstrap(apt, "apt", recipe, folder)
        progress(0, None, "packing the host image")
        _squash(tar, folder / HOST_IMAGE, folder)
        program = ("--strip-components=3", "./usr/bin/busybox")
        _run(("tar", "-xf", str(tar), "-C", str(folder), *program), folder)
        shutil.copyfile(recipe / "initramfs" / INIT, folder / INIT)
        tar.unlink()

    return _get_or_build(recipe, HOST_IMAGE, build, update=update, progress=progress)


def build_guest_image(*, update: bool = False, progress: Progress = silent) -> Image:
    """Return the guest image, a compressed initramfs; raises BuildError like build_host_image."""
    recipe = RECIPES / "guest"

    def build(folder: Path, apt: Apt) -> None:
        progress(0, None, f"installing the packages of the {recipe.name} image")
        tar = _mmdebstrap(apt, "extract", recipe, folder)
        progress(0, None, "packing the guest image")
        unpacked, root = folder / "unpacked", folder / "root"
        unpacked.mkdir()
        # Only root can make device nodes, and nobody needs these.
        _run(("tar", "-xf", str(tar), "-C", str(unpacked), "--exclude=./dev/*"), folder)
        _collect(unpacked, root, _names(recipe / "programs"), folder)
        shutil.copytree(recipe / "overlay", root, symlinks=True, dirs_exist_ok=True)
        _initramfs(root, folder / GUEST_IMAGE, folder)
        for scratch in (unpacked, root):
            shutil.rmtree(scratch)
        tar.unlink()

    return _get_or_build(recipe, GUEST_IMAGE, build, update=update, progress=progress)


def _get_or_build(
    recipe: Path,
    name: str,
    build: Callable[[Path, Apt], None],
    *,
    update: bool,
    progress: Progress,
) -> Image:
    """Return the image ``name`` of a recipe; what has to be built takes the newest packages.

    mmdebstrap asks the mirror itself, so package lists of last month would put versions into
    the key that are not those in the image.
    """
    kind = f"{recipe.name}-image"
    apt = Apt(progress=progress)
    inputs = _inputs(recipe, apt)
    if update or not is_built(kind, inputs):
        apt.update()
        inputs = _inputs(recipe, apt)

    def fill(folder: Path) -> None:
        build(folder, apt)
        (folder / CONTENT).write_text(key_of({path.name: path for path in folder.iterdir()}))

    return described(get_or_build(kind, inputs, fill, progress=progress), name)


def described(artifact: Artifact, name: str) -> Image:
    """Return what is known about an image that has been built, the file ``name``; see Image."""
    return Image(
        path=artifact.path / name,
        key=artifact.key,
        content=(artifact.path / CONTENT).read_text(),
        packages=artifact.inputs["packages"],
        cached=artifact.cached,
    )


def _names(path: Path) -> list[str]:
    """Return the lines of a list, without comments."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def _inputs(recipe: Path, apt: Apt) -> dict[str, object]:
    files: dict[str, object] = {}
    for path in sorted(recipe.rglob("*")):
        name = str(path.relative_to(recipe))
        if path.is_symlink():
            files[name] = f"-> {path.readlink()}"
        elif path.is_file():
            files[name] = path
            files[f"{name} executable"] = os.access(path, os.X_OK)
    return {
        "recipe version": RECIPE_VERSION,
        "files": files,
        "packages": apt.resolve(_names(recipe / "packages")),
    }


def _mmdebstrap(apt: Apt, variant: str, recipe: Path, folder: Path) -> Path:
    tar, overlay = folder / "root.tar", folder / "overlay.tar"
    _tar_as_root(recipe / "overlay", overlay)
    argv = [
        "mmdebstrap",
        f"--variant={variant}",
        "--architectures=amd64",
        "--format=tar",
        "--aptopt=APT::Install-Recommends false",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        f"--include={','.join(_names(recipe / 'packages'))}",
    ]
    if variant == "apt":
        argv.append(f"--customize-hook=tar-in {overlay} /")
    argv += [apt.suite, str(tar), f"deb [signed-by={apt.keyring}] {apt.mirror} {apt.suite} main"]
    _run(_fenced(argv), folder, scratch=_open_to_others(folder))
    overlay.unlink()
    return tar


def _fenced(argv: Sequence[str]) -> tuple[str, ...]:
    """Return a command of which nothing is left if it is killed: no process, and no mount.

    mmdebstrap, where root runs it, mounts /proc, /sys and /dev/pts below the folder that it
    unpacks in. Killed, it left them there, and removing that folder would reach into them. Where a
    user runs it, it makes such namespaces by itself.
    """
    if os.geteuid() != 0:
        return tuple(argv)
    return ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", *argv)


def _squash(tar: Path, output: Path, folder: Path) -> None:
    """Pack a tar as a squashfs, without what is not shipped."""
    # No compression: the emulated host would have to undo it with emulated instructions.
    # No search for duplicates: with it, sqfstar 4.5.1 now and then packs the end of one file for
    # that of another, where two files begin alike (dpkg's status and status-old do).
    squash = "sqfstar -quiet -no-progress -noI -noD -noF -noX -no-duplicates"
    squash += " -root-mode 755 -root-uid 0 -root-gid 0"
    with tar.open("rb") as stdin:
        _run((*squash.split(), str(output), *NOT_SHIPPED), folder, stdin=stdin.fileno())


def _tar_as_root(folder: Path, output: Path) -> None:
    """Pack a folder as root would own it, whoever checked it out under whatever umask."""

    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = "root"
        member.mode = _plain_mode(folder / member.name)
        return member

    with tarfile.open(output, "w") as archive:
        for path in sorted(folder.iterdir()):
            archive.add(path, path.name, filter=as_root)


def _plain_mode(path: Path) -> int:
    """Return the permissions of a file as git knows them: executable or not."""
    return 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644


def _open_to_others(folder: Path) -> Path:
    """Return where mmdebstrap can unpack.

    Where it is not run by root it works as users of /etc/subuid, and these cannot get into a home
    directory that is closed to others, as Debian makes them.
    """
    return folder if os.geteuid() == 0 else Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108


def _collect(unpacked: Path, root: Path, programs: Sequence[str], folder: Path) -> None:
    """Copy programs, and every library their dynamic linker asks for, into ``root``."""
    for directory in GUEST_DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    linker = "lib64/ld-linux-x86-64.so.2"
    libraries = unpacked / "usr/lib/x86_64-linux-gnu"
    wanted = set()
    for program in programs:
        shutil.copy2(unpacked / program, root / program)
        listing = subprocess.run(
            (unpacked / "usr" / linker, "--library-path", libraries, "--list", unpacked / program),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        ).stdout  # a static program is no dynamic executable, and needs nothing
        if "not found" in listing:
            raise BuildError(f"guest image: {program}: a library is missing:\n{listing}")
        wanted |= {word for word in listing.split() if word.startswith(str(libraries))}
    (root / "usr" / linker).parent.mkdir(parents=True)
    shutil.copy2(unpacked / "usr" / linker, root / "usr" / linker)
    (root / "lib64").symlink_to("usr/lib64")
    (root / "lib").symlink_to("usr/lib")
    target = root / "usr/lib/x86_64-linux-gnu"
    target.mkdir(parents=True)
    for library in sorted(wanted):
        shutil.copy2(library, target / Path(library).name)
    _busybox_links(root, folder)


def _busybox_links(root: Path, folder: Path) -> None:
    """Give every applet of busybox its name in /bin, and the kernel its /init."""
    applets = _run((str(root / "usr/bin/busybox"), "--list"), folder).split()
    for applet in applets:
        if not any((root / part / applet).exists() for part in ("usr/bin", "usr/sbin")):
            (root / "bin" / applet).symlink_to("/usr/bin/busybox")
    (root / "init").symlink_to("/usr/bin/busybox")


def _initramfs(root: Path, output: Path, folder: Path) -> None:
    """Pack ``root``: sorted, owned by root, with modes, times and inodes that never differ."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    for name in names:
        path = root / name
        if not path.is_symlink():
            path.chmod(_plain_mode(path))
        os.utime(path, (0, 0), follow_symlinks=False)
    pack = (
        "cpio --quiet --create --format=newc --reproducible --owner=0:0 --null"
        ' | gzip --no-name -6 > "$0"'
    )
    _run(("sh", "-c", pack, str(output)), folder, text="\0".join(names) + "\0", cwd=root)


def _run(
    argv: Sequence[str],
    folder: Path,
    *,
    stdin: int | None = None,
    text: str | None = None,
    cwd: Path | None = None,
    scratch: Path | None = None,
) -> str:
    """Run a step of the recipe with its scratch files in ``folder``; return its output."""
    env = build_env(
        SOURCE_DATE_EPOCH="0",  # mmdebstrap clamps the times of all files to it
        LC_ALL="C.UTF-8",
        TMPDIR=str(scratch or folder),
        DEBIAN_FRONTEND="noninteractive",
    )
    try:
        process = subprocess.Popen(
            argv, stdin=stdin if text is None else subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=env, cwd=cwd, umask=UMASK, errors="replace",
            start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise BuildError(f"{argv[0]} is not installed; `./bootstrap` installs it") from exc
    with process, ended_with_its_caller(process):
        stdout, stderr = process.communicate(text)
    if process.returncode:
        logs = cache_dir() / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{Path(argv[0]).name}.log"
        log.write_text(stdout + stderr)
        last = "\n  ".join((stderr or stdout).strip().splitlines()[-8:])
        raise BuildError(f"{argv[0]} failed (whole log: {log}):\n  {last}")
    return stdout
