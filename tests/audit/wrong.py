"""Builds whose counts are off on purpose: the audit alone must find each of them out.

Each replaces one thing in the code of this process and puts it back.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from recorder.booking import Booking
from recorder.ring import RingWriter
from recorder.spool import account
from recorder.spool.account import Account
from recorder.spool.left_in_ring import Left, left_in_ring
from recorder.upload import conclusion
from tests.crash.replacing import replaced

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.base import Sample

    Build = Callable[[], contextlib.AbstractContextManager[None]]


def booked(key: str, off: int) -> Build:
    """Return a build whose lanes count a cause of loss wrong whenever there is one."""

    def build() -> contextlib.AbstractContextManager[None]:
        sample, broken = Booking.sample, Booking.broken

        def wrong(one: Booking, before: int) -> None:
            losses = one.state.losses
            if getattr(losses, key) > before:
                counted = replace(losses, **{key: getattr(losses, key) + off})
                one.state = replace(one.state, losses=counted)

        def sampling(one: Booking, *arguments: Any) -> Any:
            before = getattr(one.state.losses, key)
            sample(one, *arguments)
            wrong(one, before)
            return one.state

        def breaking(one: Booking, samples: int) -> None:
            before = getattr(one.state.losses, key)
            broken(one, samples)
            wrong(one, before)

        return replaced((Booking, "sample", sampling), (Booking, "broken", breaking))

    return build


def expects_one_too_few() -> contextlib.AbstractContextManager[None]:
    """A lane expects one sample less than it books, at each gap."""
    sample = Booking.sample

    def sampling(one: Booking, *arguments: Any) -> Any:
        before = one.state.losses.total
        sample(one, *arguments)
        if one.state.losses.total > before:
            one.state = replace(one.state, expected=one.state.expected - 1)
        return one.state

    return replaced((Booking, "sample", sampling))


def counts_every_gap_twice() -> contextlib.AbstractContextManager[None]:
    """A lane books what is missing twice, on both sides of its equation."""
    missed = Booking._missed

    def twice(booking: Booking, sample: Sample) -> tuple[int, int]:
        slots, boot_ns = missed(booking, sample)
        return 2 * slots, boot_ns

    return replaced((Booking, "_missed", twice))


def drops_without_counting() -> contextlib.AbstractContextManager[None]:
    """A ring that is full counts one sample less than it drops."""
    put = RingWriter.put

    def putting(ring: RingWriter, *arguments: Any) -> bool:
        fits = put(ring, *arguments)
        if not fits and arguments[1]:
            losses = ring.state.losses
            ring.note(replace(ring.state, losses=replace(losses, ring=losses.ring - 1)))
        return fits

    return replaced((RingWriter, "put", putting))


def skips_a_number() -> contextlib.AbstractContextManager[None]:
    """A ring gives a number to nobody now and then."""
    put = RingWriter.put

    def putting(ring: RingWriter, *arguments: Any) -> bool:
        fits = put(ring, *arguments)
        if fits and arguments[1] and ring.state.seqno % 7 == 0:
            ring.note(replace(ring.state, seqno=ring.state.seqno + 1))
        return fits

    return replaced((RingWriter, "put", putting))


def keeps(key: str, off: int) -> Build:
    """Return a build whose spool is off by one in one count of a ledger, once for each run."""

    def build() -> contextlib.AbstractContextManager[None]:
        add = Account.add

        def adding(one: Account, piece: Any) -> None:
            add(one, piece)
            setattr(one.ledger, key, getattr(one.ledger, key) + off)

        return replaced((Account, "add", adding))

    return build


def overlooks_a_sample_in_the_ring() -> contextlib.AbstractContextManager[None]:
    """A heartbeat counts one sample less than lies in the ring."""

    def looking(*arguments: Any) -> Left:
        left = left_in_ring(*arguments)
        return left._replace(rows=max(left.rows - 1, 0))

    return replaced((account, "left_in_ring", looking))


def loses_a_tail_in_silence() -> contextlib.AbstractContextManager[None]:
    """After a loss of power nobody counts what the last heartbeat knew of."""
    return replaced((Account, "lose_tail", lambda *_: None))


def delivers_one_too_many() -> contextlib.AbstractContextManager[None]:
    """The uploader's final record counts one sample more than the server holds."""
    settle = conclusion._settle

    def settling(ledger: Any, *arguments: Any) -> None:
        settle(ledger, *arguments)
        ledger.delivered += 1

    return replaced((conclusion, "_settle", settling))


def evicted_counts_as_damaged() -> contextlib.AbstractContextManager[None]:
    """The uploader's final record gives what was given up another cause."""
    settle = conclusion._settle

    def settling(ledger: Any, *arguments: Any) -> None:
        settle(ledger, *arguments)
        ledger.lost_crc += ledger.lost_evicted
        ledger.lost_evicted = 0

    return replaced((conclusion, "_settle", settling))


#: Found by lives without a server.
BUILDS: dict[str, Build] = {
    "source +1": booked("source", 1),
    "source -1": booked("source", -1),
    "absent +1": booked("absent", 1),
    "broken -1": booked("broken", -1),
    **{
        f"{key} {off:+d}": keeps(key, off)
        for key in ("expected", "acquired", "stored", "pending", "lost_source", "lost_ring")
        for off in (1, -1)
    },
    "lost_crc +1": keeps("lost_crc", 1),
    **{
        one.__name__: one
        for one in (
            expects_one_too_few,
            counts_every_gap_twice,
            drops_without_counting,
            skips_a_number,
            overlooks_a_sample_in_the_ring,
        )
    },
}
#: Found by uploads.
UPLOAD_BUILDS: dict[str, Build] = {
    one.__name__: one for one in (delivers_one_too_many, evicted_counts_as_damaged)
}
