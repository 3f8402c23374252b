"""The lanes of a world: producers without a process, that acquire, fall silent and die."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from recorder import record
from recorder.clock import anchor_now, boot_ns
from recorder.ring import RingWriter
from tests.crash.faults import Cut
from tests.crash.model import Row
from tests.crash.replacing import replaced
from tests.recorder.building import ROW, TWIST, Producer, schema

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from pathlib import Path

    from tests.crash.model import Model

#: Lane to the bytes of its ring. Those of GPS and IMU are a whole number of their usual records, so
#: that a record of the last lap lies exactly where the next one is due.
RINGS = {"gps": 136 * 24, "imu": 280 * 16, "cam": 12_000}
#: Rows of a usual record.
BURSTS = {"gps": 1, "imu": 10, "cam": 1}
MOST_BLOB_BYTES = 3000


class Lanes:
    """All lanes of one vehicle; what they do they tell the model.

    Args:
        rings: the rings' folder.
        model: is told.
        dice: decide about pictures and the instants of death.
    """

    def __init__(self, rings: Path, model: Model, dice: random.Random) -> None:
        self._rings, self._model, self._dice = rings, model, dice
        self._producers: dict[str, Producer] = {}
        #: Records that came into rings so far.
        self.puts = 0
        #: Epochs of the rings of this boot.
        self.epochs: set[int] = set()

    def start(self) -> None:
        """Start all, after a boot."""
        self.epochs.clear()
        for name in RINGS:
            self._start(name)

    def _start(self, name: str) -> None:
        lane = schema(name, blob="jpeg" if name == "cam" else None)
        self._producers[name] = Producer(self._rings, lane, RINGS[name])
        self.epochs.add(self._producers[name].ring.epoch)

    def stop(self) -> None:
        """Let go of all rings."""
        for lane in self._producers.values():
            lane.close()
        self._producers.clear()

    def note_freed(self) -> None:
        """Tell the model up to where each ring was given back."""
        for name, lane in self._producers.items():
            self._model.free(name, lane.ring.epoch, lane.ring.tail_position())

    def put(self, name: str, absent: int = 0) -> bool:
        """Let a lane acquire a burst, or a camera a picture, after so many samples were absent."""
        lane = self._producers[name]
        rows = self._rows(name)
        end = lane.ring.state.position + _size_bytes(rows)
        fits = lane.put(len(rows), list(rows.values()), absent)
        self._note_put(name, rows, end, fits=fits)
        return fits

    def _note_put(self, name: str, rows: dict[Row, bytes], end: int, *, fits: bool) -> None:
        if fits:
            self._model.put(rows, end)
            self._note_record(name)
        else:
            self._model.drop(set(rows))

    def _note_record(self, name: str) -> None:
        self.puts += 1
        self._model.tell(name, self._producers[name].ring.epoch)

    def _rows(self, name: str) -> dict[Row, bytes]:
        ring = self._producers[name].ring
        first = ring.state.seqno
        picture = self._picture(ring) if name == "cam" else b""
        return {
            Row(name, ring.epoch, number): ROW.pack(number, (number * TWIST ^ ring.epoch) % 2**64)
            + picture
            for number in range(first, first + BURSTS[name])
        }

    def _picture(self, ring: RingWriter) -> bytes:
        """Return bytes of a picture; some have a record of the same lane inside."""
        noise = self._dice.randbytes(self._dice.randrange(MOST_BLOB_BYTES))
        found = ring.record_at(ring.tail_position())
        if found is None or self._dice.random() < 0.5:
            return noise
        return noise[:200] + b"".join(found[1])[:MOST_BLOB_BYTES] + noise[200:]

    def say(self, name: str, *, anchor: bool) -> None:
        """Let a lane put an event or an anchor."""
        lane, now_ns = self._producers[name], boot_ns()
        if anchor:
            payload = [anchor_now(now_ns, 1_700_000_000_000_000_000 + now_ns, 1000, "gps").pack()]
            fits = lane.ring.put(record.ANCHOR, 0, lane.ring.state, payload, now_ns)
        else:
            fits = lane.event("opened")
        if fits:
            self._note_record(name)

    def kill(self, name: str) -> None:
        """Kill a lane while it puts a record, and start it again: it is there, or never was."""
        lane, rows = self._producers[name], self._rows(name)
        before = lane.ring.state
        method = self._dice.choice(["_write", "note"])
        with contextlib.suppress(Cut), _dying_writer(method, self._dice):
            lane.put(len(rows), list(rows.values()))
        lane.close()
        self._start(name)
        again = self._producers[name].ring
        assert again.epoch == lane.ring.epoch, "the next incarnation began another ring"
        if again.state.seqno > before.seqno:
            end = before.position + _size_bytes(rows)
            self._note_put(name, rows, end, fits=again.state.position == end)


def _size_bytes(rows: dict[Row, bytes]) -> int:
    return record.HEADER_BYTES + sum(map(len, rows.values()))


def _dying_writer(method: str, dice: random.Random) -> contextlib.AbstractContextManager[None]:
    """Let a ring's writer die before it notes a record, or with a part of it written."""

    def die_at_note(ring: RingWriter, state: object) -> None:
        raise Cut

    def die_in_write(
        ring: RingWriter, header: record.Header, payload: Sequence[bytes | bytearray | memoryview]
    ) -> None:
        whole = record.pack(header, payload) + b"".join(payload)
        at = memoryview(whole)[: dice.randrange(len(whole))]
        for run in ring._slices(header.position, len(at)):
            run[:] = at[: len(run)]
            at = at[len(run) :]
        raise Cut

    return replaced((RingWriter, method, die_at_note if method == "note" else die_in_write))
