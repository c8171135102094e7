"""What a machine in virtual time is known by: the contents of what enters it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.virtualtime.test_cluster import a_lab
from zclab.virtualtime.saved_states import identity

VIRTUAL = a_lab()


def test_where_its_files_are_and_what_they_were_made_from_is_not_the_machine() -> None:
    kernel = replace(VIRTUAL.artifacts.kernel, key="other", bzimage=Path("/elsewhere/bzImage"))
    elsewhere = replace(VIRTUAL, artifacts=replace(VIRTUAL.artifacts, kernel=kernel))

    assert identity(elsewhere) == identity(VIRTUAL)


def test_another_content_cpu_or_command_line_is_another_machine() -> None:
    kernel = replace(VIRTUAL.artifacts.kernel, content="other")
    emulator = replace(VIRTUAL.host.emulator, content="other")
    host = replace(VIRTUAL.host, emulator=emulator)
    others = (
        replace(VIRTUAL, artifacts=replace(VIRTUAL.artifacts, kernel=kernel)),
        replace(VIRTUAL, artifacts=replace(VIRTUAL.artifacts, host=host), host=host),
        replace(VIRTUAL, copy_bytes=1),
        replace(VIRTUAL, settings=VIRTUAL.settings.model_copy(update={"memory_mib": 4096})),
    )

    assert len({identity(one) for one in (VIRTUAL, *others)}) == 1 + len(others)
