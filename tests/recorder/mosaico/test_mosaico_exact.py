"""What Arrow would turn into another value in silence is an error of that row, by the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pyarrow as pa
import pytest

from recorder.mosaico import Floating64, Integer64, Message, TopicLevelErrorPolicy, rows
from recorder.mosaico.encode import batch
from recorder.mosaico.ontology import schema_of

LARGEST = 2.0**128 - 2.0**104  # of float32
HALFWAY = 2.0**128 - 2.0**103  # to what would be the next one: rounded to infinity


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    volts: Annotated[float, pa.float32()] | None = None
    watts: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    ontology_tag: ClassVar[str] = "Cell"
    volts: Annotated[float, pa.float32()]
    half: Annotated[float, pa.float16()] | None = None
    watts: float | None = None
    count: int | None = None
    many: list[Annotated[float, pa.float32()]] | None = None
    part: Part | None = None


CELL = schema_of(Cell)
BEYOND: dict[str, Any] = {
    "volts": {"volts": 1e39},
    "volts ": {"volts": -HALFWAY},
    "half": {"volts": 1.0, "half": 65_520.0},
    "many[]": {"volts": 1.0, "many": [0.5, 1e300]},
    "part.volts": {"volts": 1.0, "part": Part(volts=1e39)},
}
YES: Any = True
TRUTHS: dict[str, Any] = {
    "volts": {"volts": YES},
    "watts": {"volts": 1.0, "watts": YES},
    "count": {"volts": 1.0, "count": YES},
    "many[]": {"volts": 1.0, "many": [0.5, False]},
    "part.watts": {"volts": 1.0, "part": Part(watts=YES)},
}
GOOD = Cell(volts=LARGEST, half=65_504.0, watts=1e300, count=1, many=[math.inf])


class Sulking(float):
    """A number that cannot be used as one."""

    def __abs__(self) -> float:
        raise RuntimeError("not today")


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel whose period is worked out whenever it is asked for."""

    ontology_tag: ClassVar[str] = "Wheel"
    turns_hz: float
    period_s: float = field(init=False)

    def __getattr__(self, _name: str) -> float:
        return 1 / self.turns_hz


@dataclass(frozen=True, kw_only=True, slots=True)
class Axle:
    ontology_tag: ClassVar[str] = "Axle"
    left: Wheel


def one(**values: Any) -> Message:
    return Message(timestamp_ns=2, data=Cell(**values))


@pytest.mark.parametrize("place", BEYOND)
def test_a_number_beyond_its_columns_range_is_named_with_its_column(place):
    with pytest.raises(ValueError, match=r"is beyond the range of (float|halffloat)") as told:
        batch([Message(timestamp_ns=1, data=GOOD), one(**BEYOND[place])], CELL)
    assert str(told.value).startswith(f"{place.strip()}: ")


@pytest.mark.parametrize("place", TRUTHS)
def test_a_truth_value_is_no_number(place):
    with pytest.raises(ValueError, match=r"is no number|got bool") as told:
        batch([Message(timestamp_ns=1, data=GOOD), one(**TRUTHS[place])], CELL)
    assert str(told.value).startswith(f"{place.strip()}: ")


