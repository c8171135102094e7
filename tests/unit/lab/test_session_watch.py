"""A lab in use, as far as that can be seen without one."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import CommandError, KernelReportError
from zclab.lab import session
from zclab.lab.access import Access
from zclab.lab.session import GuestBoot
from zclab.runner.fake import FakeRunner


def test_the_kernel_of_a_host_that_is_far_away_is_watched_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = "[   42.0] DMAR: [DMA Write NO_PASID] Request device [3b:00.0] fault addr 0x7ffdc000 []"

    def breaking(*_args: Sequence[object]) -> NoReturn:
        raise CommandError("host: lost")

    monkeypatch.setattr(session, "_prepare", breaking)
    lab = load_lab("ssh-example")
    with FakeRunner() as host:
        host.expect(("dmesg", "--follow-new"), stdout=f"{fault}\n")
        access = SimpleNamespace(host_runner=lambda: host, endpoint=lab.host)
        with (
            pytest.raises(KernelReportError, match="kernel of the host reported: DMAR"),
            session.session(
                lab,
                cast("Access", access),
                cast("GuestBoot", None),
                console=None,
                mtu=1500,
                offloads="on",
            ),
        ):
            pass
