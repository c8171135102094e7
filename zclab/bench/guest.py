"""A guest in a mode, from its boot until it answers; everything is undone at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zclab.errors import CommandError
from zclab.host import cpu, domain
from zclab.host.guest import GuestNic, configure, find_nic
from zclab.lab.session import Session
from zclab.model import Workload
from zclab.modes import MODES
from zclab.modes.base import Attachment, Mode
from zclab.outside import whole_number
from zclab.runner import Runner, SshRunner, read_text, wait_until
from zclab.runs.plan import Boot

GUEST_DEADLINE_S = 240
"""From power-on to an SSH login: 11 to 15 s on an idle controller of two cores, more than 100 s on
one that does three other things."""


@dataclass(frozen=True, kw_only=True)
class RunningGuest:
    """A guest that answers, in a mode."""

    session: Session
    domain: domain.Domain
    mode: Mode
    attachment: Attachment
    runner: SshRunner
    nic: GuestNic
    roles: cpu.Roles

    def sender(self, workload: Workload) -> tuple[Runner, str]:
        """Return who runs netperf for a workload, and the address of the other side."""
        network = self.session.lab.network
        if workload.direction == "tx":
            return self.runner, network.peer_ip
        return self.session.peer, network.guest_ip


@contextmanager
def running_guest(session: Session, boot: Boot) -> Iterator[RunningGuest]:
    """Boot a guest in a mode and make it ready for traffic; everything is undone at the end."""
    mode = MODES[boot.mode]
    lab = session.lab
    with mode.attach(session) as attachment:
        name = session.names.guest(boot.mode)
        files = session.guest_files
        xml = domain.domain_xml(
            name,
            lab.guest,
            files,
            session.names.management,
            attachment.device,
            libvirt_version=session.libvirt.version,
            migratable=session.migratable,
        )
        session.host.run(("rm", "-f", files.console_log))
        console = session.host.start(
            ("tail", "-s", "0.2", "-F", files.console_log),
            on_output=session.watcher.sink(f"guest in mode {boot.mode}"),
        )
        try:
            with domain.running(session.libvirt, xml) as guest:
                runner = session.access.guest_runner(session.host)
                try:
                    _wait_for_login(guest, runner)
                    nic = find_nic(runner, session.mac)
                    configure(
                        runner,
                        nic,
                        lab.network,
                        mtu=session.mtu,
                        offloads=session.offloads,
                        rx_usecs=lab.tunables.rx_usecs,
                    )
                    pidfile = f"/run/libvirt/qemu/{name}.pid"
                    pid = whole_number(read_text(session.host, pidfile), pidfile)
                    yield RunningGuest(
                        session=session,
                        domain=guest,
                        mode=mode,
                        attachment=attachment,
                        runner=runner,
                        nic=nic,
                        roles=cpu.Roles(
                            qemu_pid=pid, nic=attachment.nic, peer_nic=session.peer_nic
                        ),
                    )
                except CommandError as exc:
                    raise CommandError(f"{exc}{_last_words(session, guest)}") from exc
                finally:
                    runner.close()
        finally:
            console.stop()


def _wait_for_login(guest: domain.Domain, runner: SshRunner) -> None:
    """Wait for the guest's SSH server; CommandError has why the last attempt failed."""
    problem = ""

    def answers() -> bool:
        nonlocal problem
        if not guest.is_active():
            raise CommandError(f"{guest.name} ended while it was booting")
        try:
            runner.connect()
        except CommandError as exc:
            problem = str(exc)
            return False
        return True

    try:
        wait_until(answers, what=f"{guest.name} to answer", deadline_s=GUEST_DEADLINE_S)
    except CommandError as exc:
        raise CommandError(f"{exc}; {problem}") from exc


def _last_words(session: Session, guest: domain.Domain) -> str:
    """Return what is left of a guest: the ends of its console and of QEMU's and libvirt's log."""
    lines = ["", f"{guest.name} {'still runs' if guest.is_active() else 'has ended'}"]
    for what, log, count in (
        ("the guest's console", session.guest_files.console_log, 15),
        ("the guest's QEMU", f"{domain.QEMU_LOGS}/{guest.name}.log", 3),
    ):
        try:
            end = session.host.run(("tail", "-n", str(count), log), check=False).stdout
        except CommandError as exc:
            end = str(exc)
        lines += [f"{what}:", *(f"  {line}" for line in end.splitlines())]
    return "\n".join(lines)
