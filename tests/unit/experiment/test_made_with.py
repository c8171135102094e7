"""What is recorded of a lab, so that runs of different ones are not compared by mistake."""

from __future__ import annotations

from unittest.mock import Mock

from zclab.documents.labs import load_lab
from zclab.experiment.run import made_with, settings_of
from zclab.model import Guest, Lab
from zclab.runs.results import Provenance

EMULATED = load_lab("emulated").model_copy(update={"clock": "wall"})


def test_tunables_and_sizes_are_recorded() -> None:
    assert settings_of(EMULATED) == {
        "guest_vcpus": 1,
        "guest_queues": 1,
        "guest_memory_mib": 512,
        "threaded_napi": True,
        "vhost_queue_size": 256,
        "host_memory_mib": 2560,
        "host_cpus": 2,
        "accelerator": "tcg",
    }


def test_in_virtual_time_there_is_one_cpu_whatever_the_lab_says() -> None:
    virtual = EMULATED.model_copy(update={"clock": "virtual"})

    assert {"host_cpus", "accelerator"} & settings_of(virtual).keys() == set()


def test_a_real_host_tells_its_size_itself() -> None:
    metal: Lab = load_lab("ssh-example").model_copy(update={"guest": Guest(vcpus=4)})

    assert settings_of(metal)["guest_vcpus"] == 4
    assert "host_memory_mib" not in settings_of(metal)


def test_how_the_nics_moderate_interrupts_is_what_the_host_tells() -> None:
    """The file may leave it to their drivers."""
    seen = Provenance(settings={"nic_rx_usecs": 3, "peer_rx_usecs": "adaptive"})

    settings = made_with(seen, Mock(contents={}), EMULATED).settings

    assert settings == settings_of(EMULATED) | seen.settings
