"""Host CPU time by thread, from two captured snapshots around a TCP_STREAM rx of 30 MB."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.errors import ParseError
from zclab.host.cpu import (
    SNAPSHOT_ARGV,
    CpuSnapshot,
    CpuUse,
    Roles,
    Thread,
    between,
    parse,
    snapshot,
    thread_roles,
)
from zclab.model import ThreadRole
from zclab.runner.fake import FakeRunner
from zclab.runs.results import METRICS

DATA = Path(__file__).parents[2] / "data" / "proc"
ROLES = Roles(qemu_pid=72, nic="eth0", peer_nic="eth1")


def captured(name: str) -> CpuSnapshot:
    return parse((DATA / f"{name}.txt").read_text())


def thread(
    tid: int, comm: str, *, run_ns: int, pid: int = 0, guest_ns: int = 0, start_ticks: int = 5
) -> Thread:
    return Thread(
        pid=pid or tid,
        tid=tid,
        comm=comm,
        start_ticks=start_ticks,
        run_ns=run_ns,
        guest_ns=guest_ns,
    )


def at(at_s: float, *threads: Thread) -> CpuSnapshot:
    return CpuSnapshot(at_s=at_s, threads=threads)


def test_a_snapshot_is_one_command() -> None:
    with FakeRunner() as host:
        host.expect(SNAPSHOT_ARGV, stdout=(DATA / "before.txt").read_text())

        assert len(snapshot(host).threads) == 60


def test_a_captured_vcpu_thread() -> None:
    vcpu = next(thread for thread in captured("after").threads if thread.comm == "CPU 0/KVM")

    assert vcpu == Thread(
        pid=72,
        tid=88,
        comm="CPU 0/KVM",
        start_ticks=1163,
        run_ns=23_504_086_347,
        guest_ns=6_860_000_000,
    )


def test_a_captured_window_by_role() -> None:
    use = between(captured("before"), captured("after"), ROLES)

    assert use.elapsed_s == pytest.approx(3.70)
    assert use.ns == {
        "vhost": 1_089_426_794,
        "nic": 1_040_978_479,
        "qemu": 0,
        "kvm": 1_781_895_826,
        "guest": 580_000_000,
        "peer": 582_742_521,
        "rest": 663_904_133,
    }


def test_the_host_s_share_is_vhost_nic_qemu_and_kvm() -> None:
    use = CpuUse(
        elapsed_s=1.0,
        ns={
            "vhost": 1,
            "nic": 20,
            "qemu": 300,
            "kvm": 4000,
            "guest": 50_000,
            "peer": 600_000,
            "rest": 7_000_000,
        },
    )

    assert use.host_ns == 4321


def test_no_time_is_lost_between_the_roles() -> None:
    before, after = captured("before"), captured("after")
    earlier = {thread.key: thread.run_ns for thread in before.threads}

    use = between(before, after, ROLES)

    run_ns = sum(thread.run_ns - earlier.get(thread.key, 0) for thread in after.threads)
    assert sum(use.ns.values()) == run_ns


@pytest.mark.parametrize(
    ("comm", "pid", "role"),
    [
        ("CPU 1/KVM", 72, "kvm"),
        ("worker", 72, "qemu"),
        ("vhost-72", 72, "vhost"),
        ("vhost-72", 2, "vhost"),
        ("napi/eth0-8193", 2, "nic"),
        ("irq/27-eth0-rx-0", 2, "nic"),
        ("irq/27-eth0", 2, "nic"),
        ("napi/eth01-8193", 2, "rest"),
        ("napi/eth1-8194", 2, "peer"),
        ("irq/28-eth1", 2, "peer"),
        ("netperf", 300, "peer"),
        ("netserver", 301, "peer"),
        ("ksoftirqd/0", 2, "rest"),
    ],
)
def test_a_thread_s_role(comm: str, pid: int, role: ThreadRole) -> None:
    threads = at(1.0, thread(9, comm, pid=pid, run_ns=1))

    assert thread_roles(threads, ROLES) == {9: role}


def test_a_comm_cut_off_after_15_characters_is_recognised() -> None:
    threads = at(1.0, thread(9, "napi/enp101s0f1", run_ns=1))

    assert thread_roles(threads, Roles(qemu_pid=1, nic="enp101s0f1np1")) == {9: "nic"}


def test_a_vcpu_thread_without_its_name_is_known_by_its_guest_time() -> None:
    threads = at(1.0, thread(9, "qemu-system-x86", pid=72, run_ns=1, guest_ns=1))

    assert thread_roles(threads, ROLES) == {9: "kvm"}


def test_without_a_nic_on_the_host_no_thread_is_the_nic_s() -> None:
    threads = at(1.0, thread(9, "napi/eth0-8193", run_ns=1))

    assert thread_roles(threads, Roles(qemu_pid=72, nic=None)) == {9: "rest"}


def test_a_vcpu_s_time_is_split_into_guest_and_kvm() -> None:
    use = between(
        at(1.0, thread(9, "CPU 0/KVM", pid=72, run_ns=100, guest_ns=10)),
        at(2.0, thread(9, "CPU 0/KVM", pid=72, run_ns=200, guest_ns=70)),
        ROLES,
    )

    assert (use.ns["guest"], use.ns["kvm"]) == (60, 40)


def test_ticks_that_count_more_guest_time_than_the_thread_ran_cost_nothing() -> None:
    use = between(
        at(1.0, thread(9, "CPU 0/KVM", pid=72, run_ns=100)),
        at(2.0, thread(9, "CPU 0/KVM", pid=72, run_ns=150, guest_ns=10_000_000)),
        ROLES,
    )

    assert (use.ns["guest"], use.ns["kvm"]) == (50, 0)


def test_a_thread_that_appeared_counts_whole_and_one_that_went_not_at_all() -> None:
    use = between(
        at(1.0, thread(8, "vhost-72", run_ns=500)),
        at(2.0, thread(9, "vhost-73", run_ns=70)),
        ROLES,
    )

    assert use.ns["vhost"] == 70


def test_a_reused_thread_id_is_another_thread() -> None:
    use = between(
        at(1.0, thread(8, "vhost-72", run_ns=500, start_ticks=5)),
        at(2.0, thread(8, "vhost-72", run_ns=70, start_ticks=6)),
        ROLES,
    )

    assert use.ns["vhost"] == 70


def test_service_demand_of_a_stream_is_per_1024_bytes() -> None:
    use = between(at(1.0), at(2.0, thread(8, "vhost-72", run_ns=3_000_000)), ROLES)

    figures = use.figures(payload_bytes=2048)

    assert figures["service_demand_us_per_kb"] == 1500.0
    assert figures["cpu_vhost_s"] == 0.003
    assert "service_demand_us_per_transaction" not in figures
    assert set(figures) <= set(METRICS)


def test_service_demand_of_request_response_is_per_transaction() -> None:
    use = between(at(1.0), at(2.0, thread(8, "vhost-72", run_ns=3_000_000)), ROLES)

    figures = use.figures(transactions=100)

    assert figures["service_demand_us_per_transaction"] == 30.0
    assert "service_demand_us_per_kb" not in figures
    assert set(figures) <= set(METRICS)


def test_a_comm_may_hold_spaces_and_parentheses() -> None:
    stat = f"7 (a) S (b) R {' '.join(['0'] * 18)} 99 {' '.join(['0'] * 20)} 3 0"
    text = f"uptime:1.00 1.00\n7/task/7/stat:{stat}\n7/task/7/schedstat:5 0 1\n"

    assert parse(text).threads == (
        thread(7, "a) S (b", run_ns=5, guest_ns=30_000_000, start_ticks=99),
    )


def test_a_thread_that_ended_while_it_was_read_is_left_out() -> None:
    text = (DATA / "before.txt").read_text()
    whole = len(parse(text).threads)
    text = "".join(
        line for line in text.splitlines(keepends=True) if "72/task/88/schedstat" not in line
    )

    assert len(parse(text).threads) == whole - 1


def test_a_kernel_without_schedstat_is_told_what_it_lacks() -> None:
    text = (DATA / "before.txt").read_text().replace("/schedstat:", "/nothing:")

    with pytest.raises(ParseError, match="CONFIG_SCHED_INFO"):
        parse(text)


def test_text_that_is_no_snapshot_is_shown() -> None:
    with pytest.raises(ParseError, match="grep: not found"):
        parse("sh: grep: not found")


def test_a_broken_stat_line_is_shown() -> None:
    with pytest.raises(ParseError, match="7 \\(sh\\) S 1"):
        parse("uptime:1.00 1.00\n7/task/7/stat:7 (sh) S 1\n7/task/7/schedstat:5 0 1\n")
