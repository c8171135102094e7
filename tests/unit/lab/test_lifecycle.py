"""Which error a use of a lab ends with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest.mock import Mock

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import CommandError, KernelReportError, LabError, ZclabError
from zclab.lab import lifecycle
from zclab.progress import silent


def ended_with(
    problem: ZclabError, monkeypatch: pytest.MonkeyPatch
) -> pytest.ExceptionInfo[ZclabError]:
    """Use a lab whose host ends meanwhile, with a problem that comes of it."""

    @contextmanager
    def session(*_args: object, **_options: object) -> Iterator[NoReturn]:
        raise problem
        yield

    def gone(name: str) -> None:
        raise LabError(f"the emulated host of lab {name} ended by itself")

    monkeypatch.setattr(lifecycle, "up", lambda *_args, **_options: None)
    monkeypatch.setattr(lifecycle, "session", session)
    monkeypatch.setattr("zclab.lab.emulated.check_alive", gone)
    monkeypatch.setattr(lifecycle, "GuestBoot", Mock())
    lab = load_lab("emulated", name="ending")
    with (
        pytest.raises(ZclabError) as raised,
        lifecycle.opened(lab, Mock(), keep=True, mtu=1500, offloads="on", progress=silent),
    ):
        pass
    return raised


def test_a_lost_connection_is_a_host_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = ended_with(CommandError("host: lost"), monkeypatch)

    assert "ending ended by itself" in str(raised.value)


def test_a_panic_ends_the_host_and_stays_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = ended_with(KernelReportError("the kernel panicked"), monkeypatch)

    assert raised.type is KernelReportError


@pytest.mark.parametrize("was_up", [False, True])
def test_an_interrupt_while_libvirt_is_waited_for_ends_the_lab_that_was_not_up(
    monkeypatch: pytest.MonkeyPatch, *, was_up: bool
) -> None:
    ended: list[str] = []
    monkeypatch.setattr("zclab.lab.emulated.find", lambda _name: Mock() if was_up else None)
    monkeypatch.setattr("zclab.lab.emulated.up", Mock())
    monkeypatch.setattr("zclab.lab.emulated.down", lambda name: ended.append(name) or True)
    monkeypatch.setattr(lifecycle, "connect_libvirt", Mock(side_effect=KeyboardInterrupt))
    lab = load_lab("emulated", name="interrupted")

    with pytest.raises(KeyboardInterrupt):
        lifecycle.up(lab, Mock(), with_me=False, progress=silent)

    assert ended == ([] if was_up else ["interrupted"])
