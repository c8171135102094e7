"""The accounting plugin: it changes nothing, leaves nothing out, and is right where one can know.

A host whose only process is tests/data/account/init.c boots in virtual time, without the plugin
and with it. What its console prints are time stamps, so that equal output is equal time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from zclab.build.emulator import EmulatorArtifact, build_emulator
from zclab.build.kernel import KernelArtifact, build_kernel
from zclab.build.plugin import build_plugin, plugin_option
from zclab.host.cpu import Roles
from zclab.virtualtime.account import USER, Context, Mark, between, parse, window
from zclab.virtualtime.profile import Symbols, profile

pytestmark = pytest.mark.lab

SOURCE = Path(__file__).parents[1] / "data/account/init.c"
LOOPS, PAGES, OUTS, SLEEP_NS = 1_000_000, 300, 50, 20_000_000
INIT = 1
ROLES = Roles(qemu_pid=INIT, nic=None)
VIRTUAL_TIME = (
    *("-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-seed", "1"),
    *("-rtc", "base=2026-01-01T00:00:00,clock=vm"),
)
MACHINE = (
    *("-machine", "q35", "-cpu", "max,-erms,-fsrm", "-smp", "1", "-m", "512", "-nodefaults"),
    *("-display", "none", "-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 quiet"),
)
HANG_S = 300


@dataclass(frozen=True, kw_only=True)
class Host:
    """What boots, and what the plugin wants to know about it."""

    emulator: EmulatorArtifact
    kernel: KernelArtifact
    initramfs: Path

    def run(self, *more: str) -> str:
        """Boot it and return what its console printed."""
        firmware = [word for folder in self.emulator.firmware_dirs for word in ("-L", str(folder))]
        boots = ("-kernel", str(self.kernel.bzimage), "-initrd", str(self.initramfs))
        argv = (str(self.emulator.binary), *firmware, *VIRTUAL_TIME, *MACHINE, *boots, *more)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=HANG_S, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def accounted(self, out: Path, *, profile: bool) -> tuple[str, tuple[Mark, ...]]:
        """Boot it with the plugin; return what it printed and the marks."""
        option = plugin_option(
            build_plugin(self.emulator).path,
            out=out,
            system_map=self.kernel.system_map,
            task_offsets=self.kernel.task_offsets,
            profile=profile,
        )
        return self.run("-plugin", option), parse(out.read_text())


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """Compile the host's user space, and build what it runs on."""
    folder = tmp_path_factory.mktemp("account")
    root = folder / "root"
    for name in ("dev", "sys"):
        (root / name).mkdir(parents=True)
    compiler = ("gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror")
    subprocess.run((*compiler, "-o", str(root / "init"), str(SOURCE)), check=True)
    initramfs = folder / "initramfs"
    with initramfs.open("wb") as file:
        names = b"./init\n./dev\n./sys\n"
        cpio = ("cpio", "--quiet", "--format=newc", "--create")
        subprocess.run(cpio, cwd=root, input=names, stdout=file, check=True)
    return Host(emulator=build_emulator(), kernel=build_kernel(), initramfs=initramfs)


@pytest.fixture(scope="module")
def plain(host: Host) -> str:
    """Boot without the plugin; this is what is printed then."""
    return host.run()


@pytest.fixture(scope="module")
def light(host: Host, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[Mark, ...]]:
    """Boot with the plugin."""
    return host.accounted(tmp_path_factory.mktemp("light") / "marks", profile=False)


@pytest.fixture(scope="module")
def profiled(host: Host, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[Mark, ...]]:
    """Boot with the plugin and a profile."""
    return host.accounted(tmp_path_factory.mktemp("profile") / "marks", profile=True)


def time_stamps(console: str) -> Mapping[str, int]:
    """Return the time stamp counter at each mark, from lines such as ``begin 717914506``."""
    words = [line.split() for line in console.splitlines()]
    return {word[0]: int(word[1]) for word in words if len(word) == 2 and word[1].isdigit()}


def one(mark: Mark, pid: int) -> Context:
    return next(context for context in mark.contexts if context.pid == pid)


def test_the_plugin_changes_nothing(
    plain: str, light: tuple[str, tuple[Mark, ...]], profiled: tuple[str, tuple[Mark, ...]]
) -> None:
    assert len(time_stamps(plain)) == 8
    assert light[0] == plain
    assert profiled[0] == plain


def test_accounts_and_idle_time_are_the_clock(light: tuple[str, tuple[Mark, ...]]) -> None:
    """The same few instructions lie between reading the clock and each mark."""
    clock = time_stamps(light[0])

    late = {mark.elapsed_ns - clock[mark.mark] for mark in light[1] if mark.mark in clock}

    assert len(clock) == 8
    assert len(late) == 1
    assert 0 < late.pop() < 1000


