"""Runs whose truth is known, for tests and for trying reports without a lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zclab.model import Clock, ModeName
from zclab.runs.results import (
    Dimensions,
    Provenance,
    Results,
    RunInfo,
    Sample,
    Status,
    Trial,
    samples,
)

PROVENANCE = Provenance(
    cpu_model="QEMU TCG CPU version 2.5+",
    versions={"host_kernel": "6.12.107-zclab", "emulator": "10.0.13"},
    artifacts={"kernel": "0123456789abcdef", "emulator": "fedcba9876543210"},
    settings={"guest_memory_mib": 512, "threaded_napi": True},
)
STREAM: dict[str, Any] = {
    "workload": "TCP_STREAM",
    "direction": "rx",
    "message_bytes": 16384,
    "mtu": 1500,
    "offloads": "on",
    "nic": "e1000e",
    "streams": 1,
    "duration_s": 5.0,
}
"""The dimensions of a cell, all but mode, boot and repetition."""
TRANSACTIONS = STREAM | {"workload": "TCP_RR", "direction": None, "message_bytes": 1}


class SimulatedRun:
    """Results under construction."""

    def __init__(
        self,
        run_id: str = "20261122-185320-3-modes-1a2b",
        *,
        clock: Clock = "wall",
        provenance: Provenance = PROVENANCE,
        seed: int = 1,
    ) -> None:
        self._run = RunInfo(
            id=run_id,
            started="2026-11-22T18:53:20+00:00",
            lab="emulated",
            clock=clock,
            command="invoke run-bench --mode=vhost --mode=zerocopy",
        )
        self._provenance = provenance
        self._trials: list[Trial] = []
        self._samples: list[Sample] = []
        self._random = np.random.default_rng(seed)

    def add(
        self,
        mode: ModeName,
        figures: Mapping[str, float],
        *,
        boot: int = 0,
        repetition: int = 0,
        status: Status = "ok",
        reason: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        """Add one trial with its figures, in the cell STREAM but for ``changes``."""
        where = Dimensions(**(STREAM | changes), mode=mode, boot=boot, repetition=repetition)
        self._trials.append(
            Trial(**dict(where), status=status, reason=reason, evidence=dict(evidence or {}))
        )
        self._samples += samples(where, figures)

    def boots(
        self,
        truth: Mapping[ModeName, Mapping[str, float]],
        *,
        boots: int = 8,
        noise: float = 0.02,
        **changes: Any,
    ) -> None:
        """Add boots of each mode whose figures scatter around the truth, in interleaved blocks.

        ``noise`` is relative, and of each figure on its own.
        """
        for block in range(boots):
            for number, (mode, figures) in enumerate(truth.items()):
                wobble = 1 + self._random.normal(0, noise, len(figures))
                self.add(
                    mode,
                    dict(zip(figures, np.array([*figures.values()]) * wobble, strict=True)),
                    boot=block if self._run.clock == "virtual" else block * len(truth) + number,
                    repetition=block,
                    **changes,
                )

    @property
    def results(self) -> Results:
        """Return what has been added."""
        return Results(
            run=self._run,
            provenance=self._provenance,
            trials=tuple(self._trials),
            samples=tuple(self._samples),
        )
