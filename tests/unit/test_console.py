"""Kernel reports in console text: found, named, and nothing else taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.host.console import MAX_LINES, ConsoleWatch

DATA = Path(__file__).parents[1] / "data" / "console"

TITLES = {
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009": "panic",
    "BUG: KASAN: slab-use-after-free in tap_do_read+0x1a2/0x7c0": "kasan",
    "UBSAN: array-index-out-of-bounds in drivers/net/tap.c:123:4": "ubsan",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [vhost-419:431]": "soft lockup",
    "watchdog: Watchdog detected hard LOCKUP on cpu 1": "hard lockup",
    "BUG: sleeping function called from invalid context at mm/gup.c:2991": "sleep in atomic",
    "BUG: scheduling while atomic: vhost-419/431/0x00000002": "sleep in atomic",
    "BUG: kernel NULL pointer dereference, address: 0000000000000028": "oops",
    "BUG: unable to handle page fault for address: ffffc90000180000": "oops",
    "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]": "oops",
    "invalid opcode: 0000 [#1] PREEMPT SMP": "oops",
    "Unable to handle kernel paging request at virtual address ffff800080000000": "oops",
    "kernel BUG at net/core/skbuff.c:2867!": "bug",
    "BUG: Bad page state in process vhost-419  pfn:0b2e4": "bug",
    "BUG kmalloc-512 (Not tainted): Redzone overwritten": "bug",
    "list_del corruption. prev->next should be ffff88800b2e, but was dead": "list corruption",
    "list_add corruption. next->prev should be prev": "list corruption",
    "refcount_t: underflow; use-after-free.": "refcount",
    "WARNING: possible circular locking dependency detected": "lockdep",
    "WARNING: possible recursive locking detected": "lockdep",
    "WARNING: inconsistent lock state": "lockdep",
    "WARNING: suspicious RCU usage": "lockdep",
    "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected": "lockdep",
    "WARNING: bad unlock balance detected!": "lockdep",
    "WARNING: vhost-419/431 still has locks held!": "lockdep",
    "[ BUG: Invalid wait context ]": "lockdep",
    "DMA-API: e1000e 0000:01:00.0: device driver tries to free DMA memory": "dma api",
    "DMA-API: exceeded 7 overlapping mappings of cacheline 0x1a2b": "dma api",
    "WARNING: CPU: 0 PID: 431 at net/core/dev.c:5876 netif_receive_skb+0x12/0x30": "warning",
    "WARNING: net/core/dev.c:5876 at netif_receive_skb+0x12/0x30, CPU#0: vhost/431": "warning",
    "INFO: task ip:412 blocked for more than 60 seconds.": "hung task",
    "rcu: INFO: rcu_preempt self-detected stall on CPU": "rcu stall",
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:": "rcu stall",
    "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: {": "rcu stall",
    "unregister_netdevice: waiting for mp0 to become free. Usage count = 2": "device leak",
    "ODEBUG: free active (active state 0) object: ffff88800b2e": "object leak",
}

HARMLESS = (
    "Warning: unable to open an initial console.",
    "DMA-API: preallocated 65536 debug entries",
    "DMA-API: debugging enabled by kernel config",
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
    "Kernel command line: console=ttyS0 panic=-1 hung_task_panic=1 softlockup_panic=1",
    "rcu: \tRCU debug extended QS entry/exit.",
    "watchdog: Delayed init of the lockup detector failed: 0",
    "kvm [71]: vcpu0, guest rIP: 0xffffffff810065fc Unhandled WRMSR(0xc0010007) = 0xffff",
    "lockdep: WARNING messages are turned into panics by panic_on_warn",
    "a program says: BUG: not mine",
    "",
)


@pytest.mark.parametrize(("title", "kind"), TITLES.items())
@pytest.mark.parametrize("prefix", ["", "[   41.903411] ", "<4>[    0.1] ", "[   41.9] [  T431] "])
def test_a_report_is_found_with_and_without_timestamps(prefix: str, title: str, kind: str) -> None:
    report = ConsoleWatch().feed(f"{prefix}{title}\n")

    assert report is not None
    assert (report.kind, report.title) == (kind, title)
    assert report.lines == (f"{prefix}{title}",)
    assert not report.complete


@pytest.mark.parametrize("line", HARMLESS)
@pytest.mark.parametrize("prefix", ["", "[    0.002345] "])
def test_a_harmless_line_is_no_report(prefix: str, line: str) -> None:
    assert ConsoleWatch().feed(f"{prefix}{line}\n") is None


def test_a_captured_panic_is_shown_as_far_as_it_came() -> None:
    report = ConsoleWatch().feed((DATA / "panic.txt").read_text())

    assert report is not None
    assert report.kind == "panic"
    assert report.title.endswith("timer doesn't work through Interrupt-remapped IO-APIC")
    assert " panic_if_irq_remap+0x1d/0x20" in report.lines
    assert not report.complete


def test_a_panic_that_reboots_at_once_has_an_end_too() -> None:
    report = ConsoleWatch().feed((DATA / "sysrq-crash.txt").read_text())

    assert report is not None
    assert report.title == "Kernel panic - not syncing: sysrq triggered crash"
    assert report.lines[-1] == "Kernel Offset: disabled"
    assert report.complete


def test_text_may_come_in_any_pieces() -> None:
    text = (DATA / "panic.txt").read_text()
    watch = ConsoleWatch()

    for character in text:
        watch.feed(character)

    assert watch.report == ConsoleWatch().feed(text)


def test_a_title_counts_once_its_line_has_ended() -> None:
    watch = ConsoleWatch()

    assert watch.feed("[    1.0] Kernel pa") is None
    assert watch.feed("nic - not syncing: x") is None
    assert watch.feed("\n") is not None


def test_carriage_returns_are_no_part_of_a_line() -> None:
    report = ConsoleWatch().feed("INFO: task ip:412 blocked for more than 60 seconds.\r\n")

    assert report is not None
    assert report.title == "INFO: task ip:412 blocked for more than 60 seconds."


def test_a_long_report_is_cut_off_and_complete() -> None:
    report = ConsoleWatch().feed((DATA / "lockdep.txt").read_text())

    assert report is not None
    assert report.kind == "lockdep"
    assert report.lines[0].endswith("WARNING: possible recursive locking detected")
    assert len(report.lines) == MAX_LINES
    assert report.complete


def test_an_end_marker_completes_a_report() -> None:
    watch = ConsoleWatch()
    watch.feed("WARNING: CPU: 0 PID: 1 at lib/x.c:1 f+0x1/0x2\nCall Trace:\n")

    report = watch.feed("---[ end trace 0000000000000000 ]---\nlogin:\n")

    assert report is not None
    assert report.complete
    assert report.lines[-1] == "---[ end trace 0000000000000000 ]---"


def test_the_first_report_stays_the_report() -> None:
    """What follows a first report is often its consequence."""
    watch = ConsoleWatch()
    watch.feed("refcount_t: underflow; use-after-free.\n---[ end trace 0 ]---\n")

    report = watch.feed("Kernel panic - not syncing: Fatal exception\n")

    assert report is not None
    assert report.kind == "refcount"
    assert len(report.lines) == 2


def test_a_report_reads_as_text() -> None:
    report = ConsoleWatch().feed("[    1.0] UBSAN: shift-out-of-bounds in a.c:1:2\n")

    assert str(report) == (
        "ubsan: UBSAN: shift-out-of-bounds in a.c:1:2\n"
        "  [    1.0] UBSAN: shift-out-of-bounds in a.c:1:2"
    )
