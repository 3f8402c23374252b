"""What Arrow would turn into another value in silence is an error of that row, by the policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
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
