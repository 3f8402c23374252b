"""The judge finds every loss, wrong value and duplicate that nobody told it of."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from recorder.demo.oracle import Produced
from recorder.demo.reconcile import TIME_BOUND_NS, reconcile
from recorder.demo.stored import Row, Stored
from recorder.session.ledger import LaneLedger

CLASSES = {"gps": "GPS", "imu": "IMU", "camera": "CompressedImage"}
SECOND_NS = 1_000_000_000


class Case:
    """A lane of which everything adds up: `count` samples, without those that were told lost.

    Args:
        lane: its name.
        rate_hz: the contract.
        count: samples that the model made.
        lost: which of them are not stored, and are counted.
        quiet: how long the device says nothing before the lane stops, in seconds; when in that
            time the lane counts the silence (0: never); how many slots it counts in all.
    """

    def __init__(self, lane="imu", *, rate_hz=200.0, count=60, lost=(), quiet=(0.0, 0.0, 0)):
        period_ns = round(SECOND_NS / rate_hz)
        quiet_s, looked_s, booked = quiet
        self.produced = [
            Produced(n, at_ns, at_ns, {"a": [math.sin(n)], "b": []})
            for n, at_ns in enumerate(range(SECOND_NS, SECOND_NS + count * period_ns, period_ns))
        ]
        self.rows: list[Row] = []
        self.read: list[dict[str, Any]] = []
        for one in self.produced:
            if one.number not in lost:
                so_far = sum(number < one.number for number in lost)
                self.rows.append(Row(len(self.rows), one.boot_ns, so_far))
                self.read.append(
                    {
                        "class": CLASSES[lane],
                        "timestamp_ns": one.boot_ns + 10**18,
                        "header.sample_counter": len(self.read),
                        "a": math.sin(one.number),
                        "b": None,
                    }
                )
        last_ns = self.produced[-1].boot_ns
        self.stopped_ns = last_ns + round(quiet_s * SECOND_NS)
        self.looked_ns = last_ns + round(looked_s * SECOND_NS) if looked_s else 0
        held, gone = len(self.rows), len(lost) + booked
        self.account = LaneLedger(
            name=lane,
            rate_hz=rate_hz,
            expected=held + gone,
            acquired=held,
            stored=held,
            delivered=held,
            lost_absent=gone,
        )

    def result(self):
        stored = Stored(self.rows, self.account.lost_absent, self.looked_ns, self.stopped_ns)
        return reconcile(self.account, stored, self.produced, self.read)

    def findings(self):
        return " | ".join(self.result().findings)

    def forget(self, at):
        """Lose a row everywhere but in the model, with books that agree with each other."""
        del self.rows[at], self.read[at]
        self.recount()

    def miscount(self, off):
        """Count other losses than there are, from the first one on."""
        self.rows = [dataclasses.replace(r, lost=r.lost + off * (r.lost > 0)) for r in self.rows]
        self.account.lost_absent += off
        self.account.expected += off

    def recount(self):
        held = len(self.rows)
        self.account = dataclasses.replace(
            self.account,
            expected=held + self.account.lost_absent,
            acquired=held,
            stored=held,
            delivered=held,
        )


@pytest.mark.parametrize("lane", ["gps", "imu", "camera"])
def test_what_adds_up_has_no_finding(lane):
    result = Case(lane, rate_hz=10.0, lost=(20, 21, 22)).result()
    assert result.findings == []
    assert (result.produced, result.stored, result.silent) == (60, 57, 0)
    assert (result.values, result.wrong, result.time_error_ms) == (114, 0, 0)


@pytest.mark.parametrize("at", [0, 1, 30, 58, 59])
def test_a_row_that_was_dropped_in_silence_is_found(at):
    case = Case()
    case.forget(at)
    assert "counted as lost" in case.findings()


@pytest.mark.parametrize("off", [-1, 1])
def test_a_count_of_losses_that_is_off_by_one_is_found(off):
    case = Case(lost=(20, 21, 22))
    case.miscount(off)
    assert f"3 produced or due samples are not stored, but {3 + off} are" in case.findings()


@pytest.mark.parametrize("at", [0, 30, 59])
def test_a_value_that_was_changed_is_found_at_its_own_sample(at):
    case = Case()
    case.read[at]["a"] += 1e-6
    assert f"1 values differ, first ['a of sample {at}:" in case.findings()


@pytest.mark.parametrize("value", [None, math.nan])
def test_a_value_that_was_stated_and_is_not_there_is_found(value):
    case = Case()
    case.read[30]["a"] = value
    assert "1 values differ" in case.findings()


def test_a_value_that_nobody_stated_is_found():
    case = Case()
    case.read[30]["b"] = 0.0
    assert "1 values differ, first ['b of sample 30: 0.0, stated []']" in case.findings()


@pytest.mark.parametrize("at", [1, 30, 59])
def test_a_row_that_was_stored_twice_under_two_numbers_is_found(at):
    case = Case()
    case.rows.insert(at, case.rows[at])
    case.read.insert(at, dict(case.read[at]))
    case.rows = [dataclasses.replace(row, seqno=n) for n, row in enumerate(case.rows)]
    for number, row in enumerate(case.read):
        row["header.sample_counter"] = number
    case.recount()
    assert "1 stored rows are at no time of a sample" in case.findings()
    assert "-1 produced or due samples are not stored" in case.findings()


def test_a_number_that_was_stored_twice_is_found():
    case = Case()
    case.rows.insert(30, case.rows[30])
    assert "a number was stored twice" in case.findings()


def test_a_row_that_was_read_back_twice_is_found():
    case = Case()
    case.read.append(case.read[30])
    assert "a row was read back twice" in case.findings()


def test_a_row_that_was_not_read_back_is_found():
    case = Case()
    del case.read[30]
    assert "the numbers read back are not those stored" in case.findings()


def test_two_rows_that_changed_places_are_found():
    case = Case()
    case.read[30]["a"], case.read[31]["a"] = case.read[31]["a"], case.read[30]["a"]
    assert "differ" in case.findings()


@pytest.mark.parametrize("late_ns", [-8_000_000, 8_000_000])
def test_a_burst_that_is_stamped_wrong_within_the_bound_is_only_told(late_ns):
    case = Case(lost=(20, 21, 22))
    for at in range(20, 30):  # the first ones behind a gap
        row = case.rows[at]
        case.rows[at] = dataclasses.replace(row, boot_ns=row.boot_ns + late_ns)
    result = case.result()
    assert result.findings == []
    assert result.time_error_ms == 8.0


def test_a_row_that_is_stamped_further_off_than_the_bound_is_found():
    case = Case("camera", rate_hz=10.0)
    case.rows[30] = dataclasses.replace(
        case.rows[30], boot_ns=case.rows[30].boot_ns + TIME_BOUND_NS["camera"] + 1
    )
    assert "1 stored rows are at no time of a sample" in case.findings()


def test_a_time_on_the_server_that_wanders_is_found():
    case = Case()
    case.read[30]["timestamp_ns"] += 61_000_000
    assert "its times wander by 61.0 ms" in case.findings()


def test_a_silence_inside_is_due_and_must_be_counted():
    case = Case("gps", rate_hz=10.0, lost=(20, 21, 22))
    case.produced = [one for one in case.produced if one.number not in (20, 21, 22)]
    assert (case.result().findings, case.result().silent) == ([], 3)
    case.miscount(-1)
    assert "3 produced or due samples are not stored, but 2 are" in case.findings()


@pytest.mark.parametrize(
    ("quiet_s", "looked_s", "due"),
    [(10.4, 9.5, 8), (11.4, 9.5, 10), (10.4, 0.0, 9), (2.9, 0.0, 0), (3.4, 0.0, 2)],
)
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_a_silence_until_the_end_is_due_slot_by_slot(quiet_s, looked_s, due, off):
    case = Case("gps", rate_hz=1.0, count=5, quiet=(quiet_s, looked_s, due + off))
    found = f"behind the last row {due} were due, but {due + off} are" in case.findings()
    assert found is (off != 0)
    assert case.result().silent == due


def test_a_last_moment_too_short_for_a_slot_is_not_due():
    assert Case(rate_hz=200.0, quiet=(0.09, 0.0, 0)).findings() == ""


def test_the_last_row_lost_before_a_silence_is_not_hidden_by_it():
    case = Case("gps", rate_hz=1.0, count=5, quiet=(10.4, 9.5, 8))
    case.forget(4)
    assert "behind the last row 9 were due, but 8 are" in case.findings()


def test_a_row_lost_before_a_silence_at_the_end_is_not_hidden_by_it():
    case = Case("gps", rate_hz=1.0, count=5, quiet=(10.4, 9.5, 8))
    case.forget(2)
    assert "1 produced or due samples are not stored, but 0 are counted" in case.findings()


def test_samples_behind_the_last_row_must_be_counted():
    case = Case(lost=(58, 59))
    assert case.findings() == ""
    case.account.lost_absent = 1
    assert "behind the last row 2 were due, but 1 are" in case.findings()


def test_a_lane_that_stored_nothing_is_found():
    case = Case(lost=tuple(range(60)))
    assert "nothing was stored" in case.findings()


def test_rows_of_another_class_are_found():
    case = Case()
    case.read[0]["class"] = "Other"
    assert "read back as 'IMU, Other'" in case.findings()


@pytest.mark.parametrize("off", ["stored", "delivered", "expected", "acquired"])
def test_an_account_that_does_not_balance_is_found(off):
    case = Case()
    setattr(case.account, off, getattr(case.account, off) + 1)
    assert case.findings()


def test_a_model_that_was_held_up_is_told_beside_a_finding_and_excuses_none():
    case = Case("gps", rate_hz=10.0)
    case.produced[30] = dataclasses.replace(case.produced[30], pause_ns=61_000_000)
    assert case.findings() == ""
    case.read[30]["a"] = None
    told = case.result().findings
    assert "1 values differ" in told[0]
    assert told[1:] == ["gps: the model itself was held up for 61 ms in sample 30"]


def test_a_sample_that_the_model_made_late_leaves_no_slot_without_one():
    case = Case("gps", rate_hz=10.0)
    late_ns = case.produced[30].boot_ns + 60_000_000
    case.produced[30] = dataclasses.replace(case.produced[30], boot_ns=late_ns)
    case.rows[30] = dataclasses.replace(case.rows[30], boot_ns=late_ns)
    case.read[30]["timestamp_ns"] = late_ns + 10**18
    assert case.findings() == ""


def died(case: Case, made_later: int, counted: int):
    """Let the lane die at its last row while its model goes on; the recording's end counts."""
    stored = Stored(case.rows, 0, 0, 0)
    period_ns = case.produced[1].boot_ns - case.produced[0].boot_ns
    last_ns, first = case.produced[-1].boot_ns, len(case.produced)
    later_ns = [last_ns + (n + 1) * period_ns for n in range(made_later + 50)]
    later = [Produced(first + n, at, at, {"a": [0.0], "b": []}) for n, at in enumerate(later_ns)]
    case.account.lost_absent += counted
    case.account.expected += counted
    ended_ns = last_ns + made_later * period_ns
    produced = [*case.produced, *later]
    return reconcile(case.account, stored, produced, case.read, ended_boot_ns=ended_ns)


def test_what_the_recordings_end_counts_for_a_dead_lane_is_held_against_its_model():
    result = died(Case(), made_later=100, counted=99)
    assert result.findings == []
    assert result.produced == 160  # what the model made after the end is nobody's


@pytest.mark.parametrize("counted", [0, 50, 96])
def test_a_dead_lane_that_is_counted_short_is_found(counted):
    findings = died(Case(), made_later=100, counted=counted).findings
    assert "100 samples were made behind its last row" in " ".join(findings)
