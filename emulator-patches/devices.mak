# The devices that QEMU is built with: those of the emulated host, and those that the tests of
# the emulator use. Without --without-default-devices there are some 200 more, sound cards among them.

# The machine, with what its board creates by itself.
CONFIG_Q35=y
CONFIG_HPET=y
CONFIG_VMPORT=y
CONFIG_VMMOUSE=y

# What zclab adds to it: the IOMMU, the NICs and their ports, disks, the way in, the pause.
CONFIG_VTD=y
CONFIG_PCIE_PORT=y
CONFIG_E1000E_PCI_EXPRESS=y
CONFIG_IGB_PCI_EXPRESS=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=y
CONFIG_VIRTIO_NET=y
CONFIG_PVPANIC_PCI=y

# How a test's hypervisor prints, and ends its machine.
CONFIG_ISA_DEBUG=y
