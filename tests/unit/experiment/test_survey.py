"""The options of the doctor that name hosts, and what it says where a host cannot be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from zclab.documents.labs import load_lab
from zclab.errors import CommandError, ConfigError, LabError
from zclab.experiment import survey
from zclab.experiment.survey import Hosts
from zclab.host.finding import Finding
from zclab.model import Endpoint, Lab, Peer

RACK = Lab(
    name="rack",
    kind="ssh",
    host=Endpoint(address="h"),
    nic="0000:3b:00.0",
    peer=Peer(nic="0000:3b:00.1", endpoint=Endpoint(address="p"), netns=None),
)


def test_the_hosts_are_those_of_the_lab_or_of_the_options() -> None:
    assert Hosts.of(None, "", "") is None
    assert Hosts.of(load_lab("emulated"), "", "") is None
    assert Hosts.of(RACK, "", "") == Hosts(
        host=Endpoint(address="h"),
        peer=Endpoint(address="p"),
        nic="0000:3b:00.0",
        peer_nic="0000:3b:00.1",
    )
    assert Hosts.of(None, "dev@hyper", "peer.example") == Hosts(
        host=Endpoint(address="hyper", user="dev"), peer=Endpoint(address="peer.example")
    )


@pytest.mark.parametrize(
    ("lab", "host", "peer", "error"),
    [
        (RACK, "h", "", "--host and --peer: not allowed with --lab"),
        (None, "", "p", "--peer: needs --host"),
        (None, "-oProxyCommand=x", "", "--host: found '-oProxyCommand=x', allowed: a host as in"),
        (None, "h", "a b", "--peer: found 'a b', allowed: a host as in"),
        (None, "x y@h", "", "--host: found 'x y@h'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    lab: Lab | None, host: str, peer: str, error: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Hosts.of(lab, host, peer)

    assert error in str(caught.value)


def test_a_host_that_does_not_answer_is_a_finding_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def gone(_endpoint: Endpoint, where: str) -> Iterator[None]:
        raise CommandError(f"{where}: no SSH connection to root@h:22")
        yield

    monkeypatch.setattr(survey.ssh, "reached", gone)
    here = Finding(status="ok", name="disk", detail="plenty")

    with pytest.raises(LabError, match="a host cannot be asked"):
        survey.report((here,), Hosts(host=Endpoint(address="h")), name="")

    told = capsys.readouterr().out
    assert "plenty" in told
    assert "FAIL  hosts  host: no SSH connection to root@h:22" in told