def test_what_fits_is_taken_as_it_is_infinite_numbers_too():
    made = batch(
        [one(volts=sign * value) for value in (LARGEST, math.inf) for sign in (1, -1)], CELL
    )
    assert made.column("volts").to_pylist() == [LARGEST, -LARGEST, math.inf, -math.inf]
    assert math.isnan(batch([one(volts=math.nan)], CELL).column("volts")[0].as_py())


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        (TopicLevelErrorPolicy.Raise, [1, 3]),
        (TopicLevelErrorPolicy.Ignore, [1, 3]),
        (TopicLevelErrorPolicy.Finalize, [1]),
    ],
)
@pytest.mark.parametrize("bad", [{"volts": 1e39}, {"volts": YES}], ids=["beyond", "truth"])
def test_only_that_row_is_left_out_and_the_topics_policy_decides_the_rest(
    client, policy, stored, bad
):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("cells", {}, Cell, on_error=policy)
        topic.push(Message(timestamp_ns=1, data=Cell(volts=1.5)))
        topic.push(one(**bad))
        if policy is TopicLevelErrorPolicy.Raise:
            with pytest.raises(ValueError, match="cells: 1 rows left out, the first with"):
                topic.flush()
        else:
            topic.flush()
        topic.push(Message(timestamp_ns=3, data=Cell(volts=2.5)))
    assert [each["timestamp_ns"] for each in rows(client, "drive/cells")] == stored
    noted = [each.text for each in client.notifications("drive/cells")]
    assert len(noted) == (policy is not TopicLevelErrorPolicy.Raise)
    assert all("volts: " in text for text in noted)


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        (TopicLevelErrorPolicy.Raise, [1, 3]),
        (TopicLevelErrorPolicy.Ignore, [1, 3]),
        (TopicLevelErrorPolicy.Finalize, [1]),
    ],
)
def test_what_an_attribute_raises_leaves_its_row_out(client, policy, stored):
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("wheels", {}, Wheel, on_error=policy)
        for time_ns, turns_hz in ((1, 10.0), (2, 0.0)):
            topic.push(Message(timestamp_ns=time_ns, data=Wheel(turns_hz=turns_hz)))
        if policy is TopicLevelErrorPolicy.Raise:
            with pytest.raises(ValueError, match="period_s: ZeroDivisionError: ") as told:
                topic.flush()
            assert "wheels: 1 rows left out, the first with timestamp_ns 2" in str(told.value)
        else:
            topic.flush()
        topic.push(Message(timestamp_ns=3, data=Wheel(turns_hz=20.0)))
        assert topic.ignored_rows == 3 - 1 - len(stored)
    found = {each["timestamp_ns"]: each["period_s"] for each in rows(client, "drive/wheels")}
    assert found == {key: value for key, value in {1: 0.1, 3: 0.05}.items() if key in stored}
    noted = [each.text for each in client.notifications("drive/wheels")]
    assert len(noted) == (policy is not TopicLevelErrorPolicy.Raise)
    assert all("period_s: ZeroDivisionError: " in text for text in noted)
    assert client.describe_sequence("drive").sessions[0].locked


def test_what_an_attribute_of_a_part_raises_is_told_with_its_column():
    still = Axle(left=Wheel(turns_hz=0.0))
    with pytest.raises(ValueError, match=r"^left\.period_s: ZeroDivisionError: "):
        batch([Message(timestamp_ns=1, data=still)], schema_of(Axle))


def test_what_a_value_itself_raises_is_told_with_its_column():
    with pytest.raises(ValueError, match=r"^volts: RuntimeError: not today"):
        batch([one(volts=Sulking(1.5))], CELL)


def test_memory_that_runs_out_is_no_fault_of_a_row(monkeypatch):
    def exhausted(_wheel: Wheel, _name: str) -> float:
        raise MemoryError

    monkeypatch.setattr(Wheel, "__getattr__", exhausted)
    with pytest.raises(MemoryError):
        batch([Message(timestamp_ns=1, data=Wheel(turns_hz=1.0))], schema_of(Wheel))


def test_the_reason_that_is_told_is_that_of_the_first_row_left_out(client):
    # Arrow refuses the column for its truth value, before anybody looks for fractions.
    values = {1: 1, 2: 2.5, 3: YES, 4: 4}
    with client.sequence_create("drive", {}) as writer:
        topic = writer.topic_create("counts", {}, Integer64, on_error=TopicLevelErrorPolicy.Ignore)
        for time_ns, value in values.items():
            topic.push(Message(timestamp_ns=time_ns, data=Integer64(data=value)))
    assert [each["data"] for each in rows(client, "drive/counts")] == [1, 4]
    (noted,) = client.notifications("drive/counts")
    assert "2 rows left out, the first with timestamp_ns 2: data: 2.5 is no whole" in noted.text


def test_a_batch_is_never_cast_so_that_nothing_in_it_can_become_infinite_or_a_number(client):
    wide = pa.schema([pa.field("timestamp_ns", pa.int64(), nullable=False), ("data", pa.bool_())])
    with client.sequence_create("drive", {}) as writer:
        cells = writer.topic_create("cells", {}, Cell)
        numbers = writer.topic_create("numbers", {}, Floating64)
        doubles = CELL.set(1, pa.field("volts", pa.float64(), nullable=False))
        with pytest.raises(ValueError, match="has not the schema of Cell"):
            cells.push_batch(
                pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "volts": 1e39}], doubles)
            )
        with pytest.raises(ValueError, match="has not the schema of Floating64"):
            numbers.push_batch(
                pa.RecordBatch.from_pylist([{"timestamp_ns": 1, "data": True}], wide)
            )
    assert list(rows(client, "drive/cells")) == []
