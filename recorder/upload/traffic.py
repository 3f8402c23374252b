"""How much may be sent: the month's account, and the pace.

The account is one small JSON file, ``upload/.traffic``: the month (UTC) and its bytes. What a part
is going to need is booked, durably, before it is begun, and corrected when it has ended, so that a
crash in between costs some of the month and never leads beyond the cap.

Which month it is NTP or satellites say, never the system's clock alone, nor an RTC: a wrong one
would give a month for nothing. Until they do, what is sent goes on the account as it is. An account
of a month that has not come yet was begun by a wrong clock: it goes on as this month's.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from recorder import durable
from recorder.errors import RecorderError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from recorder.config import Upload


class CapReachedError(RecorderError):
    """What is to be sent would exceed the month's bytes: it waits for the next month, or a person.

    Nothing is parked, and a part under way is broken off.
    """


class Traffic:
    """Counts what is sent and says when it is too much.

    What is counted is record batches as they are serialized, sent in vain or not; questions,
    answers and the transport's own bytes are not (about one part in a hundred).

    Args:
        file: the account.
        settings: `monthly_bytes` and `most_bytes_per_s`.
        utc_ns: returns what time it is, or None if neither NTP nor satellites told it.
    """

    def __init__(self, file: Path, settings: Upload, utc_ns: Callable[[], int | None]) -> None:
        self._file = file
        self._utc_ns = utc_ns
        self._cap_bytes = settings.monthly_bytes
        self._most_bytes_per_s = settings.most_bytes_per_s
        self._month, self._bytes = _read(file)
        self._booked_bytes = 0
        self._free_s = 0.0

    @property
    def month_bytes(self) -> int:
        """Bytes that were sent in this month."""
        self._turn()
        return self._bytes

    def begin(self, expected_bytes: int, *, over_cap: bool) -> None:
        """Book a part before its first byte is sent; durable on return.

        Args:
            expected_bytes: what it will need, roughly.
            over_cap: count it, but let it pass the cap.

        Raises:
            CapReachedError: it does not fit in what is left of the month.
        """
        self.check(expected_bytes, over_cap=over_cap)
        self._booked_bytes = expected_bytes
        if self._cap_bytes:
            self._save()

    def add(self, size_bytes: int, *, over_cap: bool) -> float:
        """Count a batch that is about to be sent.

        Returns:
            How long to wait before it is sent, in s.

        Raises:
            CapReachedError: it would pass the cap; nothing more is sent in this month.
        """
        try:
            self.check(size_bytes, over_cap=over_cap)
        except CapReachedError:
            self._bytes, self._booked_bytes = self._cap_bytes, 0
            self._save()
            raise
        self._bytes += size_bytes
        self._booked_bytes = max(0, self._booked_bytes - size_bytes)
        return self._pause_s(size_bytes)

    def end(self) -> None:
        """Settle what was booked for a part, sent or broken off."""
        self._booked_bytes = 0
        if self._cap_bytes:
            self._save()

    def check(self, more_bytes: int, *, over_cap: bool) -> None:
        """Raise CapReachedError if so many more bytes do not fit in what is left of the month."""
        is_known = self._turn()
        if self._cap_bytes and not over_cap and self._bytes + more_bytes > self._cap_bytes:
            doubt = "" if is_known else "; no other month begins before NTP or GPS tells the time"
            raise CapReachedError(
                f"{self._bytes} of upload.monthly_bytes, {self._cap_bytes}, are used in"
                f" {self._month or 'this month'}, and {more_bytes} more do not fit{doubt}"
            )

    def _pause_s(self, size_bytes: int) -> float:
        if not self._most_bytes_per_s:
            return 0.0
        now_s = time.monotonic()
        begin_s = max(self._free_s, now_s)
        self._free_s = begin_s + size_bytes / self._most_bytes_per_s
        return begin_s - now_s

    def _turn(self) -> bool:
        """Begin a new account if another month has come; return whether the time is known."""
        utc_ns = self._utc_ns()
        if utc_ns is None:
            return False
        month = time.strftime("%Y-%m", time.gmtime(utc_ns // 1_000_000_000))
        if "" < self._month < month:
            self._bytes = 0
        self._month = month
        return True

    def _save(self) -> None:
        facts = {"month": self._month, "bytes": self._bytes + self._booked_bytes}
        durable.replace(self._file, [json.dumps(facts).encode()])


def _read(file: Path) -> tuple[str, int]:
    """Return the month and its bytes; an account that the disk damaged is begun anew.

    The month is empty if none was known so far.
    """
    try:
        stored = json.loads(file.read_bytes())
        return str(stored["month"]), int(stored["bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return "", 0
