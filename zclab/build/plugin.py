"""The accounting plugin of the emulator, from emulator-plugins/account.c.

It is an artifact of its own: an edit of the plugin compiles one file, not QEMU. Its key holds the
emulator's, since the two agree on an interface that both have in binary form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zclab.build.cache import get_or_build, prune
from zclab.build.command import build_env, output_of, run_logged
from zclab.build.emulator import EmulatorArtifact
from zclab.errors import ConfigError
from zclab.progress import Progress, silent

SOURCE = Path(__file__).parents[2] / "emulator-plugins" / "account.c"
CFLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
PLUGIN = "account.so"
LINKING = ("-shared", "-fPIC", "-fvisibility=hidden")

_KEPT_PLUGINS = 8


@dataclass(frozen=True, kw_only=True)
class PluginArtifact:
    """The plugin, for the one emulator that it was compiled for."""

    key: str
    path: Path
    cached: bool


def build_plugin(emulator: EmulatorArtifact, *, progress: Progress = silent) -> PluginArtifact:
    """Return the accounting plugin for an emulator, from the cache if it is there.

    Raises BuildError where the compiler or glib's development files are missing.
    """
    inputs = {
        "source": SOURCE,
        "emulator": emulator.key,
        "flags": (*CFLAGS, *LINKING),
        "compiler": output_of(("gcc", "--version")).partition("\n")[0],
    }

    def build(folder: Path) -> None:
        glib = output_of(("pkg-config", "--cflags", "glib-2.0")).split()
        include = f"-I{emulator.include}"
        argv = ("gcc", *CFLAGS, *LINKING, include, *glib, "-o", PLUGIN, str(SOURCE))
        run_logged(argv, cwd=folder, env=build_env(), log=folder / "build.log")

    artifact = get_or_build("plugin", inputs, build, progress=progress)
    if not artifact.cached:
        prune("plugin", keep=_KEPT_PLUGINS)
    return PluginArtifact(key=artifact.key, path=artifact.path / PLUGIN, cached=artifact.cached)


def plugin_option(
    plugin: Path,
    *,
    out: Path,
    system_map: Path,
    task_offsets: Mapping[str, int],
    profile: bool = False,
    trace: Path | None = None,
) -> str:
    """Return the argument of QEMU's ``-plugin``.

    ``out`` is where the marks go, ``trace`` where a line for each change of context does.
    ``system_map`` and ``task_offsets`` are those of the kernel that the host boots. Raises
    ConfigError for a path that such an option cannot hold.
    """
    for path in (plugin, out, system_map, trace):
        if "," in str(path):
            raise ConfigError(f"{path}: QEMU cannot load a plugin from or for a path with a comma")
    options = {
        "file": plugin,
        "out": out,
        "map": system_map,
        **task_offsets,
        "profile": "on" if profile else "off",
        **({"trace": trace} if trace else {}),
    }
    return ",".join(f"{name}={value}" for name, value in options.items())
