"""A host that only ssh's own configuration says how to reach is driven like any other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.lab.bench import run
from tests.sshd import keygen, public, sshd
from zclab.build.cache import cache_dir
from zclab.documents import draft
from zclab.documents.labs import load_lab
from zclab.experiment import survey
from zclab.experiment.survey import Hosts
from zclab.lab import emulated
from zclab.lab.access import Access
from zclab.lab.artifacts import Artifacts
from zclab.model import Endpoint, Lab
from zclab.runs.plan import select_workloads
from zclab.tasks.labs import ssh_argv

pytestmark = pytest.mark.lab


def test_an_ssh_lab_that_the_doctor_wrote_is_driven_through_an_alias_and_a_jump_host(
    lab: Lab,
    artifacts: Artifacts,
    lab_up: Access,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands, copies, libvirt and the guest's own connection go that way, and lab-ssh does.

    The doctor finds the cable between the host's two NICs, and leaves them as they were.
    """
    monkeypatch.setenv("ZCLAB_CACHE", str(cache_dir()))
    monkeypatch.setenv("ZCLAB_STATE", str(emulated.root()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / ".ssh"
    folder.mkdir(parents=True, mode=0o700)
    assert lab_up.endpoint
    with sshd(tmp_path / "jump") as jump:
        jump.authorize(public(keygen(folder / "jump_key")))
        (folder / "known").write_text(jump.known + (lab_up.folder / "known_hosts").read_text())
        (folder / "config").write_text(
            f"Host hypervisor\n  HostName {lab_up.endpoint.address}\n"
            f"  Port {lab_up.endpoint.port}\n  IdentityFile {lab_up.folder}/id_ed25519\n"
            f"  ProxyJump bastion\n"
            f"Host bastion\n  HostName {jump.address}\n  Port {jump.port}\n"
            f"  IdentityFile {folder}/jump_key\n"
            f"Host *\n  UserKnownHostsFile {folder}/known\n"
        )
        (folder / "config").chmod(0o600)
        monkeypatch.setattr(draft, "LABS", tmp_path)
        name = f"{lab.name}-alias"
        survey.report((), Hosts(host=Endpoint(address="hypervisor")), name=name)
        ssh_lab = load_lab(str(tmp_path / f"{name}.yaml"))
        assert (ssh_lab.nic, ssh_lab.peer) == (lab.nic, lab.peer)
        workloads = select_workloads(names=("TCP_RR",), duration_s=1.0)

        results = run(ssh_lab, artifacts, tmp_path / "run", modes=("vhost",), workloads=workloads)

        assert [(t.mode, t.status, t.reason) for t in results.trials] == [("vhost", "ok", None)]
        by_hand = ssh_argv(emulated.folder_of(ssh_lab.name), "hypervisor", "uname -r")
        done = subprocess.run(by_hand, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == results.provenance.versions["host_kernel"]
        # Of the commands, of libvirt's tunnel and of lab-ssh.
        assert (jump.folder / "log").read_text().count("Accepted publickey") >= 3
