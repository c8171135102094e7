"""What kernels print when something is wrong: the titles, and how much each of them matters.

To teach zclab another title, add a row with a line that a kernel printed; the tests check that the
row finds its line. The first row whose pattern fits the beginning of a message names it, so what is
special stands above what is general. A line that only mentions a title is none: patterns are for
messages without their time stamp. Labs show warnings and worse (``loglevel=5``); rows for what is
less are for hosts that show more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ends", "fails", "noted"]
"""``ends``: the kernel is broken, or has let memory be read or written that it should not have;
nothing that comes after means anything, so the run ends. ``fails``: the figures of the trial that
was running are wrong, and those of the next may be right. ``noted``: to be known when figures are
read, no more; it stands in the trial's evidence."""


@dataclass(frozen=True)
class Title:
    """One row: what it means, a name for it, the source that prints it, how, and such a line."""

    severity: Severity
    kind: str
    source: str
    pattern: re.Pattern[str]
    example: str


# What dev_err() and netdev_err() put in front: "igb 0000:01:00.0: ", "virtio_net virtio0 eth0: ",
# "mp0: ".
_DEVICE = r"(\S+ ){0,2}\S+( \([\w ]+\))?: "


def _title(severity: Severity, kind: str, source: str, pattern: str, example: str) -> Title:
    return Title(severity, kind, source, re.compile(pattern), example)


