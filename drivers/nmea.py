"""NMEA 0183: bytes to epochs. Pure: no device, no clock, no file but `decode_file`'s.

An epoch is everything that a receiver says about one instant: RMC, GGA, GNS, GLL, GSA, VTG, ZDA
and GST of any talker, with whatever else stands between them. Which sentences of an epoch come in
which order differs from receiver to receiver; the time of day in most of them is what joins them.

An epoch ends, whichever comes first,

1. with its last sentence, once the receiver has shown three times running which one that is and
   nothing of the same epoch ever followed it;
2. before a sentence of another time (10 ms or more away: receivers round the same time
   differently), or before a second RMC, GGA, GNS or GLL of the same talker (receivers without a
   time yet send none, or the same again and again);
3. when the line falls silent, which the caller tells by `Decoder.flush`.

The date is the epoch's own (ZDA, RMC), else the last known one, a day later when the time of day
has gone back by more than 12 hours. Inside a leap second `utc_ns` is None: UTC in ns since 1970 has
no number for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drivers.nmea_epoch import FIXES, PRECEDENCE, Epoch, first, merge
from drivers.nmea_sentence import DAY_NS, Sentence, parse
from drivers.uart import Lines

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator

__all__ = ["FIXES", "Decoder", "Epoch", "decode_file"]

_STATUS_NAMES = frozenset({"RMC", "GGA", "GNS", "GLL"})
_SAME_TIME_NS = 10_000_000
_HALF_DAY_NS = DAY_NS // 2
_TIMES_TO_LEARN = 3
#: No receiver says more about one instant; so what has no time and no pause has an end as well.
MOST_SENTENCES = 200


class _Group:
    """The sentences of one epoch, while it is under way."""

    def __init__(self, boot_ns: int, whole: bool) -> None:
        self.boot_ns = boot_ns
        self.whole = whole
        self.time_ns: int | None = None
        self.has_status = False
        self.sentences = 0
        self.known: dict[str, list[Sentence]] = {name: [] for name in PRECEDENCE}
        self.counts: dict[str, int] = {}
        self.last_key = ("", 0)

    def add(self, sentence: Sentence) -> None:
        address = sentence.talker + sentence.name
        self.counts[address] = self.counts.get(address, 0) + 1
        self.last_key = (address, self.counts[address])
        self.sentences += 1
        self.has_status |= sentence.name in _STATUS_NAMES
        if self.time_ns is None:
            self.time_ns = sentence.time_ns
        if sentence.name in self.known:
            self.known[sentence.name].append(sentence)

    def has(self, sentence: Sentence) -> bool:
        return sentence.talker + sentence.name in self.counts

    def is_at(self, time_ns: int | None) -> bool:
        """Whether both times are known and the same."""
        if time_ns is None or self.time_ns is None:
            return False
        apart_ns = abs(time_ns - self.time_ns)
        return min(apart_ns, abs(DAY_NS - apart_ns)) < _SAME_TIME_NS  # rounded over midnight

    def is_ended_by(self, sentence: Sentence) -> bool:
        if sentence.name in _STATUS_NAMES and self.has(sentence):
            return True
        if self.sentences >= MOST_SENTENCES:
            return True
        is_timed = sentence.time_ns is not None and self.time_ns is not None
        return is_timed and not self.is_at(sentence.time_ns)

    def in_order(self) -> list[Sentence]:
        return [sentence for name in PRECEDENCE for sentence in self.known[name]]


class Decoder:
    """Makes epochs of a receiver's bytes, cut anywhere.

    Args:
        raw: gets every line as it came, refused ones too, behind the boot time of its first byte.

    Attributes:
        sentences: lines so far that were sentences with a good checksum.
        pauses: how often a silence was taken for an epoch's end, and more of the epoch came.
        unusable: epochs so far of which so much was damaged that not even their time is known;
            they are missing among the epochs.
    """

    def __init__(self, raw: deque[tuple[int, bytes]] | None = None) -> None:
        self.sentences = 0
        self.unusable = 0
        self.pauses = 0
        self._raw = raw
        self._lines = Lines()
        self._group: _Group | None = None
        self._previous: _Group | None = None
        self._silent = False  # since the previous epoch ended
        self._damage_ns: int | None = None  # first refused sentence since the last epoch ended
        self._errors = 0
        self._dropped = 0
        self._whole = False
        self._day: int | None = None
        self._time_ns = 0
        self._last_key = ("", 0)
        self._times_last = 0
        self._inner: set[tuple[str, int]] = set()  # keys that something of the same epoch followed

    @property
    def is_under_way(self) -> bool:
        """Whether something of an epoch has come that is not finished."""
        return self._group is not None or self._lines.is_partial

    @property
    def expects_more(self) -> bool:
        """Whether a pause now would be in the middle of an epoch, as far as has been learned."""
        return self._lines.is_partial or (self._group is not None and self._has_learned)

    @property
    def _has_learned(self) -> bool:
        return self._times_last >= _TIMES_TO_LEARN and self._last_key not in self._inner

    def feed(self, data: bytes, boot_ns: int, end_boot_ns: int | None = None) -> list[Epoch]:
        """Take the next bytes.

        Args:
            data: any number of bytes, cut anywhere.
            boot_ns: CLOCK_BOOTTIME of the first of them, in ns.
            end_boot_ns: of the last of them; None: as the first.

        Returns:
            The epochs that ended with them, oldest first.
        """
        epochs: list[Epoch] = []
        for line, line_ns in self._lines.feed(data, boot_ns, end_boot_ns):
            if self._raw is not None:
                self._raw.append((line_ns, line))
            sentence = parse(line)
            if sentence is None:
                self._errors += 1
                self._damage_ns = line_ns if self._damage_ns is None else self._damage_ns
            else:
                self.sentences += 1
                epochs += self._take(sentence, line_ns)
        return epochs

    def flush(self) -> list[Epoch]:
        """End the epoch under way: the line is silent, or there is no more.

        Returns:
            That epoch, or nothing.
        """
        epochs = self._end()
        self._whole = True
        self._silent = True
        return epochs

    def _take(self, sentence: Sentence, line_ns: int) -> list[Epoch]:
        epochs: list[Epoch] = []
        if self._is_late(sentence):
            return epochs
        if self._group is not None and self._group.is_ended_by(sentence):
            epochs += self._end()
            self._whole = True
        if self._group is None:
            first_ns = line_ns if self._damage_ns is None else self._damage_ns
            self._group = _Group(first_ns, self._whole)
        else:
            self._inner.add(self._group.last_key)
        self._group.add(sentence)
        if self._has_learned and self._group.last_key == self._last_key:
            epochs += self._end()
            self._whole = True
        return epochs

    def _is_late(self, sentence: Sentence) -> bool:
        """Whether it belongs to the epoch that has just ended: what was learned is wrong."""
        previous = self._previous
        if previous is None or not previous.is_at(sentence.time_ns) or previous.has(sentence):
            return False
        if self._group is not None and self._group.time_ns is not None:
            return False
        self._inner.add(previous.last_key)
        self.pauses += self._silent
        return True

    def _end(self) -> list[Epoch]:
        group, self._group = self._group, None
        self._damage_ns = None
        if group is None:
            return []
        if not group.has_status:
            return self._end_without_status()
        self._learn(group.last_key)
        self._errors += self._lines.dropped - self._dropped
        self._dropped = self._lines.dropped
        everything = group.in_order()
        epoch = merge(
            everything,
            boot_ns=group.boot_ns,
            utc_ns=self._utc_ns(everything),
            sentences=group.sentences,
            checksum_errors=self._errors,
            whole=group.whole,
        )
        self._errors = 0
        self._previous = group
        self._silent = False
        return [epoch]

    def _end_without_status(self) -> list[Epoch]:
        """End what is no epoch: a tail that came late, texts at power on, or remains."""
        if self._previous is not None and not self._silent:
            self._inner.add(self._previous.last_key)
        elif self._errors:
            self.unusable += 1
        return []

    def _learn(self, key: tuple[str, int]) -> None:
        self._times_last = self._times_last + 1 if key == self._last_key else 1
        self._last_key = key

    def _utc_ns(self, everything: list[Sentence]) -> int | None:
        time_ns = first(sentence.time_ns for sentence in everything)
        own_day = first(sentence.day for sentence in everything)
        if own_day is not None:
            self._day = own_day
        elif self._day is not None and time_ns is not None:
            went_back = self._time_ns - time_ns > _HALF_DAY_NS
            came_early = time_ns - self._time_ns > _HALF_DAY_NS  # an older time, after midnight
            self._day += went_back - came_early
        if time_ns is None:
            return None
        self._time_ns = time_ns
        if self._day is None or time_ns >= DAY_NS:
            return None
        return self._day * DAY_NS + time_ns


def decode_file(path: str | Path) -> Iterator[Epoch]:
    """Decode a receiver's log.

    Args:
        path: bytes as the receiver sent them; lines at the head that begin with ``#`` are comments.

    Yields:
        Every epoch, the first even if it is torn; `boot_ns` is 0.

    Raises:
        OSError: the file cannot be read.
    """
    decoder = Decoder()
    with Path(path).open("rb") as log:
        line = log.readline()
        while line.startswith(b"#"):
            line = log.readline()
        while line:
            yield from decoder.feed(line, 0)
            line = log.readline()
    yield from decoder.flush()
