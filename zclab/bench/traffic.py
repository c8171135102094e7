"""What goes on while a guest is migrated: a stream and transactions that it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from zclab.host import echo
from zclab.runner import Runner, wait_until

BEGINS_S = 90


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """A stream and transactions that a guest answers."""

    stream: echo.Heard
    transactions: echo.Heard

    def check(self) -> None:
        """Raise TrialError where anything came back changed."""
        self.stream.check()
        self.transactions.check()

    def wait_for_more(self, what: str, deadline_s: float) -> None:
        """Wait until more of both came back; TrialError where something else did."""
        stream, answered = self.stream.last.bytes, self.transactions.last.transactions

        def more() -> bool:
            self.check()
            return (
                self.stream.last.bytes > stream and self.transactions.last.transactions > answered
            )

        wait_until(more, what=what, deadline_s=deadline_s)

    @property
    def retransmissions(self) -> int:
        """What the peer has sent again."""
        return self.stream.last.retransmissions + self.transactions.last.retransmissions


@contextmanager
def both_ways(guest: Runner, peer: Runner, address: str, *, megabits: float) -> Iterator[Traffic]:
    """Have a guest at ``address`` answer a peer, until the end."""
    echo.answer(guest)
    traffic = Traffic(stream=echo.Heard("stream"), transactions=echo.Heard("transactions"))
    with ExitStack() as stack:
        kinds: Mapping[echo.Kind, echo.Heard] = {
            "stream": traffic.stream,
            "transactions": traffic.transactions,
        }
        for kind, heard in kinds.items():
            argv = echo.program_argv(kind, address, megabits=megabits)
            process = peer.start(argv, on_output=heard.hear)
            stack.callback(process.stop)
        traffic.wait_for_more("the guest to answer the peer", BEGINS_S)
        yield traffic