# fmt: off
TITLES: tuple[Title, ...] = (
    _title("ends", "panic", "kernel/panic.c", r"Kernel panic - not syncing",
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"),
    _title("ends", "kasan", "mm/kasan/report.c", r"BUG: KASAN: ",
        "BUG: KASAN: slab-use-after-free in tap_do_read+0x1a2/0x7c0"),
    _title("ends", "kfence", "mm/kfence/report.c", r"BUG: KFENCE: ",
        "BUG: KFENCE: use-after-free read in skb_release_data+0x54/0x1b0"),
    _title("ends", "kmsan", "mm/kmsan/report.c", r"BUG: KMSAN: ",
        "BUG: KMSAN: uninit-value in eth_type_trans+0x7d4/0x980"),
    _title("ends", "kcsan", "kernel/kcsan/report.c", r"BUG: KCSAN: ",
        "BUG: KCSAN: data-race in vhost_poll_wakeup / vhost_worker_queue"),
    _title("ends", "ubsan", "lib/ubsan.c", r"UBSAN: ",
        "UBSAN: array-index-out-of-bounds in drivers/net/tap.c:123:4"),
    _title("ends", "soft lockup", "kernel/watchdog.c", r"(watchdog: )?BUG: soft lockup - ",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [vhost-419:431]"),
    _title("ends", "hard lockup", "kernel/watchdog.c",
        r"((NMI )?watchdog: )?Watchdog detected hard LOCKUP",
        "watchdog: Watchdog detected hard LOCKUP on cpu 1"),
    _title("ends", "workqueue lockup", "kernel/workqueue.c", r"BUG: workqueue lockup - ",
        "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 34s!"),
    _title("ends", "sleep in atomic", "kernel/sched/core.c",
        r"BUG: (sleeping function called from|scheduling while atomic)",
        "BUG: sleeping function called from invalid context at mm/gup.c:2991"),
    _title("ends", "oops", "arch/x86/mm/fault.c", r"BUG: (kernel NULL pointer|unable to handle)",
        "BUG: kernel NULL pointer dereference, address: 0000000000000028"),
    _title("ends", "oops", "arch/x86/kernel/dumpstack.c",
        r"Oops: |general protection fault|Unable to handle kernel ",
        "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]"),
    _title("ends", "oops", "arch/x86/kernel/traps.c",
        r"(invalid opcode|divide error|stack segment|double fault): [\da-f]{4} ",
        "invalid opcode: 0000 [#1] PREEMPT SMP"),
    # A page that went back to the allocator while somebody still held or mapped it.
    _title("ends", "page state", "mm/page_alloc.c, mm/memory.c, mm/filemap.c",
        r"BUG: (Bad (page|rss-counter)|non-zero pgtables)",
        "BUG: Bad page state in process vhost-419  pfn:0b2e4"),
    _title("ends", "bug", "net/core/skbuff.c", r"(skbuff: )?skb_(over|under)_panic: ",
        "skbuff: skb_over_panic: text:ffffffff8172 len:1514 put:1514 head:ffff8880 data:ffff8880"),
    _title("ends", "bug", "mm/usercopy.c",
        r"(usercopy: )?Kernel memory (exposure|overwrite) attempt detected ",
        "usercopy: Kernel memory overwrite attempt detected to SLUB object 'skbuff_small_head' "
        "(offset 704, size 64)!"),
    _title("ends", "bug", "lib/bug.c, mm/slub.c", r"kernel BUG at |BUG: |BUG [\w-]+ \(",
        "kernel BUG at net/core/skbuff.c:2867!"),
    _title("ends", "list corruption", "lib/list_debug.c", r"(list|hlist)_(add|del)\S* corruption",
        "list_del corruption. prev->next should be ffff88800b2e, but was dead"),
    _title("ends", "refcount", "lib/refcount.c", r"refcount_t: ",
        "refcount_t: underflow; use-after-free."),
    _title("ends", "lockdep", "kernel/locking/lockdep.c",
        r"WARNING: (possible|inconsistent|suspicious|bad|Nested|lock held|held lock)\b",
        "WARNING: possible circular locking dependency detected"),
    _title("ends", "lockdep", "kernel/locking/lockdep.c",
        r"WARNING: (HARDIRQ|SOFTIRQ)-\S+ -> |WARNING: .* still has locks held!|\[ BUG: "
        r"|INFO: trying to register non-static key",
        "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected"),
    _title("ends", "dma api", "kernel/dma/debug.c", r"DMA-API: (\S+ \S+: |exceeded )",
        "DMA-API: e1000e 0000:01:00.0: device driver tries to free DMA memory"),
    # The NIC was kept from a page that it still had an address of: it was given back too early.
    _title("ends", "iommu fault", "drivers/iommu/intel/dmar.c",
        r"DMAR: ?\[DMA (Read|Write)\b[^]]*\] ",
        "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7ffdc000 "
        "[fault reason 0x05] PTE Write access is not set"),
    _title("ends", "iommu fault", "drivers/iommu/amd/iommu.c",
        rf"({_DEVICE})?AMD-Vi: Event logged \[",
        "e1000e 0000:01:00.0: AMD-Vi: Event logged "
        "[IO_PAGE_FAULT domain=0x000a address=0x7ffdc000 flags=0x0020]"),
    # Where that does not come to its end, a NIC may go on writing to pages that are others' by now.
    _title("ends", "iommu invalidation", "drivers/iommu/intel/dmar.c, drivers/iommu/amd/iommu.c",
        r"DMAR: VT-d detected Invalidation |AMD-Vi: Completion-Wait loop timed out",
        "DMAR: VT-d detected Invalidation Time-out Error: SID 100"),
    # A NIC that does not heed its limit has written behind the guest's buffer.
    _title("ends", "buffer overrun", "kernel-patches (mp device)",
        rf"{_DEVICE}received \d+ bytes into a guest's buffer of \d+ bytes",
        "e1000e 0000:01:00.0 eth0: received 1600 bytes into a guest's buffer of 1536 bytes; "
        "copying from now on"),
    # The other side of the ring handed back a buffer that it never got.
    _title("ends", "virtio ring", "drivers/virtio/virtio_ring.c",
        rf"{_DEVICE}\S+:id \d+ (out of range|is not a head!)",
        "virtio_net virtio0: input.0:id 5 is not a head!"),
    # In older kernels than 6.12 the transmit watchdog may be a WARN; it means the same as today's.
    _title("fails", "tx hang", "net/sched/sch_generic.c",
        r"WARNING: CPU: \d+ PID: \d+ at net/sched/sch_generic\.c:\d+ dev_watchdog\+",
        "WARNING: CPU: 1 PID: 0 at net/sched/sch_generic.c:525 dev_watchdog+0x21f/0x230"),
    # The second form, without a CPU, is that of 6.18 and later.
    _title("ends", "warning", "kernel/panic.c", r"WARNING: (CPU: \d+ PID: \d+ at |\S+:\d+ at )",
        "WARNING: CPU: 0 PID: 431 at net/core/dev.c:5876 netif_receive_skb+0x12/0x30"),
    _title("ends", "hung task", "kernel/hung_task.c",
        r"INFO: task .+ blocked (in I/O wait )?for more than \d+ seconds",
        "INFO: task ip:412 blocked for more than 60 seconds."),
    _title("ends", "rcu stall", "kernel/rcu/tree_stall.h, kernel/rcu/tasks.h",
        r"(rcu: )?(INFO: rcu\w* (self-)?detected (expedited )?stall|rcu\w* kthread starved for )",
        "rcu: INFO: rcu_preempt self-detected stall on CPU"),
    _title("ends", "device leak", "net/core/dev.c", r"unregister_netdevice: waiting for ",
        "unregister_netdevice: waiting for mp0 to become free. Usage count = 2"),
    _title("ends", "reference leak", "lib/ref_tracker.c",
        r"(ref_tracker: )?(leaked reference|reference already released)\.",
        "ref_tracker: reference already released."),
    _title("ends", "object leak", "lib/debugobjects.c", r"ODEBUG: ",
        "ODEBUG: free active (active state 0) object: ffff88800b2e"),
    _title("ends", "hardware error", "drivers/pci/pcie/aer.c",
        rf"{_DEVICE}(AER: )?PCIe Bus Error: severity=Uncorrect",
        "e1000e 0000:01:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), "
        "type=Transaction Layer, (Requester ID)"),
    _title("ends", "hardware error", "drivers/edac, mm/memory-failure.c, arch/x86/kernel/nmi.c",
        r"EDAC MC\d+: \d+ UE |Memory failure: |(mce: )?Uncorrected hardware memory error "
        r"|NMI: (PCI system|IOCK) error",
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0"),

    _title("fails", "tx hang", "net/sched/sch_generic.c",
        rf"({_DEVICE})?NETDEV WATCHDOG: ",
        "e1000e 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5120 ms"),
    _title("fails", "tx hang", "drivers/net/ethernet/intel",
        rf"({_DEVICE})?(Detected (Hardware|Tx) Unit Hang|tx hang \d+ detected on queue )",
        "e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:"),
    _title("fails", "tx hang", "drivers/net/virtio_net.c, drivers/net/ethernet/mellanox",
        rf"{_DEVICE}TX timeout (on|detected)",
        "virtio_net virtio0 eth0: TX timeout on queue: 0, sq: output.0, vq: 0x1, name: output.0, "
        "5120000 usecs ago"),
    _title("fails", "nic reset", "drivers/net/ethernet/intel/e1000e/netdev.c",
        rf"{_DEVICE}Reset adapter( unexpectedly)?$",
        "e1000e 0000:01:00.0 eth0: Reset adapter unexpectedly"),
    _title("fails", "nic lost", "drivers/net/ethernet/intel", rf"{_DEVICE}PCIe link lost",
        "igb 0000:01:00.0 eth0: PCIe link lost"),
    # What arrived is not what was sent, or the driver says so of what is.
    _title("fails", "checksum", "net/core/dev.c", rf"{_DEVICE}hw csum failure",
        "eth0: hw csum failure"),
    _title("fails", "virtio queue", "drivers/net/virtio_net.c",
        rf"{_DEVICE}(Unexpected TXQ \(\d+\) queue failure|bad gso: type: )",
        "virtio_net virtio0 eth0: Unexpected TXQ (0) queue failure: -5"),
    # Frames were dropped for want of an address that the NIC can reach.
    _title("fails", "dma mapping", "kernel/dma/swiotlb.c", rf"{_DEVICE}swiotlb buffer is full",
        "e1000e 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), "
        "used 32768 (slots)"),
    _title("fails", "interrupt lost", "drivers/iommu/intel/dmar.c", r"DMAR: ?\[INTR-REMAP\] ",
        "DMAR: [INTR-REMAP] Request device [01:00.0] fault index 0x1c [fault reason 0x22] "
        "Present field in the IRTE entry is clear"),
    _title("fails", "interrupt lost", "kernel/irq/spurious.c", r"irq \d+: nobody cared ",
        'irq 16: nobody cared (try booting with the "irqpoll" option)'),
    # The experiment's own programs; its commands fail, and this is why.
    _title("fails", "out of memory", "mm/oom_kill.c",
        r"(Memory cgroup out of memory|Out of memory[^:]*): Killed process \d+ "
        r"\((qemu|netperf|netserver|libvirtd|dropbear|sshd|vhost)",
        "Out of memory: Killed process 512 (qemu-system-x86) total-vm:1843200kB, "
        "anon-rss:524288kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1400kB oom_score_adj:0"),
    _title("fails", "out of memory", "net/ipv4/tcp.c", r"TCP: out of memory -- ",
        "TCP: out of memory -- consider tuning tcp_mem"),
    # Time itself: rates and latencies of this trial were measured with a clock that went wrong.
    _title("fails", "clock", "kernel/time/clocksource.c",
        r"clocksource: timekeeping watchdog\b.*Marking clocksource .* as unstable",
        "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because "
        "the skew is too large:"),
    _title("fails", "throttled", "drivers/thermal/intel/therm_throt.c",
        r"(mce: )?CPU\d+: .*temperature (is )?above threshold, cpu clock (is )?throttled",
        "CPU2: Package temperature is above threshold, cpu clock is throttled (total events = 1)"),

    # Pages of a pool that is gone: a leak, or a socket that nobody reads.
    _title("noted", "page pool", "net/core/page_pool.c", r"page_pool_release_retry\(\) stalled",
        "page_pool_release_retry() stalled pool shutdown: id 5, 1 inflight 60 sec"),
    # The scanner takes what it cannot see for lost, so it may be wrong.
    _title("noted", "memory leak", "mm/kmemleak.c", r"kmemleak: \d+ new suspected memory leaks",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
    _title("noted", "out of memory", "mm/oom_kill.c",
        r"[^:]+ invoked oom-killer: |(Memory cgroup out|Out) of memory\b.*: Killed process ",
        "Out of memory: Killed process 733 (apt-get) total-vm:90112kB, anon-rss:40960kB"),
    _title("noted", "page allocation", "mm/page_alloc.c", r".+: page allocation (failure|stalls)",
        "vhost-431: page allocation failure: order:5, mode:0x40dc0(GFP_KERNEL), nodemask=(null)"),
    _title("noted", "pinned memory", "drivers/vfio/vfio_iommu_type1.c",
        r"vfio_pin_\w+: .*RLIMIT_MEMLOCK",
        "vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded"),
    _title("noted", "mtu", "kernel-patches (mp device)",
        rf"{_DEVICE}cannot follow \S+ to an MTU of \d+",
        "mp0: cannot follow eth0 to an MTU of 9000"),
    _title("noted", "suppressed", "lib/ratelimit.c", r"\w+: \d+ callbacks suppressed",
        "net_ratelimit: 5 callbacks suppressed"),
    _title("noted", "network", "net", r"nf_conntrack: .*table full|\w+: neighbor table overflow!"
        r"|\w+: Possible SYN flooding on port|TCP: \S+ Driver has suspect GRO implementation",
        "nf_conntrack: nf_conntrack: table full, dropping packet"),
    _title("noted", "slow interrupt", "kernel/events/core.c, kernel/time/hrtimer.c, arch/x86",
        r"(perf|hrtimer): interrupt took |INFO: NMI handler .* took too long",
        "perf: interrupt took too long (2502 > 2500), lowering kernel.perf_event_max_sample_rate "
        "to 79000"),
    _title("noted", "scheduler", "kernel/workqueue.c, kernel/sched",
        r"workqueue: .* hogged CPU for |sched: (RT throttling activated|DL replenish lagged)",
        "workqueue: vhost_worker hogged CPU for >10000us 4 times, "
        "consider switching to WQ_UNBOUND"),
    _title("noted", "interrupt", "arch/x86/kernel",
        r"(\w+: [\d.]+ )?No irq handler for |Uhhuh\. NMI received for unknown reason",
        "__common_interrupt: 1.55 No irq handler for vector"),
    _title("noted", "hardware error", "drivers/pci/pcie/aer.c",
        rf"{_DEVICE}(AER: )?PCIe Bus Error: severity=Correct",
        "pcieport 0000:00:01.0: PCIe Bus Error: severity=Correctable, type=Physical Layer, "
        "(Receiver ID)"),
    _title("noted", "hardware error", "arch/x86/kernel/cpu/mce, drivers/acpi/apei, drivers/edac",
        r"(mce: |\{\d+\})?\[Hardware Error\]: |EDAC MC\d+: \d+ CE ",
        "mce: [Hardware Error]: Machine check events logged"),
    _title("noted", "lockdep off", "kernel/locking/lockdep.c", r"INFO: lockdep is turned off",
        "INFO: lockdep is turned off."),
    _title("noted", "program crash", "arch/x86/mm/fault.c, arch/x86/kernel/traps.c",
        r"\S+\[\d+\]: segfault at |traps: .*\[\d+\] (general protection|trap )",
        "netserver[412]: segfault at 0 ip 000055d0c0de sp 00007ffc0ffee error 4 in netserver"),
)
# fmt: on


def title_of(message: str) -> Title | None:
    """Return the row that a kernel's message, without its time stamp, is a case of."""
    return next((title for title in TITLES if title.pattern.match(message)), None)
