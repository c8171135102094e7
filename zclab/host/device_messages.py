"""What kernels print of devices, their drivers, DMA and the network; see kernel_messages.py."""

from __future__ import annotations

from zclab.host.title import DEVICE, Title, title

# fmt: off
DEVICES: tuple[Title, ...] = (
    title("ends", "dma api", "kernel/dma/debug.c", r"DMA-API: (\S+ \S+: |exceeded )",
        "DMA-API: e1000e 0000:01:00.0: device driver tries to free DMA memory"),
    # The NIC was kept from a page that it still had an address of: it was given back too early.
    title("ends", "iommu fault", "drivers/iommu/intel/dmar.c",
        r"DMAR: ?\[DMA (Read|Write)\b[^]]*\] ",
        "DMAR: [DMA Write NO_PASID] Request device [01:00.0] fault addr 0x7ffdc000 "
        "[fault reason 0x05] PTE Write access is not set"),
    title("ends", "iommu fault", "drivers/iommu/amd/iommu.c",
        rf"({DEVICE})?AMD-Vi: Event logged \[",
        "e1000e 0000:01:00.0: AMD-Vi: Event logged "
        "[IO_PAGE_FAULT domain=0x000a address=0x7ffdc000 flags=0x0020]"),
    # Where that does not come to its end, a NIC may go on writing to pages that are others' by now.
    title("ends", "iommu invalidation", "drivers/iommu/intel/dmar.c, drivers/iommu/amd/iommu.c",
        r"DMAR: VT-d detected Invalidation |AMD-Vi: (Completion-Wait loop timed out|Command buffer "
        r"timeout)",
        "DMAR: VT-d detected Invalidation Time-out Error: SID 100"),
    # A NIC that does not heed its limit has written behind the guest's buffer.
    title("ends", "buffer overrun", "kernel-patches (mp device)",
        rf"{DEVICE}received \d+ bytes into a guest's buffer of \d+ bytes",
        "e1000e 0000:01:00.0 eth0: received 1600 bytes into a guest's buffer of 1536 bytes; "
        "copying from now on"),
    # The other side of the ring handed back a buffer that it never got.
    title("ends", "virtio ring", "drivers/virtio/virtio_ring.c",
        rf"{DEVICE}\S+:id \d+ (out of range|is not a head!)",
        "virtio_net virtio0: input.0:id 5 is not a head!"),
    # In older kernels than 6.12 the transmit watchdog may be a WARN; it means the same as today's.
    title("fails", "tx hang", "net/sched/sch_generic.c",
        r"WARNING: CPU: \d+ PID: \d+ at net/sched/sch_generic\.c:\d+ dev_watchdog\+",
        "WARNING: CPU: 1 PID: 0 at net/sched/sch_generic.c:525 dev_watchdog+0x21f/0x230"),
    title("ends", "device leak", "drivers/iommu/iommufd/main.c",
        r"(iommufd: )?Time out waiting for iommufd object to become free",
        "iommufd: Time out waiting for iommufd object to become free"),
    title("ends", "iommu mapping", "drivers/iommu/intel/iommu.c",
        r"DMAR: ERROR: DMA PTE for vPFN 0x[\da-f]+ already set ",
        "DMAR: ERROR: DMA PTE for vPFN 0x7ffdc already set (to b2e40003 not b2e41003)"),
    # A page is in the pool that somebody else still holds, as a zero-copy receiver may.
    title("ends", "page state", "net/core/page_pool.c",
        r"\w+\(\) page_pool refcnt -?\d+ violation",
        "page_pool_empty_ring() page_pool refcnt 2 violation"),
    title("ends", "freed in use", "net/ipv4/af_inet.c, net/packet, net/core/neighbour.c",
        r"(IPv4: )?Attempt to release (TCP socket in state |alive \w+ socket)"
        r"|(neighbour: )?(Destroying alive neighbour |neighbour leakage)",
        "IPv4: Attempt to release alive inet socket 00000000b2e4a1c0"),
    title("ends", "hardware error", "drivers/pci/pcie/dpc.c", rf"{DEVICE}DPC: containment event",
        "pcieport 0000:00:01.0: DPC: containment event, status:0x1f01: unmasked uncorrectable "
        "error detected"),
    title("ends", "hardware error", "drivers/pci/pcie/aer.c",
        rf"{DEVICE}(AER: )?PCIe Bus Error: severity=Uncorrect",
        "e1000e 0000:01:00.0: PCIe Bus Error: severity=Uncorrectable (Fatal), "
        "type=Transaction Layer, (Requester ID)"),
    title("fails", "tx hang", "net/sched/sch_generic.c",
        rf"({DEVICE})?NETDEV WATCHDOG: ",
        "e1000e 0000:01:00.0 eth0: NETDEV WATCHDOG: CPU: 1: transmit queue 0 timed out 5120 ms"),
    title("fails", "tx hang", "drivers/net/ethernet/intel",
        rf"({DEVICE})?(Detected (Hardware|Tx) Unit Hang|tx hang \d+ detected on queue )"
        rf"|{DEVICE}(tx_timeout: VSI_\w+: |initiating reset due to tx timeout|transmit timed out)",
        "e1000e 0000:01:00.0 eth0: Detected Hardware Unit Hang:"),
    title("fails", "tx hang", "drivers/net/virtio_net.c, drivers/net/ethernet/mellanox",
        rf"{DEVICE}TX timeout (on|detected)",
        "virtio_net virtio0 eth0: TX timeout on queue: 0, sq: output.0, vq: 0x1, name: output.0, "
        "5120000 usecs ago"),
    title("fails", "nic reset", "drivers/net/ethernet/intel/e1000e/netdev.c",
        rf"{DEVICE}(Reset adapter( unexpectedly)?$|ME firmware caused invalid [RT]DT - resetting"
        r"|initiating reset to clear Tx work after link loss)",
        "e1000e 0000:01:00.0 eth0: Reset adapter unexpectedly"),
    title("fails", "nic lost", "drivers/net/ethernet/intel",
        rf"{DEVICE}(PCIe link lost|Adapter removed|.*\bstopped because it (has )?over ?heated)",
        "igb 0000:01:00.0 eth0: PCIe link lost"),
    # After a passthrough, say, the function does not come back.
    title("fails", "nic lost", "drivers/pci/pci.c, drivers/pci/probe.c, drivers/pci/hotplug",
        rf"{DEVICE}(not ready .+; giving up|Unable to change power state from .+, device "
        r"inaccessible|Device config space inaccessible|pciehp: Slot\(\S+\): (Link Down|Card not))",
        "vfio-pci 0000:01:00.0: not ready 65535ms after FLR; giving up"),
    title("fails", "nic error", "drivers/net/ethernet/mellanox/mlx5/core",
        rf"{DEVICE}(Error cqe on cqn |\w+:\d+:\(pid \d+\): (device's health compromised|Fatal "
        r"error \d+ detected|.+ timeout\. Will cause a leak of a command resource))",
        "mlx5_core 0000:01:00.0: poll_health:801:(pid 0): device's health compromised - reached "
        "miss count"),
    # The driver gave the NIC descriptors that make no sense; it sent nothing, or stopped the queue.
    title("fails", "nic error", "drivers/net/ethernet/intel",
        rf"{DEVICE}(Firmware recovery mode detected|Entering recovery mode due to)",
        "ixgbe 0000:01:00.0: Firmware recovery mode detected. Limiting functionality."),
    title("fails", "malicious driver", "drivers/net/ethernet/intel",
        rf"{DEVICE}((\d+ [RT]x )?Malicious (Driver Detection )?event|[RT]X driver issue detected on"
        r"|malformed Tx packet detected and dropped)",
        "i40e 0000:01:00.0: Malicious Driver Detection event 0x02 on TX queue 0 PF number 0x00 VF "
        "number 0x00"),
    title("fails", "driver bug", "net/core/dev.c, net/sched/sch_generic.c",
        rf"{DEVICE}NAPI poll function .+ returned \d+, exceeding its budget of "
        r"|\S+: Budget exhausted after napi rescheduled|BUG \S+ code -?\d+ qlen \d+",
        "igb 0000:01:00.0 eth0: NAPI poll function igb_poll+0x0/0x460 [igb] returned 65, exceeding "
        "its budget of 64."),
    title("fails", "packet loop", "net/core/dev.c, net/ipv4/ip_tunnel_core.c",
        r"(\w+: )?(Dead loop on virtual device |Virtual device \S+ asks to queue packet!"
        r"|Packet exceeded mirred recursion limit )|.+: recursion limit reached on datapath",
        "Dead loop on virtual device mp0, fix it urgently!"),
    # A header that does not fit its frame, as a guest or a backend gave it.
    title("fails", "frame dropped", "net/core/skbuff.c, net/core/gro.c",
        r"(\w+: )?(bad partial csum: |skb_segment: too many frags: |\w+: dropping impossible skb "
        r"|Not enough bytes to eat\. Want )",
        "skbuff: bad partial csum: csum=65534/2 headroom=64 headlen=1514"),
    # What arrived is not what was sent, or the driver says so of what is.
    title("fails", "checksum", "net/core/dev.c",
        rf"{DEVICE}hw csum failure",
        "eth0: hw csum failure"),
    title("fails", "virtio queue", "drivers/net/virtio_net.c",
        rf"{DEVICE}(Unexpected TXQ \(\d+\) queue failure|bad gso: type: |unexpected GSO type: )",
        "virtio_net virtio0 eth0: Unexpected TXQ (0) queue failure: -5"),
    # Frames were dropped for want of an address that the NIC can reach.
    title("fails", "dma mapping", "kernel/dma/swiotlb.c", rf"{DEVICE}swiotlb buffer is full",
        "e1000e 0000:01:00.0: swiotlb buffer is full (sz: 4096 bytes), total 32768 (slots), "
        "used 32768 (slots)"),
    title("fails", "dma mapping", "drivers/net/ethernet/intel", rf"{DEVICE}[RT][Xx] DMA map failed",
        "igb 0000:01:00.0: TX DMA map failed"),
    title("fails", "interrupt lost", "drivers/iommu/intel/dmar.c", r"DMAR: ?\[INTR-REMAP\] ",
        "DMAR: [INTR-REMAP] Request device [01:00.0] fault index 0x1c [fault reason 0x22] "
        "Present field in the IRTE entry is clear"),
    title("fails", "interrupt lost", "kernel/irq/spurious.c",
        r"irq \d+: nobody cared |irq event \d+: bogus return value ",
        'irq 16: nobody cared (try booting with the "irqpoll" option)'),
    # Pages of a pool that is gone: a leak, or a socket that nobody reads.
    title("noted", "page pool", "net/core/page_pool.c", r"page_pool_release_retry\(\) stalled",
        "page_pool_release_retry() stalled pool shutdown: id 5, 1 inflight 60 sec"),
    title("noted", "pinned memory", "drivers/vfio/vfio_iommu_type1.c",
        r"vfio_pin_\w+: .*RLIMIT_MEMLOCK",
        "vfio_pin_pages_remote: RLIMIT_MEMLOCK (65536) exceeded"),
    title("noted", "function reset", "drivers/pci/pci.c",
        rf"{DEVICE}timed out waiting for pending transaction; performing ",
        "vfio-pci 0000:01:00.0: timed out waiting for pending transaction; performing function "
        "level reset anyway"),
    title("noted", "mtu", "kernel-patches (mp device)",
        rf"{DEVICE}cannot follow \S+ to an MTU of \d+",
        "mp0: cannot follow eth0 to an MTU of 9000"),
    title("noted", "network", "net", r"nf_conntrack: .*table full"
        r"|(neighbour: )?\w+: neighbor table overflow!|(TCP: )?\w+: Possible SYN flooding on port"
        r"|TCP: \S+ Driver has suspect GRO implementation|IPv4: martian source "
        r"|\S+: received packet on \S+ with own address as source address"
        r"|(skbuff: )?\S+: received packets cannot be forwarded while LRO is enabled",
        "nf_conntrack: nf_conntrack: table full, dropping packet"),
    title("noted", "hardware error", "drivers/pci/pcie/aer.c",
        rf"{DEVICE}(AER: )?PCIe Bus Error: severity=Correct",
        "pcieport 0000:00:01.0: PCIe Bus Error: severity=Correctable, type=Physical Layer, "
        "(Receiver ID)"),
)
# fmt: on
