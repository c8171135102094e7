"""What kernels print when something is wrong: the titles, and how much each of them matters.

To teach zclab another title, add a row with a line that a kernel printed; the tests check that the
row finds its line. Rows for devices and the network are in device_messages.py. The first row
whose pattern fits the beginning of a message names it, so what is special stands above what is
general. A line that only mentions a title is none: patterns are for messages without their time
stamp. Labs show warnings and worse (``loglevel=5``); rows for what is less are for hosts that show
more.
"""

from __future__ import annotations

from zclab.host.device_messages import DEVICES
from zclab.host.title import Title, title

# fmt: off
KERNEL: tuple[Title, ...] = (
    title("ends", "panic", "kernel/panic.c", r"Kernel panic - not syncing",
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009"),
    title("ends", "kasan", "mm/kasan/report.c", r"BUG: KASAN: ",
        "BUG: KASAN: slab-use-after-free in tap_do_read+0x1a2/0x7c0"),
    title("ends", "kfence", "mm/kfence/report.c", r"BUG: KFENCE: ",
        "BUG: KFENCE: use-after-free read in skb_release_data+0x54/0x1b0"),
    title("ends", "kmsan", "mm/kmsan/report.c", r"BUG: KMSAN: ",
        "BUG: KMSAN: uninit-value in eth_type_trans+0x7d4/0x980"),
    title("ends", "kcsan", "kernel/kcsan/report.c", r"BUG: KCSAN: ",
        "BUG: KCSAN: data-race in vhost_poll_wakeup / vhost_worker_queue"),
    title("ends", "ubsan", "lib/ubsan.c", r"UBSAN: ",
        "UBSAN: array-index-out-of-bounds in drivers/net/tap.c:123:4"),
    title("ends", "soft lockup", "kernel/watchdog.c", r"(watchdog: )?BUG: soft lockup - ",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [vhost-419:431]"),
    title("ends", "hard lockup", "kernel/watchdog.c",
        r"((NMI )?watchdog: )?(CPU\d+: )?Watchdog detected hard LOCKUP",
        "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1"),
    title("ends", "workqueue lockup", "kernel/workqueue.c", r"BUG: workqueue lockup - ",
        "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 34s!"),
    title("ends", "sleep in atomic", "kernel/sched/core.c",
        r"BUG: (sleeping function called from|scheduling while atomic)",
        "BUG: sleeping function called from invalid context at mm/gup.c:2991"),
    title("ends", "oops", "arch/x86/mm/fault.c", r"BUG: (kernel NULL pointer|unable to handle)",
        "BUG: kernel NULL pointer dereference, address: 0000000000000028"),
    title("ends", "oops", "arch/x86/kernel/dumpstack.c",
        r"Oops: |general protection fault|Unable to handle kernel |Internal error: ",
        "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]"),
    title("ends", "oops", "arch/x86/kernel/traps.c",
        r"(invalid opcode|divide error|stack segment|double fault): [\da-f]{4} "
        r"|traps: PANIC: double fault|Thread overran stack, or stack |Fixing recursive fault ",
        "invalid opcode: 0000 [#1] PREEMPT SMP"),
    # A page that went back to the allocator while somebody still held or mapped it.
    title("ends", "page state", "mm/page_alloc.c, mm/memory.c, mm/filemap.c",
        r"BUG: (Bad (page|rss-counter)|non-zero pgtables)",
        "BUG: Bad page state in process vhost-419  pfn:0b2e4"),
    title("ends", "bug", "net/core/skbuff.c", r"(skbuff: )?skb_(over|under)_panic: ",
        "skbuff: skb_over_panic: text:ffffffff8172 len:1514 put:1514 head:ffff8880 data:ffff8880"),
    title("ends", "page table", "arch/x86/include/asm/pgtable_64.h",
        r"\S+:\d+: bad (pte|pmd|pud|p4d|pgd) ",
        "mm/pgtable-generic.c:51: bad pmd ffff88800b2e(8000000b2e40067)"),
    # Somebody wrote to memory that was free: a NIC, perhaps, whose page was given back too early.
    title("ends", "free memory written", "mm/page_poison.c, arch/x86/kernel/check.c",
        r"pagealloc: (memory corruption|single bit error)|check: Corrupted low memory at ",
        "pagealloc: memory corruption"),
    title("ends", "bug", "mm/usercopy.c",
        r"(usercopy: )?Kernel memory (exposure|overwrite) attempt detected ",
        "usercopy: Kernel memory overwrite attempt detected to SLUB object 'skbuff_small_head' "
        "(offset 704, size 64)!"),
    title("noted", "lockdep off", "kernel/locking/lockdep.c, kernel/panic.c",
        r"INFO: lockdep is turned off|BUG: MAX_\w+ too low!|turning off the locking correctness "
        r"validator|Disabling lock debugging due to kernel taint",
        "BUG: MAX_LOCKDEP_CHAIN_HLOCKS too low!"),
    title("ends", "bug", "lib/bug.c, mm/slub.c", r"[Kk]ernel BUG at |BUG: |BUG \S+ \(",
        "kernel BUG at net/core/skbuff.c:2867!"),
    title("ends", "list corruption", "lib/list_debug.c",
        r"(list|hlist)_(add|del)\S* (corruption|double add)",
        "list_del corruption. prev->next should be ffff88800b2e, but was dead"),
    title("ends", "refcount", "lib/refcount.c", r"refcount_t: ",
        "refcount_t: underflow; use-after-free."),
    title("ends", "lockdep", "kernel/locking/lockdep.c",
        r"WARNING: (possible|inconsistent|suspicious|bad|Nested|lock held|held lock|chain_key)\b",
        "WARNING: possible circular locking dependency detected"),
    title("ends", "lockdep", "kernel/locking/lockdep.c",
        r"WARNING: (HARDIRQ|SOFTIRQ)-\S+ -> |WARNING: .* still has locks held!|\[ BUG: "
        r"|INFO: trying to register non-static key",
        "WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected"),
    # The forms without a PID are those of 6.19 and later. CONFIG_DEBUG_BUGVERBOSE_DETAILED puts the
    # condition before the file.
    title("ends", "warning", "kernel/panic.c",
        r"WARNING: (CPU: \d+ PID: \d+ at |(\[.+\] )?\S+:\d+ at |at \S+, CPU#\d+: )",
        "WARNING: CPU: 0 PID: 431 at net/core/dev.c:5876 netif_receive_skb+0x12/0x30"),
    title("ends", "preempt count", "kernel/softirq.c", r"(softirq: )?huh, entered softirq ",
        "softirq: huh, entered softirq 3 NET_RX 00000000b2e4a1c0 with preempt_count 00000100, "
        "exited with 00000101?"),
    title("ends", "csd lock", "kernel/smp.c", r"(smp: )?csd: \w+ non-responsive CSD lock ",
        "smp: csd: Detected non-responsive CSD lock (#1) on CPU#1, waiting 5000000032 ns for "
        "CPU#00 flush_tlb_func+0x0/0x1b0(0x0)."),
    title("ends", "hung task", "kernel/hung_task.c",
        r"INFO: task .+ blocked (in I/O wait )?for more than \d+ seconds",
        "INFO: task ip:412 blocked for more than 60 seconds."),
    title("ends", "rcu stall", "kernel/rcu/tree_stall.h, kernel/rcu/tasks.h",
        r"(rcu: )?(INFO: rcu\w* (self-)?detected (expedited )?stall"
        r"|rcu\w* kthread (starved for |timer wakeup didn't happen for ))",
        "rcu: INFO: rcu_preempt self-detected stall on CPU"),
    title("ends", "device leak", "net/core/dev.c", r"unregister_netdevice: waiting for ",
        "unregister_netdevice: waiting for mp0 to become free. Usage count = 2"),
    title("ends", "reference leak", "lib/ref_tracker.c",
        r"(ref_tracker: )?(leaked reference|reference already released)\.",
        "ref_tracker: reference already released."),
    title("noted", "checker off", "lib/debugobjects.c, kernel/dma/debug.c, mm/kmemleak.c",
        r"ODEBUG: [Oo]ut of memory\.|ref_tracker: memory allocation failure"
        r"|DMA-API: (debugging out of memory|\w+: out of memory|cacheline tracking ENOMEM"
        r"|\d+ debug entries requested but only )"
        r"|kmemleak: (Kernel memory leak detector disabled|Memory pool empty|Cannot allocate )",
        "ODEBUG: Out of memory. ODEBUG disabled"),
    title("noted", "selftest", "lib/debugobjects.c", r"ODEBUG: selftest passed",
        "ODEBUG: selftest passed"),
    title("ends", "object leak", "lib/debugobjects.c", r"ODEBUG: ",
        "ODEBUG: free active (active state 0) object: ffff88800b2e"),
    title("ends", "hardware error", "drivers/edac, mm/memory-failure.c, arch/x86/kernel/nmi.c",
        r"EDAC MC\d+: \d+ UE |Memory failure: |(mce: )?Uncorrected hardware memory error "
        r"|NMI: (PCI system|IOCK) error",
        "EDAC MC0: 1 UE memory read error on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0"),
    # The experiment's own programs; its commands fail, and this is why.
    title("fails", "out of memory", "mm/oom_kill.c",
        r"(Memory cgroup out of memory|Out of memory[^:]*): Killed process \d+ "
        r"\((qemu|kvm\)|netperf|netserver|libvirtd|virt\w+d\)|dropbear|sshd|vhost)",
        "Out of memory: Killed process 512 (qemu-system-x86) total-vm:1843200kB, "
        "anon-rss:524288kB, file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:1400kB oom_score_adj:0"),
    title("fails", "out of memory", "net/ipv4/tcp.c", r"TCP: out of memory -- ",
        "TCP: out of memory -- consider tuning tcp_mem"),
    # Time itself: rates and latencies of this trial were measured with a clock that went wrong.
    title("fails", "clock", "kernel/time/clocksource.c",
        r"clocksource: timekeeping watchdog\b.*Marking clocksource .* as unstable",
        "clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable because "
        "the skew is too large:"),
    title("fails", "clock", "arch/x86/kernel/tsc.c",
        r"tsc: Marking TSC unstable due to |Failed to broadcast timer tick\.",
        "tsc: Marking TSC unstable due to clocksource watchdog"),
    title("fails", "guest entry", "arch/x86/kvm/vmx/vmx.c, arch/x86/kvm/svm/svm.c",
        r"(kvm_\w+: )?VMC[SB] \S+, last attempted VM",
        "kvm_intel: VMCS 00000000b2e4a1c0, last attempted VM-entry on CPU 1"),
    title("fails", "throttled", "drivers/thermal/intel/therm_throt.c",
        r"(mce: )?CPU\d+: .*temperature (is )?above threshold, cpu clock (is )?throttled",
        "CPU2: Package temperature is above threshold, cpu clock is throttled (total events = 1)"),
    # The scanner takes what it cannot see for lost, so it may be wrong.
    title("noted", "memory leak", "mm/kmemleak.c", r"kmemleak: \d+ new suspected memory leaks",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)"),
    title("noted", "out of memory", "mm/oom_kill.c",
        r"[^:]+ invoked oom-killer: |(Memory cgroup out|Out) of memory\b.*: Killed process ",
        "Out of memory: Killed process 733 (apt-get) total-vm:90112kB, anon-rss:40960kB"),
    title("noted", "page allocation", "mm/page_alloc.c",
        r".+: (page allocation (failure|stalls)|vmalloc error: )|SLUB: Unable to allocate memory ",
        "vhost-431: page allocation failure: order:5, mode:0x40dc0(GFP_KERNEL), nodemask=(null)"),
    title("noted", "suppressed", "lib/ratelimit.c", r"\w+: \d+ callbacks suppressed",
        "net_ratelimit: 5 callbacks suppressed"),
    title("noted", "slow interrupt", "kernel/events/core.c, kernel/time/hrtimer.c, arch/x86",
        r"(perf|hrtimer): interrupt took |INFO: NMI handler .* took too long",
        "perf: interrupt took too long (2502 > 2500), lowering kernel.perf_event_max_sample_rate "
        "to 79000"),
    title("noted", "scheduler", "kernel/workqueue.c, kernel/sched",
        r"workqueue: .* hogged CPU for |sched: (RT throttling activated|DL replenish lagged)"
        r"|NOHZ tick-stop error: ",
        "workqueue: vhost_worker hogged CPU for >10000us 4 times, "
        "consider switching to WQ_UNBOUND"),
    # An access across a cache line holds up every CPU, and its program is slowed down for it.
    title("noted", "split lock", "arch/x86/kernel/cpu/intel.c",
        r"x86/split lock detection: #(AC|DB): .+ (split|bus)_lock trap at address: ",
        "x86/split lock detection: #AC: CPU 0/KVM/812 took a split_lock trap at address: 0x7ffdc0"),
    title("noted", "disk", "block/blk-core.c, fs/ext4/super.c, fs/buffer.c",
        r"(blk_update_request: )?(critical \w+|I/O) error, dev |(Buffer I/O|EXT4-fs) error "
        r"|(Read|Write)-error on swap-device",
        "I/O error, dev vda, sector 2048 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2"),
    title("noted", "duplicate name", "fs/sysfs/dir.c", r"sysfs: cannot create duplicate filename ",
        "sysfs: cannot create duplicate filename '/devices/virtual/net/mp0'"),
    title("noted", "interrupt", "arch/x86/kernel",
        r"(\w+: [\d.]+ )?No irq handler for |Uhhuh\. NMI received for unknown reason",
        "__common_interrupt: 1.55 No irq handler for vector"),
    title("noted", "hardware error", "arch/x86/kernel/cpu/mce, drivers/acpi/apei, drivers/edac",
        r"(mce: |\{\d+\})?\[Hardware Error\]: |EDAC MC\d+: \d+ CE ",
        "mce: [Hardware Error]: Machine check events logged"),
    title("noted", "program crash", "arch/x86/mm/fault.c, arch/x86/kernel/traps.c",
        r"[^:\[]+\[\d+\]: segfault at |traps: .*\[\d+\] (general protection|trap )",
        "netserver[412]: segfault at 0 ip 000055d0c0de sp 00007ffc0ffee error 4 in netserver"),
)
# fmt: on

# A device's messages name it, or are a special case of the kernel's.
TITLES = (*DEVICES, *KERNEL)
"""Every row, in the order in which they are tried."""


def title_of(message: str) -> Title | None:
    """Return the row that a kernel's message, without its time stamp, is a case of."""
    return next((title for title in TITLES if title.pattern.match(message)), None)
