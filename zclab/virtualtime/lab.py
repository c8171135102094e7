"""A lab in virtual time: what it is made of, and the machine that it is."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from zclab.build.plugin import plugin_option
from zclab.errors import LabError
from zclab.lab.artifacts import Artifacts, EmulatedHost
from zclab.lab.machine import Hardware
from zclab.model import COPY_BYTES, CopyBytes, Emulator, Lab, ModeName, Switch
from zclab.runs.plan import Order, Planned
from zclab.virtualtime.qemu import VirtualMachine

ACCOUNTS = "accounts.jsonl"
NAME = "virtual"
"""What the lab is called inside: a name of the user's would change the host's memory."""


@dataclass(frozen=True, kw_only=True)
class VirtualOptions:
    """What can be chosen of a run in virtual time.

    ``jobs`` trials run side by side here, or, with ``executor``, as many as there are workers of
    the dask.distributed scheduler at that address. Of trials whose results are known, ``recheck``
    are measured again, drawn by lot; None is all of them.
    """

    jobs: int = 1
    recheck: int | None = 0
    executor: str = ""
    profile: bool = False
    copy_bytes: CopyBytes = 8


@dataclass(frozen=True, kw_only=True)
class VirtualLab:
    """A lab in virtual time: what it is made of, and what all its trials have in common."""

    lab: Lab
    artifacts: Artifacts
    host: EmulatedHost
    settings: Emulator
    mtu: int
    offloads: Switch
    copy_bytes: CopyBytes
    profile: bool
    stop: threading.Event = field(default_factory=threading.Event)
    """Set by whoever ends a run: its machines are each waited for by a thread of their own."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process without the event, which does not reach there."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "stop"}
        return _made_again, (values,)

    @classmethod
    def of(
        cls, lab: Lab, artifacts: Artifacts, options: VirtualOptions, *, mtu: int, offloads: Switch
    ) -> VirtualLab:
        """Return the lab in virtual time; raises LabError for one that is not emulated."""
        if lab.emulator is None or artifacts.host is None:
            raise LabError(f"{lab.name}: virtual time needs an emulated lab")
        return cls(
            lab=lab.model_copy(update={"name": NAME}),
            artifacts=artifacts,
            host=artifacts.host,
            settings=lab.emulator,
            mtu=mtu,
            offloads=offloads,
            copy_bytes=options.copy_bytes,
            profile=options.profile,
        )

    def order(
        self, mode: ModeName | None = None, trials: tuple[Planned, ...] = (), phase_us: int = 0
    ) -> str:
        """Return the order for the next part of the experiment."""
        return Order(
            lab=self.lab,
            kernel_name=self.artifacts.guest_kernel.content,
            image_name=self.artifacts.guest_image.content,
            mtu=self.mtu,
            offloads=self.offloads,
            mode=mode,
            trials=trials,
            phase_us=phase_us,
        ).model_dump_json()

    def machine(
        self,
        folder: Path,
        *,
        initrd: Path | None = None,
        state: Path | None = None,
        counting: bool = False,
        trace: Path | None = None,
    ) -> VirtualMachine:
        """Return the machine with its files in ``folder``, from an ``initrd`` or a ``state``.

        ``counting`` keeps accounts, and ``trace`` is the file for each change of context.
        """
        kernel = self.artifacts.kernel
        plugin = plugin_option(
            self.host.plugin.path,
            out=folder / ACCOUNTS,
            system_map=kernel.system_map,
            task_offsets=kernel.task_offsets,
            profile=self.profile,
            trace=trace,
        )
        return VirtualMachine(
            hardware=Hardware(
                name=folder.name,
                folder=folder,
                emulator=self.host.emulator.binary,
                firmware=self.host.emulator.firmware_dirs,
                kernel=self.artifacts.kernel.bzimage,
                settings=self.settings,
            ),
            cpu_model=self.cpu_model,
            initrd=initrd,
            state=state,
            plugins=(plugin,) if counting or trace else (),
        )

    @property
    def command_line(self) -> tuple[str, ...]:
        """The emulator's command line from power-on, the same wherever the machine's files are."""
        files = Path("/")
        machine = VirtualMachine(
            hardware=Hardware(
                name=NAME,
                folder=files,
                emulator=files / "emulator",
                firmware=(),
                kernel=files / "kernel",
                settings=self.settings,
            ),
            cpu_model=self.cpu_model,
            initrd=files / "initrd",
        )
        return machine.argv

    @property
    def cpu_model(self) -> str:
        """QEMU's CPU model, which decides what copies cost (see docs/cost-model.md)."""
        model = self.settings.cpu_model
        return f"{model},-erms,-fsrm" if self.copy_bytes == COPY_BYTES[0] else model


def _made_again(values: dict[str, Any]) -> VirtualLab:
    return VirtualLab(**values)
