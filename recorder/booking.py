"""What a lane books for each sample and each silence: how many were due, and who lost them.

Pure arithmetic on `recorder.lane_state.LaneState`. A slot is a moment at which the device had to
give a sample. Slots are counted by the device's own numbers where it has any, else by its time;
both are exact as long as the device's clock is. Booking a silence moves the last slot forward, so
that the sample that ends it is counted from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recorder.lane_state import NO_COUNTER, LaneState

if TYPE_CHECKING:
    from drivers.base import Sample

#: A device may take so long after its start, or after that of a session, until it is due.
START_ALLOWANCE_NS = 5_000_000_000
#: A device that gives nothing for so long, and for three periods, is booked as absent.
SILENCE_NS = 1_000_000_000
#: At the end a last sample may be so late, and three periods, without a slot having been missed.
LATE_NS = 100_000_000
#: Before a stretch of samples has lasted so long, its period is less certain than the former one's:
#: both ends are known to a quarter of a period or so, and a gap is some hundred periods long.
SETTLED_NS = 2_000_000_000
#: A device's number is believed if it agrees with the time to so many slots, or this share.
_COUNTER_SLOTS, _COUNTER_SHARE = 2, 0.05


class Booking:
    """The account of one lane's process.

    Args:
        state: where the last process of this lane stopped, from the ring.
        period_ns: the contract's distance between two samples.
        started_boot_ns: since when a device that never came is due: when the ring was made.
        required: whether an absent device is due all the same.
    """

    def __init__(
        self, state: LaneState, period_ns: int, started_boot_ns: int, *, required: bool
    ) -> None:
        self.state = replace(state, ended_boot_ns=0)
        self._contract_ns = period_ns
        self._started_boot_ns = started_boot_ns
        self._required = required
        #: Whether the device was closed since its last sample; its losses are then an absence.
        self.is_away = True
        self._since_boot_ns = 0  # the first sample since then
        self._former_period_ns = 0  # the device's measured period before that

    def sample(self, sample: Sample) -> LaneState:
        """Book a sample and what is missing before it; return the counts with it included."""
        state = self.state
        missed = self._missed(sample) if state.boot_ns else 0
        losses = state.losses
        if self.is_away:
            losses = replace(losses, absent=losses.absent + missed)
        else:
            losses = replace(losses, source=losses.source + missed)
        counter = NO_COUNTER if sample.counter is None else sample.counter + sample.rows - 1
        if self.is_away:
            self._since_boot_ns, self._former_period_ns = sample.boot_ns, state.period_ns
        self.is_away = False
        period_ns = self._period_ns(sample)
        self.state = replace(
            state,
            expected=state.expected + missed + sample.rows,
            boot_ns=sample.boot_ns + (sample.rows - 1) * period_ns,
            period_ns=period_ns,
            counter=counter,
            losses=losses,
        )
        return self.state

    def _period_ns(self, sample: Sample) -> int:
        is_settled = sample.boot_ns - self._since_boot_ns >= SETTLED_NS
        if sample.period_ns and (is_settled or not self._former_period_ns):
            return sample.period_ns
        return self.state.period_ns

    def _missed(self, sample: Sample) -> int:
        state = self.state
        # The former period: right after a take-over the device's own is only roughly known.
        period_ns = state.period_ns or sample.period_ns or self._contract_ns
        by_time = max(round((sample.boot_ns - state.boot_ns) / period_ns) - 1, 0)
        if sample.counter is not None and state.counter != NO_COUNTER:
            by_counter = sample.counter - state.counter - 1
            slack = max(_COUNTER_SLOTS, by_time * _COUNTER_SHARE)
            if by_counter >= 0 and abs(by_counter - by_time) <= slack:
                return by_counter
        is_burst = sample.period_ns > 0
        return 0 if is_burst and not sample.gap and not self.is_away else by_time

    def silence(self, now_boot_ns: int) -> int:
        """Book the slots that passed without a sample, if it was quiet for long enough.

        Returns:
            How many were booked, as absent. The last slot is left open, so that a late sample is
            never counted twice.
        """
        state = self.state
        if not state.boot_ns:
            late = now_boot_ns - self._started_boot_ns > START_ALLOWANCE_NS
            if not (late and self._required):
                return 0
            state = replace(state, boot_ns=self._started_boot_ns)
        period_ns = state.period_ns or self._contract_ns
        quiet_ns = now_boot_ns - state.boot_ns
        if quiet_ns < max(SILENCE_NS, 3 * period_ns):
            return 0
        return self._book_absent(state, quiet_ns // period_ns - 1)

    def end(self, told_boot_ns: int) -> None:
        """Book what was due until the lane was told to end, in a silence short of `SILENCE_NS`."""
        self.silence(told_boot_ns)
        state = self.state
        period_ns = state.period_ns or self._contract_ns
        quiet_ns = told_boot_ns - state.boot_ns
        if state.boot_ns and quiet_ns >= max(LATE_NS, 3 * period_ns):
            self._book_absent(state, quiet_ns // period_ns - 1)
        self.state = replace(self.state, ended_boot_ns=told_boot_ns)

    def _book_absent(self, state: LaneState, slots: int) -> int:
        period_ns = state.period_ns or self._contract_ns
        counter = state.counter if state.counter == NO_COUNTER else state.counter + slots
        self.state = replace(
            state,
            expected=state.expected + slots,
            boot_ns=state.boot_ns + slots * period_ns,
            counter=counter,
            losses=replace(state.losses, absent=state.losses.absent + slots),
        )
        return slots

    def broken(self, samples: int) -> None:
        """Book samples that came and could not be understood; their slots pass with them."""
        state = self.state
        period_ns = state.period_ns or self._contract_ns
        counter = state.counter if state.counter == NO_COUNTER else state.counter + samples
        self.state = replace(
            state,
            expected=state.expected + samples,
            boot_ns=state.boot_ns + samples * period_ns if state.boot_ns else 0,
            counter=counter,
            losses=replace(state.losses, broken=state.losses.broken + samples),
        )
