"""What is frozen of the time is frozen for a recording, and not for its whole boot.

Nothing asks for more: a lane's times rise within a recording, a retry sends the same bytes, and
each part's bound holds. A recording that begins after the time became better known has it right
from its first row on; frozen for the boot, it would be led over from the worse time of the one
before.
"""

from __future__ import annotations

from recorder.clock import Mapping
from recorder.record import Anchor
from recorder.time_model import TimeModel
from recorder.upload.frozen import Frozen

S = 1_000_000_000
UTC = 1_790_000_000 * S
#: By how much the first source is off, within its bound.
OFF_NS, BOUND_NS = 600_000_000, 700_000_000
END = 60 * S


def truth(boot: int) -> int:
    return UTC + boot


def anchor(at_s: int, off_ns: int, bound_ns: int, source: str) -> Anchor:
    boot = at_s * S
    return Anchor(boot, boot, truth(boot) + off_ns, bound_ns, source)


WORSE = [anchor(at_s, OFF_NS, BOUND_NS, "ntp") for at_s in range(1, 60, 10)]
BETTER = [anchor(at_s, 0, 50_000, "pps") for at_s in range(60, 120, 10)]


def worst(mapping: Mapping, first: int, last: int) -> int:
    step = (last - first) // 50
    return max(abs(mapping.utc_ns(boot) - truth(boot)) for boot in range(first, last + 1, step))


def test_a_recording_that_follows_has_the_better_time_at_once_and_both_keep_their_bounds() -> None:
    first = Frozen([]).extended(TimeModel(WORSE), 0, END)
    known = TimeModel([*WORSE, *BETTER])
    second = Frozen([]).extended(known, END + 1, 2 * END)
    assert worst(first, 0, END) <= (first.uncertainty_ns or 0)
    assert worst(second, END + 1, 2 * END) <= (second.uncertainty_ns or 0)
    assert (first.source, second.source) == ("ntp", "pps")
    assert worst(second, END + 1, 2 * END) < 1_000_000
    # So the two recordings' times overlap by as much as the first was off.
    assert 0 < first.utc_ns(END) - second.utc_ns(END + 1) <= first.uncertainty_ns  # type: ignore[operator]  # not None, as above


def test_frozen_for_the_boot_the_second_would_inherit_what_the_first_was_off() -> None:
    first = Frozen([]).extended(TimeModel(WORSE), 0, END)
    known = TimeModel([*WORSE, *BETTER])
    inherited = Frozen([first]).extended(known, END + 1, 2 * END)
    own = Frozen([]).extended(known, END + 1, 2 * END)
    assert worst(inherited, END + 1, 2 * END) > 100 * worst(own, END + 1, 2 * END)
    assert (inherited.uncertainty_ns or 0) > 100 * (own.uncertainty_ns or 0)
