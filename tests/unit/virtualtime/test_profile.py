"""Self-cost by symbol, with lines of a real System.map."""

from __future__ import annotations

from pathlib import Path

import pytest

from zclab.errors import ParseError
from zclab.host.cpu import Roles
from zclab.runs.profiles import Movement, difference
from zclab.virtualtime.account import Context, Mark
from zclab.virtualtime.profile import Symbols, profile

SYSTEM_MAP = (Path(__file__).parents[2] / "data/account/System.map").read_text()
ROLES = Roles(qemu_pid=100, nic="eth0", peer_nic="eth1")
MARK_WRITE = 0xFFFFFFFF811EAD20


def context(pid: int, comm: str, tgid: int = 1, **counts: object) -> Context:
    empty = {"kernel": 0, "user": 0, "guest_kernel": 0, "guest_user": 0, "exits": ()}
    symbols: dict[str, object] = {"host_symbols": {}, "guest_symbols": {}}
    return Context(pid=pid, tgid=tgid, comm=comm, **{**empty, **symbols, **counts})


def mark(*contexts: Context) -> Mark:
    insns = sum(one.insns for one in contexts)
    return Mark(mark="a..b", insns=insns, idle_ns=0, contexts=contexts)


def test_an_address_is_in_the_symbol_before_it() -> None:
    symbols = Symbols(SYSTEM_MAP)

    assert symbols.of(MARK_WRITE) == "tracing_mark_write"
    assert symbols.of(MARK_WRITE + 5) == "tracing_mark_write"
    assert symbols.of(0) == "[unknown]"


def test_parts_that_the_compiler_split_off_are_their_functions() -> None:
    symbols = Symbols("ffffffff81000000 t a.cold\nffffffff81000010 t b.constprop.0.isra.0\n")

    assert symbols.of(0xFFFFFFFF81000001) == "a"
    assert symbols.of(0xFFFFFFFF81000011) == "b"


def test_of_two_names_of_an_address_the_first_is_taken() -> None:
    assert Symbols(SYSTEM_MAP).of(0xFFFFFFFF81000000) == "_stext"


def test_a_map_without_symbols_is_an_error() -> None:
    with pytest.raises(ParseError, match=r"System\.map: no line"):
        Symbols("")


def test_the_same_symbol_in_host_and_guest_is_two() -> None:
    vcpu = context(
        101,
        "CPU 0/KVM",
        tgid=100,
        kernel=7,
        user=2,
        guest_kernel=5,
        guest_user=3,
        host_symbols={f"{MARK_WRITE:x}": 7},
        guest_symbols={f"{MARK_WRITE:x}": 5},
    )
    vhost = context(102, "vhost-100", tgid=100, kernel=4, host_symbols={f"{MARK_WRITE + 1:x}": 4})

    counts = profile(mark(vcpu, vhost), ROLES, Symbols(SYSTEM_MAP))

    assert counts == {
        ("kvm", "tracing_mark_write"): 7,
        ("qemu", "[user]"): 2,
        ("guest", "tracing_mark_write"): 5,
        ("guest", "[user]"): 3,
        ("vhost", "tracing_mark_write"): 4,
    }


def test_symbols_that_are_not_the_account_are_rejected() -> None:
    wrong = mark(context(1, "init", kernel=2, host_symbols={f"{MARK_WRITE:x}": 1}))

    with pytest.raises(ParseError, match="symbols of 'init' are not the 2 instructions"):
        profile(wrong, ROLES, Symbols(SYSTEM_MAP))


def test_accounts_without_a_profile_say_how_to_get_one() -> None:
    light = mark(context(1, "init", kernel=2, host_symbols=None, guest_symbols=None))

    with pytest.raises(ParseError, match="run with profile=on"):
        profile(light, ROLES, Symbols(SYSTEM_MAP))


def test_the_largest_movers_come_first() -> None:
    base = {("vhost", "handle_rx"): 1780, ("guest", "tcp_v4_rcv"): 2430, ("vhost", "gone"): 100}
    head = {("vhost", "handle_rx"): 4560, ("guest", "tcp_v4_rcv"): 4860, ("kvm", "new"): 400}

    moved = difference(base, head, base_units=10, head_units=20)

    assert moved == [
        Movement(component="vhost", symbol="handle_rx", base=178, head=228),
        Movement(component="kvm", symbol="new", base=0, head=20),
        Movement(component="vhost", symbol="gone", base=10, head=0),
        Movement(component="guest", symbol="tcp_v4_rcv", base=243, head=243),
    ]
    assert [one.change for one in moved] == [50, 20, -10, 0]
