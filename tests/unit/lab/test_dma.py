"""What the emulator's log says of the NICs' writes."""

from itertools import pairwise
from pathlib import Path

import pytest

from zclab.lab import dma, machine

DATA = Path(__file__).parents[2] / "data/emulator"


@pytest.mark.parametrize("nic", ["e1000e", "igb"])
def test_the_spans_of_a_log_are_what_the_nic_wrote(nic: str) -> None:
    """The emulated NICs write Ethernet's header, IP's and the rest one after the other.

    Lines of another kind are a CPU's state at a reset.
    """
    log = (DATA / f"{nic}-rx.log").read_text()

    spans = list(dma.parse(log))

    assert len(spans) == log.count("rx_desc_buff_write")
    frame = spans[:3]
    assert [last - first + 1 for first, last in frame] == [14, 20, 40]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(frame))


def test_a_transfer_that_fails_leaves_no_trace_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "monitor", lambda *_command: None)
    log = tmp_path / machine.DEBUG_LOG
    log.write_text("CPU Reset (CPU 0)\n")

    def transfer() -> None:
        with dma.traced(tmp_path), log.open("a") as lines:
            lines.write((DATA / "igb-rx.log").read_text())
            raise TimeoutError

    with pytest.raises(TimeoutError):
        transfer()

    assert log.read_text() == "CPU Reset (CPU 0)\n"
