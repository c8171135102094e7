"""What tc says of a NIC's interface: the usual is nothing, and what takes frames is told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from zclab.host import qdiscs
from zclab.host.qdiscs import UNREADABLE, Traffic

DATA = Path(__file__).parents[2] / "data" / "tc"
SHAPED, USUAL, INGRESS, EGRESS = (
    (DATA / f"{name}.json").read_text()
    for name in ("qdiscs-shaped", "qdiscs-usual", "filters-ingress", "filters-egress")
)


def found(text: str, ingress: str = "", egress: str = "") -> Traffic:
    sections = {"qdiscs:eno1": text, "ingress:eno1": ingress, "egress:eno1": egress}
    return qdiscs.found_in(sections, "eno1")


def a_qdisc(kind: str, handle: str = "8001:") -> str:
    return json.dumps([{"kind": kind, "handle": handle, "root": True, "options": {}}])


def test_a_real_hosts_qdiscs_and_filters_are_told_once_each() -> None:
    assert found(SHAPED, INGRESS, EGRESS) == Traffic(qdiscs=("htb", "tbf"), filters=("u32", "bpf"))


@pytest.mark.parametrize(
    "text",
    [
        USUAL,
        *(a_qdisc(kind) for kind in ("mq", "fq_codel", "fq", "pfifo_fast", "noqueue")),
        *(a_qdisc(kind, "0:") for kind in ("cake", "sfq")),  # by the sysctl of the host
        a_qdisc("clsact", "ffff:"),
        "[]\n",
        "",
    ],
)
def test_what_the_kernel_sets_up_itself_and_what_holds_no_filter_is_nothing(text: str) -> None:
    assert found(text, "[]\n", "[]\n") == Traffic()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"kind":"cbs","handle":"8001:","options":{hicredit 30 }}]', ("cbs",)),
        ('[{"kind":"mq","handle":"8001:"},qdisc etf 8003: parent 8001:1', (UNREADABLE,)),
        ('{"kind":"htb"}', ("htb",)),
        ('[{"kind":7}]', (UNREADABLE,)),
        ('[{"handle":"1:"}]', (UNREADABLE,)),
    ],
)
def test_what_is_no_json_of_tcs_is_no_nothing(text: str, told: tuple[str, ...]) -> None:
    """Older ones print the options of rare qdiscs as text."""
    assert found(text).qdiscs == told
    assert found(a_qdisc("clsact", "ffff:"), ingress=text).filters == told


SET_UP = """
ip link add eno1 type veth peer name eno9 || exit 77
tc qdisc add dev eno1 clsact &&
    tc filter add dev eno1 ingress protocol arp bpf bytecode '1,6 0 0 0' flowid 1:1 || exit 77
tc qdisc add dev eno9 root tbf rate 50mbit burst 32k latency 50ms || exit 77
begin() { echo "== $1"; }
"""


def test_this_machines_tc_tells_what_was_set_up() -> None:
    script = f"{SET_UP}{qdiscs.ASK}\nfor dev in eno1 eno9 none; do traffic $dev; done"
    argv = ("unshare", "--map-root-user", "--net", "sh", "-c", script)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no network namespace, or no tc: {done.stderr.strip()[-100:]}")

    _, *parts = done.stdout.split("== ")
    sections = {name: text for name, _, text in (part.partition("\n") for part in parts)}
    assert list(sections) == [
        "qdiscs:eno1",
        "ingress:eno1",
        "egress:eno1",
        "qdiscs:eno9",
        "qdiscs:none",
    ]
    assert qdiscs.found_in(sections, "eno1") == Traffic(filters=("bpf",))
    assert qdiscs.found_in(sections, "eno9") == Traffic(qdiscs=("tbf",))
    assert qdiscs.found_in(sections, "none") == Traffic()
