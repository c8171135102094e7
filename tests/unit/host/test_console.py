"""Kernel reports in console text: found, named, and nothing else taken for one."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mutations import mutated
from zclab.host.console import MAX_CHARACTERS, MAX_LINES, ConsoleWatch, KernelReport, Notice
from zclab.host.kernel_messages import TITLES as CATALOGUE
from zclab.host.kernel_messages import title_of
from zclab.host.title import Title

DATA = Path(__file__).parents[2] / "data" / "console"

TITLES = {
    "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009": "panic",
    "BUG: KASAN: slab-use-after-free in tap_do_read+0x1a2/0x7c0": "kasan",
    "UBSAN: array-index-out-of-bounds in drivers/net/tap.c:123:4": "ubsan",
    "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [vhost-419:431]": "soft lockup",
    "watchdog: Watchdog detected hard LOCKUP on cpu 1": "hard lockup",
    "NMI watchdog: Watchdog detected hard LOCKUP on cpu 1": "hard lockup",
    "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3": "hard lockup",
    "BUG: sleeping function called from invalid context at mm/gup.c:2991": "sleep in atomic",
    "BUG: scheduling while atomic: vhost-419/431/0x00000002": "sleep in atomic",
    "BUG: kernel NULL pointer dereference, address: 0000000000000028": "oops",
    "BUG: unable to handle page fault for address: ffffc90000180000": "oops",
    "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]": "oops",
    "invalid opcode: 0000 [#1] PREEMPT SMP": "oops",
    "Unable to handle kernel paging request at virtual address ffff800080000000": "oops",
    "Internal error: synchronous external abort: 0000000096000210 [#1] PREEMPT SMP": "oops",
    "traps: PANIC: double fault, error_code: 0x0": "oops",
    "Thread overran stack, or stack corrupted": "oops",
    "kernel BUG at net/core/skbuff.c:2867!": "bug",
    "BUG: Bad page state in process vhost-419  pfn:0b2e4": "page state",
    "BUG: Bad page map in process qemu-system-x86  pte:80000000b2e40067 pmd:0b2e5067": "page state",
    "BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1": "page state",
    "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7ffdc000 [fault reason 0x05] "
    "PTE Write access is not set": "iommu fault",
    "DMAR: [DMA Write] Request device [01:00.0] fault addr 7ffdc000 [fault reason 05] PTE Write "
    "access is not set": "iommu fault",
    "DMAR: [DMA Read PASID 0x1] Request device [01:00.0] fault addr 0x0 [fault": "iommu fault",
    "AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:01:00.0 domain=0x000a address=0x7ffdc000 "
    "flags=0x0020]": "iommu fault",
    "vfio-pci 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000a address=0x7ffdc000 "
    "flags=0x0020]": "iommu fault",
    "pcieport 0000:00:01.0: AER: PCIe Bus Error: severity=Uncorrected (Non-Fatal), "
    "type=Transaction Layer": "hardware error",
    "mm/pgtable-generic.c:51: bad pmd ffff88800b2e(8000000b2e40067)": "page table",
    "mm/memory.c:219: bad p4d ffff88800b2e(8000000b2e40067)": "page table",
    "pagealloc: memory corruption": "free memory written",
    "pagealloc: single bit error": "free memory written",
    "check: Corrupted low memory at ffff88800000b2e0 (b2e0 phys) = 0000dead": "free memory written",
    "softirq: huh, entered softirq 3 NET_RX 00000000b2e4 with preempt_count 00000100, exited with "
    "00000101?": "preempt count",
    "smp: csd: Continued non-responsive CSD lock (#1) on CPU#1, waiting 10000000032 ns for CPU#00 "
    "0x0(0x0).": "csd lock",
    "BUG kmalloc-512 (Not tainted): Redzone overwritten": "bug",
    "BUG :A-0000192 (Not tainted): Poison overwritten": "bug",
    "BUG: workqueue leaked atomic, lock or RCU: kworker/1:1[41]": "bug",
    "AMD-Vi: Command buffer timeout": "iommu invalidation",
    "page_pool_empty_ring() page_pool refcnt 2 violation": "page state",
    "Fixing recursive fault but reboot is needed!": "oops",
    "Kernel BUG at zc_done+0x12/0x30 [verbose debug info unavailable]": "bug",
    "neighbour: Destroying alive neighbour 00000000b2e4a1c0": "freed in use",
    "iommufd: Time out waiting for iommufd object to become free": "device leak",
    "DMAR: ERROR: DMA PTE for vPFN 0x7ffdc already set (to b2e40003 not b2e41003)": "iommu mapping",
    "IPv4: Attempt to release TCP socket in state 1 00000000b2e4a1c0": "freed in use",
    "IPv4: Attempt to release alive inet socket 00000000b2e4a1c0": "freed in use",
    "Attempt to release alive packet socket: 00000000b2e4a1c0": "freed in use",
    "pcieport 0000:00:01.0: DPC: containment event, status:0x1f05, ERR_FATAL received from "
    "0000:01:00.0": "hardware error",
    "list_del corruption. prev->next should be ffff88800b2e, but was dead": "list corruption",
    "list_add corruption. next->prev should be prev": "list corruption",
    "list_add double add: new=ffff88800b2e, prev=ffff88800b2e, next=ffff88800b30.": (
        "list corruption"
    ),
    "refcount_t: underflow; use-after-free.": "refcount",
    "WARNING: possible circular locking dependency detected": "lockdep",
    "WARNING: possible recursive locking detected": "lockdep",
    "WARNING: inconsistent lock state": "lockdep",
    "WARNING: chain_key collision": "lockdep",
    "WARNING: suspicious RCU usage": "lockdep",
    "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected": "lockdep",
    "WARNING: bad unlock balance detected!": "lockdep",
    "WARNING: vhost-419/431 still has locks held!": "lockdep",
    "[ BUG: Invalid wait context ]": "lockdep",
    "DMA-API: e1000e 0000:01:00.0: device driver tries to free DMA memory": "dma api",
    "DMA-API: exceeded 7 overlapping mappings of cacheline 0x1a2b": "dma api",
    "WARNING: CPU: 0 PID: 431 at net/core/dev.c:5876 netif_receive_skb+0x12/0x30": "warning",
    "WARNING: net/core/dev.c:5876 at netif_receive_skb+0x12/0x30, CPU#0: vhost/431": "warning",
    "WARNING: CPU: 0 PID: 431 at zc_done+0x12/0x30": "warning",
    "WARNING: at zc_done+0x12/0x30, CPU#0: vhost-419/431": "warning",
    "WARNING: [p->x] kernel/foo.c:12 at func+0x12/0x30, CPU#0: vhost-419/431": "warning",
    "WARNING: [refs[i] != 1 && !(a > b)] net/core/dev.c:5876 at netif_rx+0x12/0x30, CPU#1: ip/7": (
        "warning"
    ),
    "INFO: task ip:412 blocked for more than 60 seconds.": "hung task",
    "rcu: INFO: rcu_preempt self-detected stall on CPU": "rcu stall",
    "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:": "rcu stall",
    "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: {": "rcu stall",
    "rcu: rcu_preempt kthread starved for 2100 jiffies! g1 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0": (
        "rcu stall"
    ),
    "rcu: rcu_preempt kthread timer wakeup didn't happen for 2100 jiffies! g1 f0x0": "rcu stall",
    "INFO: rcu_tasks detected stalls on tasks:": "rcu stall",
    "unregister_netdevice: waiting for mp0 to become free. Usage count = 2": "device leak",
    "ODEBUG: free active (active state 0) object: ffff88800b2e": "object leak",
}

NOTICES = {
    "e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:": ("fails", "tx hang"),
    "igb 0000:01:00.0: Detected Tx Unit Hang": ("fails", "tx hang"),
    "igb 0000:01:00.0 eth0: Reset adapter": ("fails", "nic reset"),
    "e1000e 0000:01:00.0 eth0: ME firmware caused invalid TDT - resetting": ("fails", "nic reset"),
    "ixgbe 0000:01:00.0 eth0: initiating reset due to tx timeout": ("fails", "tx hang"),
    "ixgbe 0000:01:00.0 eth0: Detected Tx Unit Hang (XDP)": ("fails", "tx hang"),
    "ixgbe 0000:01:00.0 eth0: initiating reset to clear Tx work after link loss": (
        *("fails", "nic reset"),
    ),
    "i40e 0000:01:00.0 eth0: tx_timeout: VSI_seid: 390, Q 3, NTC: 0x1c, HWB: 0x1c, NTU: 0x2e": (
        *("fails", "tx hang"),
    ),
    "ice 0000:01:00.0 eth0: tx_timeout: VSI_num: 8, Q 3, NTC: 0x1c, HW_HEAD: 0x1c, NTU: 0x2e": (
        *("fails", "tx hang"),
    ),
    "mlx5_core 0000:01:00.0 eth0: TX timeout detected": ("fails", "tx hang"),
    "mlx5_core 0000:01:00.0 eth0: TX timeout on queue: 3, SQ: 0x10a, CQ: 0x47e, SQ Cons: 0x1c": (
        *("fails", "tx hang"),
    ),
    "tg3 0000:01:00.0 eth0: transmit timed out, resetting": ("fails", "tx hang"),
    "ixgbe 0000:01:00.0: Adapter removed": ("fails", "nic lost"),
    "igb 0000:01:00.0 eth0: The network adapter was stopped because it overheated": (
        *("fails", "nic lost"),
    ),
    "ixgbe 0000:01:00.0 eth0: Network adapter has been stopped because it has over heated. Restart "
    "the computer.": ("fails", "nic lost"),
    "vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up": ("fails", "nic lost"),
    "vfio-pci 0000:01:00.0: not ready 65535ms after bus reset; giving up": ("fails", "nic lost"),
    "pci 0000:01:00.0: not ready after 60000ms; giving up": ("fails", "nic lost"),
    "vfio-pci 0000:01:00.0: Unable to change power state from D3cold to D0, device inaccessible": (
        *("fails", "nic lost"),
    ),
    "pcieport 0000:00:01.0: pciehp: Slot(0): Link Down": ("fails", "nic lost"),
    "vfio-pci 0000:01:00.0: timed out waiting for pending transaction; performing function level "
    "reset anyway": ("noted", "function reset"),
    "mlx5_core 0000:01:00.0: poll_health:801:(pid 0): device's health compromised - reached miss "
    "count": ("fails", "nic error"),
    "mlx5_core 0000:01:00.0: poll_health:785:(pid 0): Fatal error 3 detected": (
        *("fails", "nic error"),
    ),
    "mlx5_core 0000:01:00.0: wait_func:1186:(pid 71): MODIFY_RQ(0x909) timeout. Will cause a leak "
    "of a command resource": ("fails", "nic error"),
    "mlx5_core 0000:01:00.0: cb_timeout_handler:947:(pid 71): cmd[3]: MODIFY_RQ(0x909) Async, "
    "timeout. Will cause a leak of a command resource": ("fails", "nic error"),
    "mlx5_core 0000:01:00.0 eth0: Error cqe on cqn 0x47e, ci 0x1c, qn 0x10a, opcode 0xd, syndrome "
    "0x2, vendor syndrome 0x68": ("fails", "nic error"),
    "igb 0000:01:00.0 eth0: malformed Tx packet detected and dropped, LVMMC:0x00000100": (
        *("fails", "malicious driver"),
    ),
    "i40e 0000:01:00.0: Malicious Driver Detection event 0x02 on TX queue 0 PF number 0x00 VF "
    "number 0x00": ("fails", "malicious driver"),
    "i40e 0000:01:00.0: TX driver issue detected on VF 1": ("fails", "malicious driver"),
    "ice 0000:01:00.0: Malicious Driver Detection event TX_TDPU detected on VF 1": (
        *("fails", "malicious driver"),
    ),
    "ice 0000:01:00.0: 3 Tx Malicious Driver Detection events detected on PF 0 VF 1 MAC "
    "52:54:00:12:34:56. mdd-auto-reset-vfs=off": ("fails", "malicious driver"),
    "ixgbe 0000:01:00.0: Malicious event on VF 0 tx:128 rx:128": ("fails", "malicious driver"),
    "virtio_net virtio0 eth0: NAPI poll function virtnet_poll+0x0/0x5a0 returned 65, exceeding its "
    "budget of 64.": ("fails", "driver bug"),
    "eth0: Budget exhausted after napi rescheduled": ("fails", "driver bug"),
    "Dead loop on virtual device macvtap0, fix it urgently!": ("fails", "packet loop"),
    "ip_tunnel_core: Dead loop on virtual device gre1, fix it urgently!": ("fails", "packet loop"),
    "Virtual device mp0 asks to queue packet!": ("fails", "packet loop"),
    "skbuff: bad partial csum: csum=65534/2 headroom=64 headlen=1514": ("fails", "frame dropped"),
    "skbuff: skb_segment: too many frags: 65160 1448": ("fails", "frame dropped"),
    "napi_frags_skb: dropping impossible skb from eth0": ("fails", "frame dropped"),
    "vnet0: unexpected GSO type: 0x0, gso_size 1448, hdr_len 66": ("fails", "virtio queue"),
    "igb 0000:01:00.0: TX DMA map failed": ("fails", "dma mapping"),
    "e1000e 0000:01:00.0: Rx DMA map failed": ("fails", "dma mapping"),
    "skbuff: Not enough bytes to eat. Want 14": ("fails", "frame dropped"),
    "BUG eth0 code 3 qlen 5": ("fails", "driver bug"),
    "Packet exceeded mirred recursion limit on dev eth0": ("fails", "packet loop"),
    "bpf: recursion limit reached on datapath, buggy bpf program?": ("fails", "packet loop"),
    "i40e 0000:01:00.0: Entering recovery mode due to repeated FW resets. This may take several "
    "minutes.": ("fails", "nic error"),
    "Failed to broadcast timer tick. Some CPUs may be unresponsive.": ("fails", "clock"),
    "Write-error on swap-device (254:0:2048)": ("noted", "disk"),
    "irq event 24: bogus return value b2e4": ("fails", "interrupt lost"),
    "br0: received packet on vnet0 with own address as source address (addr:52:54:00:12:34:56, "
    "vlan:0)": ("noted", "network"),
    "IPv4: martian source 198.18.2.1 from 192.0.2.7, on dev eth0": ("noted", "network"),
    "skbuff: eth0: received packets cannot be forwarded while LRO is enabled": (
        *("noted", "network"),
    ),
    "e1000e 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5120 ms": (
        *("fails", "tx hang"),
    ),
    "e1000e 0000:01:00.0 eth0 (unregistering): NETDEV WATCHDOG: CPU: 0: transmit queue 0 timed out "
    "5000 ms": ("fails", "tx hang"),
    "mp0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5120 ms": ("fails", "tx hang"),
    "NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out": ("fails", "tx hang"),
    "Out of memory: Killed process 512 (qemu-system-x86) total-vm:1843200kB": (
        *("fails", "out of memory"),
    ),
    "Memory cgroup out of memory: Killed process 512 (qemu-system-x86) total-vm:1kB": (
        *("fails", "out of memory"),
    ),
    **{
        f"Out of memory: Killed process 512 ({name}) total-vm:1843200kB": ("fails", "out of memory")
        for name in (
            "virtqemud",
            "virtlogd",
            "libvirtd",
            "kvm",
            "sshd",
            "sshd-session",
            "netserver",
        )
    },
    "qemu-system-x86: vmalloc error: size 4096, failed to allocate pages, mode:0xdc0(GFP_KERNEL)": (
        *("noted", "page allocation"),
    ),
    "SLUB: Unable to allocate memory on CPU 1 (of node 0) on node -1, gfp=0x820(GFP_ATOMIC)": (
        *("noted", "page allocation"),
    ),
    "CPU 0/KVM[812]: segfault at 0 ip 000055d0c0de sp 00007ffc0ffee error 4 in qemu": (
        *("noted", "program crash"),
    ),
    "x86/split lock detection: #DB: qemu-system-x86/812 took a bus_lock trap at address: 0x7ffd": (
        *("noted", "split lock"),
    ),
    "x86/split lock detection: #AC: CPU 0/KVM/812 bogus split_lock trap at address: 0x7ffd": (
        *("noted", "split lock"),
    ),
    "kvm_amd: VMCB 00000000b2e4a1c0, last attempted VMRUN on CPU 1": ("fails", "guest entry"),
    "tsc: Marking TSC unstable due to check_tsc_sync_source failed": ("fails", "clock"),
    "NOHZ tick-stop error: local softirq work is pending, handler #08!!!": ("noted", "scheduler"),
    "Buffer I/O error on dev vda1, logical block 0, async page read": ("noted", "disk"),
    "EXT4-fs error (device vda1): ext4_find_entry:1457: inode #2: comm sh: reading directory": (
        *("noted", "disk"),
    ),
    "ODEBUG: Out of memory. ODEBUG disabled": ("noted", "checker off"),
    "ODEBUG: out of memory.": ("noted", "checker off"),
    "ODEBUG: selftest passed": ("noted", "selftest"),
    "DMA-API: debugging out of memory - disabling": ("noted", "checker off"),
    "DMA-API: cacheline tracking ENOMEM, dma-debug disabled": ("noted", "checker off"),
    "DMA-API: 65536 debug entries requested but only 4096 allocated": ("noted", "checker off"),
    "kmemleak: Kernel memory leak detector disabled": ("noted", "checker off"),
    "kmemleak: Cannot allocate a kmemleak_object structure": ("noted", "checker off"),
    "BUG: MAX_LOCKDEP_ENTRIES too low!": ("noted", "lockdep off"),
    "BUG: MAX_LOCK_DEPTH too low!": ("noted", "lockdep off"),
    "BUG: MAX_STACK_TRACE_ENTRIES too low!": ("noted", "lockdep off"),
    "turning off the locking correctness validator.": ("noted", "lockdep off"),
    "INFO: lockdep is turned off.": ("noted", "lockdep off"),
    "Disabling lock debugging due to kernel taint": ("noted", "lockdep off"),
    "neighbour: arp_cache: neighbor table overflow!": ("noted", "network"),
    "arp_cache: neighbor table overflow!": ("noted", "network"),
    "TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:12865. Sending cookies.": (
        *("noted", "network"),
    ),
    "request_sock_TCPv6: Possible SYN flooding on port [::]:22. Dropping request.": (
        *("noted", "network"),
    ),
    "Out of memory: Killed process 733 (apt-get) total-vm:90112kB": ("noted", "out of memory"),
    "CPU 0/KVM invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER), order=0, oom_score_adj=0": (
        *("noted", "out of memory"),
    ),
    "page_pool_release_retry() stalled pool shutdown 1 inflight 60 sec": ("noted", "page pool"),
    "pcieport 0000:00:01.0: PCIe Bus Error: severity=Corrected, type=Physical Layer": (
        *("noted", "hardware error"),
    ),
}

HARMLESS = (
    "e1000e 0000:01:00.0 eth0: NIC Link is Up 1000 Mbps Full Duplex, Flow Control: None",
    "DMAR: DRHD base: 0x000000fed90000 flags: 0x1",
    "AMD-Vi: Interrupt remapping enabled",
    "pcieport 0000:00:01.0: AER: enabled with IRQ 24",
    "EDAC MC: Ver: 3.0.0",
    "zclab[71]: watching for Detected Hardware Unit Hang",
    "Warning: unable to open an initial console.",
    "DMA-API: preallocated 65536 debug entries",
    "kmemleak: Kernel memory leak detector initialized (mem pool available: 15679)",
    "kfence: initialized - using 2097152 bytes for 255 objects at 0x00000000b2e4-0x00000000c2e4",
    (
        "x86/split lock detection: #AC: crashing the kernel on kernel split_locks and warning on "
        "user-space split_locks"
    ),
    "smp: csd: CSD lock (#1) got unstuck on CPU#01, CPU#00 released the lock.",
    "e1000e 0000:01:00.0 eth0: NIC Link is Down",
    "vfio-pci 0000:01:00.0: not ready 1023ms after FLR; waiting",
    "mlx5_core 0000:01:00.0: mlx5e_init:71:(pid 71): MLX5E: StrdRq(1) RqSz(8) StrdSz(2048)",
    "br0: port 2(vnet0) entered forwarding state",
    "pcieport 0000:00:01.0: pciehp: Slot(0): Card present",
    "tsc: Detected 2994.374 MHz processor",
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
@pytest.mark.parametrize("prefix", ["", "[   41.903411] ", "<4>[    0.1] ", "[   41.9][  T431] "])
def test_a_report_is_found_with_and_without_timestamps(prefix: str, title: str, kind: str) -> None:
    report = ConsoleWatch().feed(f"{prefix}{title}\n")

    assert report is not None
    assert (report.kind, report.title) == (kind, title)
    assert report.lines == (f"{prefix}{title}",)
    assert not report.complete


@pytest.mark.parametrize("line", HARMLESS)
@pytest.mark.parametrize("prefix", ["", "[    0.002345] "])
def test_a_harmless_line_is_no_report(prefix: str, line: str) -> None:
    watch = ConsoleWatch()

    assert watch.feed(f"{prefix}{line}\n") is None
    assert watch.taken() == ()


@pytest.mark.parametrize(("message", "expected"), NOTICES.items())
@pytest.mark.parametrize("prefix", ["", "[   41.903411] ", "[   41.903411][    C1] "])
def test_what_does_not_end_the_run_is_kept_apart(
    prefix: str, message: str, expected: tuple[str, str]
) -> None:
    watch = ConsoleWatch()

    assert watch.feed(f"{prefix}{message}\n") is None
    (notice,) = watch.taken()
    assert (notice.severity, notice.kind) == expected
    assert notice.title == message
    assert watch.taken() == ()


@pytest.mark.parametrize("title", CATALOGUE, ids=lambda title: f"{title.kind}-{title.source}")
def test_every_row_of_the_catalogue_finds_the_line_that_it_shows(title: Title) -> None:
    assert title_of(title.example) is title


def test_a_kind_means_the_same_whoever_prints_it() -> None:
    """But memory and hardware, where it matters whose and how badly."""
    severities: dict[str, set[str]] = {}
    for title in CATALOGUE:
        severities.setdefault(title.kind, set()).add(title.severity)

    mixed = {kind for kind, found in severities.items() if len(found) > 1}
    assert mixed == {"out of memory", "hardware error"}


def test_notices_of_one_kind_are_counted() -> None:
    watch = ConsoleWatch()
    for lost in range(1, 1001):
        watch.feed(f"[    1.{lost:06}] net_ratelimit: {lost} callbacks suppressed\n")

    (notice,) = watch.taken()
    assert str(notice) == "net_ratelimit: 1 callbacks suppressed (1000 times)"


OOPS = "BUG: kernel NULL pointer dereference, address: 0000000000000028"


@pytest.mark.parametrize(
    "before",
    [
        "zclab-host login: ",
        "zclab-host login: root\rPassword: ",
        "\x1b[1;1H\x1b[0m",
        "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m",
        "\x1b]0;root@host: ~\x07root@host:~# ",
        "\0\0\x7f",
        "x" * (3 * MAX_CHARACTERS),
        "[   12.345600] e1000e 0000:01:00.0 eth0: Detec",
    ],
)
def test_a_report_may_begin_behind_what_was_left_without_a_newline(before: str) -> None:
    report = ConsoleWatch().feed(f"{before}[   12.345678] {OOPS}\r\n")

    assert report is not None
    assert (report.kind, report.title) == ("oops", OOPS)


@pytest.mark.parametrize("caller", ["[   T71]", "[    C1]", " [    C1]"])
def test_a_report_behind_a_prompt_may_name_its_caller(caller: str) -> None:
    report = ConsoleWatch().feed(f"zclab-host login: [   12.345678]{caller} {OOPS}\r\n")

    assert report is not None
    assert (report.kind, report.title) == ("oops", OOPS)


def test_a_report_behind_a_prompt_may_be_of_a_cpu_whose_clock_is_behind() -> None:
    watch = ConsoleWatch()
    watch.feed("[   12.345690] e1000e 0000:01:00.0 eth0: up\n")

    assert watch.feed(f"zclab-host login: [   12.345678] {OOPS}\n") is not None


def test_a_line_that_shows_an_older_message_is_no_report() -> None:
    watch = ConsoleWatch()

    assert watch.feed("[   99.000001] e1000e 0000:01:00.0 eth0: up\n") is None
    assert watch.feed(f"grep found: [   12.345678] {OOPS}\n") is None
    assert watch.feed(f"[  100.000001] a program says: [   12.345678] {OOPS}\n") is None
    assert watch.feed(f"login: it was {OOPS}\n") is None


def test_a_host_that_boots_again_counts_from_zero() -> None:
    watch = ConsoleWatch()
    watch.feed("[  999.000001] reboot: Restarting system\n[    0.000000] Linux version 6.12\n")

    assert watch.feed(f"login: [   12.345678] {OOPS}\n") is not None


def test_a_console_without_newlines_takes_no_memory() -> None:
    watch = ConsoleWatch()
    for _ in range(2000):
        watch.feed("0123456789abcdef" * 64)

    assert len(watch._partial) <= MAX_CHARACTERS + 1
    assert watch.feed("BUG: \n") is None, "the cut is no beginning of a line"


CONSOLES = (
    *((DATA / name).read_text() for name in ("panic.txt", "lockdep.txt", "sysrq-crash.txt")),
    "".join(f"[  {at:3}.000000] {one.example}\r\n" for at, one in enumerate(CATALOGUE[::-1])),
)


def seen_in(*pieces: str) -> tuple[KernelReport | None, tuple[Notice, ...]]:
    watch = ConsoleWatch()
    for piece in pieces:
        watch.feed(piece)
    return watch.report, watch.taken()


@given(mutated(*CONSOLES), st.lists(st.integers(0, 4000), max_size=6))
def test_whatever_a_console_says_is_read_alike_in_one_piece_and_in_many(
    text: str, cuts: list[int]
) -> None:
    ends = sorted({0, *cuts, len(text)})
    pieces = [text[start:end] for start, end in pairwise(ends)]

    report, notices = seen_in(text)

    assert seen_in(*pieces) == (report, notices)
    for shown in (report.lines if report else (), *(one.title for one in notices)):
        for line in shown if isinstance(shown, tuple) else (shown,):
            assert not re.search(r"[\x00-\x08\x1b\ud800-\udfff]", line)


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
