"""A guest that resets its device in a loop, beside a host that configures its network."""

from __future__ import annotations

import pytest

from tests.lab.bench import boot_in, opened
from tests.lab.test_disturbed import pinned_pages
from zclab.bench.guest import RunningGuest, running_guest
from zclab.lab.artifacts import Artifacts
from zclab.model import Lab, ModeName
from zclab.runner import Runner, read_text, wait_until

pytestmark = [pytest.mark.lab, pytest.mark.nightly, pytest.mark.timeout(2400)]

RESETS = 1000
TRACING = "/sys/kernel/tracing"
DONE = "/tmp/zclab-resets"  # noqa: S108 - of the lab's own guest

# $0 is the guest's interface. With the interface up the device has buffers to give back.
GUEST_LOOP = f"""
rm -f {DONE}
cd /sys/bus/virtio/drivers/virtio_net
device=$(basename "$(readlink -f /sys/class/net/$0/device)")
i=0
while [ $i -lt {RESETS} ]; do
    echo $device > unbind
    echo $device > bind
    ip link set "$(ls $device/net)" up || exit
    i=$((i + 1))
done
touch {DONE}
"""
# A line for each device: how long it took to make and to remove it, in us.
HOST_LOOP = f"""
rm -f {DONE}
while [ ! -e {DONE} ]; do
    began=${{EPOCHREALTIME/./}}
    ip link add zclabdummy type dummy && ip link del zclabdummy || exit
    echo $((${{EPOCHREALTIME/./}} - began))
done
"""
# Who holds RTNL, and for how long: all but those who configure the network here.
PROBES = f"""
cd {TRACING}
echo 16384 > buffer_size_kb
echo > trace
echo 'r:zclab/rtnl_got rtnl_lock' >> kprobe_events
echo 'p:zclab/rtnl_put rtnl_unlock' >> kprobe_events
echo 1 > events/zclab/enable
"""
UNPROBE = f"cd {TRACING}; echo 0 > events/zclab/enable; echo > kprobe_events"
HELD = r"""
awk '{ match($0, /[0-9]+\.[0-9]+: /); at = substr($0, RSTART, RLENGTH - 2) }
     $1 ~ /^ip-/ { next }
     / rtnl_got: / { got[$1] = at }
     / rtnl_put: / && $1 in got { held = (at - got[$1]) * 1000; sum += held; n++
                                  if (held > most) most = held; delete got[$1] }
     END { printf "%d %.1f %.1f\n", n, sum, most }' /sys/kernel/tracing/trace
"""


def reset_in_a_loop(guest: RunningGuest, host: Runner, mode: ModeName) -> None:
    """Have the guest reset its device, and print how the host's own configuration went on."""
    guest.runner.run(("rm", "-f", DONE))
    beside = host.start(("bash", "-c", HOST_LOOP))
    try:
        resets = guest.runner.start(("sh", "-c", GUEST_LOOP, guest.nic.name))
        try:
            wait_until(
                lambda: guest.runner.run(("test", "-e", DONE), check=False).ok,
                what=f"{RESETS} resets",
                deadline_s=1800,
                interval_s=2,
            )
        finally:
            resets.stop()
        host.run(("touch", DONE))
        took = [int(us) / 1000 for us in beside.wait().stdout.split()]
    finally:
        beside.stop()
    number, held_ms, longest_ms = host.run(("sh", "-c", HELD), timeout_s=120).stdout.split()
    print(  # noqa: T201 - pytest shows it
        f"{mode}: {len(took)} devices, mean {sum(took) / len(took):.1f} ms, longest "
        f"{max(took):.1f} ms; RTNL held by others {number} times, {held_ms} ms, longest "
        f"{longest_ms} ms"
    )


@pytest.mark.parametrize("mode", ["vhost", "zerocopy"])
def test_a_thousand_resets_change_no_link_and_leave_no_page_pinned(
    mode: ModeName, lab: Lab, artifacts: Artifacts
) -> None:
    with opened(lab, artifacts, offloads="off") as session:
        host, before = session.host, pinned_pages(session.host)
        carrier = f"/sys/class/net/{session.nic}/carrier_changes"
        with running_guest(session, boot_in(mode)) as guest:
            changes = read_text(host, carrier)
            host.run(("sh", "-ec", PROBES))
            try:
                reset_in_a_loop(guest, host, mode)
            finally:
                host.run(("sh", "-c", UNPROBE), check=False)
            assert read_text(host, carrier) == changes
        wait_until(
            lambda: pinned_pages(host) == before,
            what=f"no more than {before} pages to be pinned, as before",
            deadline_s=20,
        )