def test_a_loop_is_user_time(light: tuple[str, tuple[Mark, ...]]) -> None:
    computed = window(light[1], "begin", "computed")

    assert 2 * LOOPS <= one(computed, INIT).user < 2 * LOOPS + 2000
    assert computed.idle_ns == 0


def test_sleep_is_idle_time(light: tuple[str, tuple[Mark, ...]]) -> None:
    slept = window(light[1], "computed", "slept")

    assert slept.idle_ns + slept.insns >= SLEEP_NS
    assert slept.insns < slept.idle_ns / 100


def test_page_faults_are_the_kernels(light: tuple[str, tuple[Mark, ...]]) -> None:
    """A page costs hundreds of instructions in the kernel, and a handful in user mode."""
    faulted = one(window(light[1], "slept", "faulted"), INIT)

    assert faulted.user < 20 * PAGES
    assert faulted.kernel > 200 * PAGES


def test_a_childs_work_is_its_own(light: tuple[str, tuple[Mark, ...]]) -> None:
    forked = window(light[1], "faulted", "forked")
    child = next(c for c in forked.contexts if c.comm == "init" and c.pid != INIT and c.user)

    assert 2 * LOOPS <= child.user < 2 * LOOPS + 2000
    assert one(forked, INIT).user < 5000


def test_a_guests_work_and_its_exits_are_counted(light: tuple[str, tuple[Mark, ...]]) -> None:
    """Each ``out`` leaves the guest once, and is not completed there; nor is the last ``hlt``."""
    guest = window(light[1], "guest", "guest-end")
    exits = guest.exits()

    assert guest.components(ROLES)["guest"] == 1 + OUTS
    assert exits["io"].count == OUTS
    assert exits["hlt"].count == 1
    assert exits["io"].user > 0
    assert "outs 50, exit reason 5" in light[0]


def test_a_profile_sums_to_the_accounts(
    host: Host, light: tuple[str, tuple[Mark, ...]], profiled: tuple[str, tuple[Mark, ...]]
) -> None:
    symbols = Symbols(host.kernel.system_map.read_text())

    for before, after, same in zip(profiled[1], profiled[1][1:], light[1][1:], strict=False):
        counts = profile(between(before, after), ROLES, symbols)
        assert sum(counts.values()) == after.insns - before.insns
        assert after.insns == same.insns
        for context, without in zip(after.contexts, same.contexts, strict=True):
            assert (
                context.model_copy(update={"host_symbols": None, "guest_symbols": None}) == without
            )


def test_a_profile_finds_what_was_done(host: Host, profiled: tuple[str, tuple[Mark, ...]]) -> None:
    faulted = window(profiled[1], "slept", "faulted")
    counts = profile(faulted, ROLES, Symbols(host.kernel.system_map.read_text()))

    assert counts["qemu", "asm_exc_page_fault"] >= PAGES
    assert counts["qemu", "__handle_mm_fault"] >= 100 * PAGES
    assert ("guest", USER) not in counts


def test_any_label_is_kept(light: tuple[str, tuple[Mark, ...]]) -> None:
    assert light[1][-1].mark == 'say "\\" and end'


def refusal(emulator: EmulatorArtifact, option: str, *more: str) -> str:
    """Start a machine that the plugin cannot account for; return what is said about it."""
    machine = ("-machine", "q35", "-nodefaults", "-S", "-display", "none")
    argv = (str(emulator.binary), *machine, "-plugin", option, *more)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def test_what_it_cannot_do_it_says(host: Host, tmp_path: Path) -> None:
    plugin, kernel = build_plugin(host.emulator).path, host.kernel
    out, empty = tmp_path / "marks", tmp_path / "empty"
    empty.touch()

    def option(system_map: Path) -> str:
        offsets = kernel.task_offsets
        return plugin_option(plugin, out=out, system_map=system_map, task_offsets=offsets)

    good = option(kernel.system_map)
    assert "account: needs virtual time" in refusal(host.emulator, good)
    two = ("-icount", "shift=0", "-smp", "2")
    assert "account: works for machines with one CPU" in refusal(host.emulator, good, *two)
    assert f"{empty}: lacks symbols of Linux 6.12" in refusal(host.emulator, option(empty))
    assert "account: typo=1: not an option" in refusal(host.emulator, f"{good},typo=1")
    assert "account: needs out=" in refusal(host.emulator, f"file={plugin}")
