"""What a lane books for each sample and each silence: how many were due, and who lost them.

Pure arithmetic on `recorder.lane_state.LaneState`. A slot is a moment at which the device had to
give a sample. Slots are counted

    by the device's own numbers, where it has any and they agree with its time;
    by its bursts' lengths, where it says when it lost rows (FIFO);
    else by a slot tracker: each sample goes into the slot nearest to its time, and the slots follow
    the samples slowly, so that neither jitter nor a clock within its tolerance makes or takes one.

The contract bounds them all: a device that is slower than its tolerance allows owes what it does
not give. A lane without a rate (events) owes nothing but what its own numbers show. Booking a
silence moves the last slot forward, so that the sample that ends it is counted from there. What a
device kept during a silence and gives late fills slots that were booked as absent: these are taken
back, and nothing more is due. A sample is late by its own number, or by its time.

A sample whose number says that fewer are missing than its time does was stamped late, or the device
lost what it had not numbered. The next ones tell: for a second the slots go by the numbers, and
what the time is then still ahead of them is missing.

Source of the tracker and of its gains: simulated for jitter of 20 % of the period and clocks off by
1.2 %; `tests/recorder/test_slot_tracker.py` has the cases.
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
#: How much of a sample's distance from its slot the slots follow, once they are settled, and less
#: before: 1/2 at the first sample, 1/3 at the next … Their period follows by half its square.
_GAIN = 0.02
#: A sample too many, between two slots, stands for one too few beside it; so many at most.
_MOST_SPARE = 2


class Booking:
    """The account of one lane's process.

    Args:
        state: where the last process of this lane stopped, from the ring.
        period_ns: the contract's distance between two samples; 0: samples come when they come.
        started_boot_ns: since when a device that never came is due: when the ring was made.
        required: whether an absent device is due all the same.
        tolerance: how far the device's clock may be off, as a fraction.
    """

    def __init__(
        self,
        state: LaneState,
        period_ns: int,
        started_boot_ns: int,
        *,
        required: bool,
        tolerance: float,
    ) -> None:
        self.state = replace(state, ended_boot_ns=0)
        self._contract_ns = period_ns
        self._least_ns, self._most_ns = period_ns / (1 + tolerance), period_ns * (1 + tolerance)
        self._started_boot_ns = started_boot_ns
        self._required = required
        #: Whether the device was closed since its last sample; its losses are then an absence.
        self.is_away = True
        self._since_boot_ns = 0  # the first sample since then
        self._former_period_ns = 0  # the device's measured period before that
        self._tracked_ns = float(state.period_ns or period_ns)  # finer than the state's whole ns
        self._followed = 0  # samples that the slots followed
        self._spare = 0
        self._doubted = 0  # slots that a sample's time had passed, and its number had not
        self._doubted_boot_ns = 0  # since when
        self._owed = 0.0  # slots that a slow device did not fill so far and that are not booked
        self._was_silent = True  # no sample came on time since a silence was booked

    def sample(self, sample: Sample) -> LaneState:
        """Book a sample and what is missing before it; return the counts with it included."""
        late = self._late(sample)
        if late:
            return self._fill(sample, min(late, sample.rows))
        state = self.state
        is_tracked = sample.counter is None and not sample.period_ns and self._contract_ns > 0
        if is_tracked:
            missed, boot_ns, period_ns = self._track(sample)
        else:
            missed, boot_ns = self._missed(sample) if state.boot_ns else (0, sample.boot_ns)
            period_ns = self._period_ns(sample)
        losses = state.losses
        if self.is_away:
            losses = replace(losses, absent=losses.absent + missed)
            self._since_boot_ns, self._former_period_ns = sample.boot_ns, state.period_ns
        else:
            losses = replace(losses, source=losses.source + missed)
        self.is_away = False
        self.state = replace(
            state,
            expected=state.expected + missed + sample.rows,
            boot_ns=boot_ns + (sample.rows - 1) * period_ns,
            period_ns=period_ns,
            counter=NO_COUNTER if sample.counter is None else sample.counter + sample.rows - 1,
            losses=losses,
            # The first of many that come at once is stamped on time.
            silent=state.silent if self._was_silent else 0,
        )
        self._was_silent = False
        return self.state

    def _late(self, sample: Sample) -> int:
        """Return by how many slots a sample comes behind what a silence was booked for; 0: none.

        A device that was closed meanwhile may count from anywhere: then its time decides.
        """
        state = self.state
        if not state.silent:
            return 0
        by_counter = self._by_counter(sample)
        if by_counter is not None and -by_counter <= state.silent and not self.is_away:
            return max(-by_counter, 0)
        period_ns = state.period_ns or self._contract_ns
        by_time = 1 - round((sample.boot_ns - state.boot_ns) / period_ns)
        return min(max(by_time, 0), state.silent)

    def _fill(self, sample: Sample, filled: int) -> LaneState:
        """Book a sample of which so many rows were counted as absent while they were kept."""
        state, rest = self.state, sample.rows - filled
        if self.is_away:
            self._since_boot_ns, self._former_period_ns = sample.boot_ns, state.period_ns
        self.is_away = False
        counter = state.counter
        if rest and sample.counter is not None:
            counter = sample.counter + sample.rows - 1
        last_ns = sample.boot_ns + (sample.rows - 1) * sample.period_ns
        self.state = replace(
            state,
            expected=state.expected + rest,
            boot_ns=max(state.boot_ns, last_ns) if rest else state.boot_ns,
            counter=counter,
            losses=replace(state.losses, absent=state.losses.absent - filled),
            silent=state.silent - filled,
        )
        return self.state

    def _track(self, sample: Sample) -> tuple[int, int, int]:
        """Return the slots missed before a sample, the time of its slot, and the slots' period."""
        last_ns, period_ns = self.state.boot_ns, self._tracked_ns
        if not last_ns:
            return 0, sample.boot_ns, round(period_ns)
        slots = max(round((sample.boot_ns - last_ns) / period_ns), 0)
        if self.is_away:
            self._spare = 0
            return max(slots - 1, 0), sample.boot_ns, round(period_ns)
        slot_ns = last_ns + slots * period_ns
        off_ns = sample.boot_ns - slot_ns
        gain = max(_GAIN, 1 / (2 + self._followed))
        self._followed += 1
        if slots == 1:  # across a gap nobody knows what the device's clock did
            tracked_ns = period_ns + gain * gain / 2 * off_ns
            self._tracked_ns = min(max(tracked_ns, self._least_ns), self._most_ns)
        if not slots:
            self._spare = min(self._spare + 1, _MOST_SPARE)
        filled = min(max(slots - 1, 0), self._spare)
        self._spare -= filled
        missed = max(slots - 1, 0) - filled
        return missed, round(slot_ns + gain * off_ns), round(self._tracked_ns)

    def _period_ns(self, sample: Sample) -> int:
        is_settled = sample.boot_ns - self._since_boot_ns >= SETTLED_NS
        if sample.period_ns and (is_settled or not self._former_period_ns):
            return sample.period_ns
        return self.state.period_ns

    def _missed(self, sample: Sample) -> tuple[int, int]:
        """Return the slots missed before a sample, and the time of its own."""
        state = self.state
        by_counter = self._by_counter(sample)
        if not self._contract_ns:
            return max(by_counter or 0, 0), sample.boot_ns
        # The former period: right after a take-over the device's own is only roughly known.
        period_ns = state.period_ns or sample.period_ns or self._contract_ns
        passed_ns = sample.boot_ns - state.boot_ns
        by_time = max(round(passed_ns / period_ns) - 1, 0)
        if by_counter is not None and by_counter >= 0:
            over = by_time - by_counter
            if abs(over) <= max(_COUNTER_SLOTS, by_time * _COUNTER_SHARE):
                self._doubted = 0
                return by_counter + self._short(passed_ns, by_counter + 1), sample.boot_ns
            if over > 0 and not self.is_away and passed_ns < SILENCE_NS:
                if not self._doubted:
                    self._doubted, self._doubted_boot_ns = over, sample.boot_ns
                if sample.boot_ns - self._doubted_boot_ns < SILENCE_NS:
                    return by_counter, state.boot_ns + (by_counter + 1) * period_ns
                by_time = by_counter + min(self._doubted, over)
        self._doubted = 0
        if sample.period_ns and not sample.gap and not self.is_away:
            rows_ns = (sample.rows - 1) * sample.period_ns
            return self._short(passed_ns + rows_ns, sample.rows), sample.boot_ns
        self._owed = 0.0
        return by_time, sample.boot_ns

    def _by_counter(self, sample: Sample) -> int | None:
        """Return what the device's own numbers say is missing, or None if it has none."""
        if sample.counter is None or self.state.counter == NO_COUNTER:
            return None
        return sample.counter - self.state.counter - 1

    def _short(self, passed_ns: float, slots: int) -> int:
        """Return the slots that a device slower than its tolerance owes by now.

        By the second, and then all of them: a sample that is only stamped late owes nothing.
        """
        if self.is_away:
            self._owed = 0.0
            return 0
        self._owed = max(self._owed + passed_ns / self._most_ns - slots, 0.0)
        if self._owed < max(_COUNTER_SLOTS, SILENCE_NS / self._most_ns):
            return 0
        short = int(self._owed)
        self._owed -= short
        return short

    def silence(self, now_boot_ns: int) -> int:
        """Book the slots that passed without a sample, if it was quiet for long enough.

        Returns:
            How many were booked, as absent. The last slot is left open, so that a late sample is
            never counted twice.
        """
        state = self.state
        if not self._contract_ns:
            return 0
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
        if period_ns and state.boot_ns and quiet_ns >= max(LATE_NS, 3 * period_ns):
            self._book_absent(state, quiet_ns // period_ns - 1)
        self.state = replace(self.state, ended_boot_ns=told_boot_ns)

    def _book_absent(self, state: LaneState, slots: int) -> int:
        period_ns = state.period_ns or self._contract_ns
        numbered = slots - min(self._doubted, slots)
        counter = state.counter if state.counter == NO_COUNTER else state.counter + numbered
        self.state = replace(
            state,
            expected=state.expected + slots,
            boot_ns=state.boot_ns + slots * period_ns,
            counter=counter,
            losses=replace(state.losses, absent=state.losses.absent + slots),
            silent=slots + (state.silent if self._was_silent else 0),
        )
        self._was_silent, self._doubted = True, 0
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
