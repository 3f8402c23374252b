"""A GPS receiver on a pseudo-terminal: plays NMEA epochs at their own pace and the line's speed.

Whoever listens at another speed gets noise (`drivers.sim.terminal`), and a receiver of a make that
can be told something obeys (`drivers.sim.receiver_unit`).

What it does not simulate: modem lines, parity and framing errors as such (the kernel's marks for
them), PPS, the latency of a USB adapter, and the overrun of a UART's 16 bytes: the kernel's line
buffer of 4 KiB is all that can overflow.
"""

from __future__ import annotations

import collections
import itertools
import json
import time
from typing import TYPE_CHECKING, TextIO

from drivers.base import boot_ns
from drivers.sim.nmea_log import Burst, log_epochs
from drivers.sim.receiver_unit import Unit
from drivers.sim.terminal import Terminal

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["Burst", "Receiver", "log_epochs"]

SECOND_NS = 1_000_000_000
BITS_PER_BYTE = 10
#: A receiver takes about so long until it speaks. Less than a part of its period (2 s at most in
#: the recorded logs) would leave open whether a listener missed the beginning of its first epoch.
POWER_ON_NS = 1_000_000_000
BOOT_NS = 300_000_000
CHUNK_S = 0.004
NAP_S = 0.02


class Receiver:
    """Plays epochs into a pseudo-terminal and writes down what it sent.

    The first epoch leaves `POWER_ON_NS` after the first listener opened the terminal. From then on
    time goes on, whoever listens: a UART has no memory, so bytes that nobody listens to are thrown
    away, as are those that do not fit into the kernel's buffer. (A listener that closes and opens
    again within one chunk of 4 ms is not noticed.) After the last epoch it stays silent.

    The log has one line of JSON per epoch, flushed one by one: `epoch` (from 0; those that the
    unit leaves out are missing), `utc_ns`, `due_ns`
    (CLOCK_BOOTTIME at which it is due; it leaves later where the line or the model is busy),
    `boot_ns` and `end_boot_ns` (CLOCK_BOOTTIME when the first and the last byte left), `pause_ns`
    (the longest time between two chunks; more than `CHUNK_S` where the model was held up), `heard`
    (a listener had the terminal open, at the right speed, from the first byte to the last and all
    of it was sent),
    `lines` (as the receiver made them, before faults of the wire) and `faults` (that hit it).

    Args:
        source: epochs in order of `offset_ns`: `Burst`s or plain tuples like them.
        link: where the terminal appears as a symbolic link; an existing link is replaced.
        log: the log's file; appended to.
        baud: speed of the line, bits per second.
        unit: what it can be told; None: nothing, and it plays all of the source at `baud`.

    Attributes:
        start_ns: CLOCK_BOOTTIME of offset 0; None until a listener came.
    """

    _MUTE = frozenset({"silence", "drop_epochs", "brown_out"})

    def __init__(
        self,
        source: Iterable[tuple[int | None, int, bytes]],
        link: Path,
        log: Path,
        baud: int = 115_200,
        unit: Unit | None = None,
    ) -> None:
        self.start_ns: int | None = None
        self.unit = unit or Unit(baud)
        self._source = source
        self._log = log
        self._terminal = Terminal(link)
        self._plug_in_ns = 0
        self._boot_until_ns = 0
        self._answer = b""
        self._free_ns = 0  # when the line has carried the burst before
        self._end_ns = 0  # when the burst before did leave; later, if the model was held up
        self._silent_until_ns = 0
        self._skip = 0
        self._garbage = b""
        self._flip = False
        # Filled by `fault` in any thread, emptied by `run` in its own; deque's ends are atomic.
        self._asked: collections.deque[Callable[[], None]] = collections.deque()

    def fault(
        self, name: str, *, seconds: float = 1.0, data: bytes = b"\xb5\x62\x00$\xff", n: int = 1
    ) -> None:
        """Ask for a misbehaviour; it happens at once or with the next epoch.

        Args:
            name: ``silence``: nothing leaves for `seconds`, from the next epoch on. ``garbage``:
                `data` stands between the next epoch's first two sentences. ``flip``: one bit of the
                next epoch's first sentence is wrong. ``drop_epochs``: the receiver skips the next
                `n` epochs. ``unplug``: the terminal is gone at once, and there is a new one under
                the same link after `seconds`. ``brown_out``: it starts again, and has forgotten
                what it was told. ``deaf``: the next `n` messages to it are lost. ``refuse``: it
                refuses every setting from now on.
            seconds: for ``silence`` and ``unplug``.
            data: for ``garbage``.
            n: for ``drop_epochs`` and ``deaf``.

        Raises:
            ValueError: there is no such fault.
        """
        faults: dict[str, Callable[[], None]] = {
            "silence": lambda: self._be_silent(seconds),
            "garbage": lambda: self._put_garbage(data),
            "flip": self._put_flip,
            "drop_epochs": lambda: self._skip_epochs(n),
            "unplug": lambda: self._unplug(seconds),
            "brown_out": self._brown_out,
            "deaf": lambda: self.unit.be_deaf(n),
            "refuse": self.unit.refuse,
        }
        if name not in faults:
            raise ValueError(f"fault {name!r}: allowed are {', '.join(sorted(faults))}")
        self._asked.append(faults[name])

    def run(self, stop: threading.Event) -> None:
        """Play until told to stop; an epoch under way is sent to its end.

        Args:
            stop: ends the play.

        Raises:
            OSError: no pseudo-terminal, or the link or the log cannot be written.
        """
        self._terminal.plug_in()
        try:
            with self._log.open("a", encoding="utf-8") as log:
                self._play_all(stop, log)
            while not stop.wait(NAP_S):
                self._obey()
        finally:
            self._unplug(0)

    def _play_all(self, stop: threading.Event, log: TextIO) -> None:
        while not self._terminal.has_listener():
            if stop.wait(CHUNK_S):
                return
            self._obey()
        start_ns = self.start_ns = boot_ns() + POWER_ON_NS
        for number, (utc_ns, offset_ns, played) in enumerate(self._source):
            begin_ns = max(start_ns + offset_ns, self._free_ns)
            self._pace(begin_ns, stop)
            if stop.is_set():
                return
            data = self.unit.says(played) if self.unit.plays(offset_ns) else b""
            if not data:
                continue
            entry = {
                "epoch": number,
                "utc_ns": utc_ns,
                "due_ns": start_ns + offset_ns,
                **self._send(data, begin_ns),
                "lines": [line.decode("latin-1") for line in data.splitlines()],
            }
            log.write(json.dumps(entry) + "\n")
            log.flush()

    def _pace(self, until_ns: int, stop: threading.Event | None = None) -> None:
        """Wait, and obey meanwhile; it answers between two epochs only, where `stop` is given."""
        self._obey(is_between=stop is not None)
        while (left_ns := until_ns - boot_ns()) > 0 and not (stop and stop.is_set()):
            time.sleep(min(left_ns / SECOND_NS, NAP_S))
            self._obey(is_between=stop is not None)

    def _obey(self, *, is_between: bool = True) -> None:
        while self._asked:
            self._asked.popleft()()
        if not self._terminal.is_plugged and boot_ns() >= self._plug_in_ns:
            self._terminal.plug_in()
        told = self._terminal.read(self.unit.baud)
        if boot_ns() < self._boot_until_ns:
            return
        self._answer += self.unit.hear(told)
        if self._answer and is_between:
            self._terminal.write(self._answer, self.unit.baud)
            self._answer = b""

    def _send(self, data: bytes, begin_ns: int) -> dict[str, object]:
        """Send one burst, each chunk when its last byte has left the receiver; tell how it went."""
        faults, wire = self._spoil(data, begin_ns)
        is_mute = bool(self._MUTE & set(faults))
        heard = not is_mute
        baud = self.unit.baud  # what it is told in the middle of an epoch is done behind it
        byte_ns = SECOND_NS * BITS_PER_BYTE / baud
        chunk_bytes = max(1, int(CHUNK_S * baud / BITS_PER_BYTE))
        times_ns = []
        for begin in range(0, len(wire), chunk_bytes):
            chunk = wire[begin : begin + chunk_bytes]
            self._pace(begin_ns + int((begin + len(chunk)) * byte_ns))
            if not is_mute:
                heard = self._terminal.write(chunk, baud) and heard
            times_ns.append(boot_ns())
        self._free_ns = begin_ns + int(len(wire) * byte_ns)
        first_ns = times_ns[0] - int((min(len(wire), chunk_bytes) - 1) * byte_ns)
        first_ns, self._end_ns = max(first_ns, self._end_ns), times_ns[-1]
        pauses_ns = (b - a for a, b in itertools.pairwise(times_ns))
        return {
            "boot_ns": first_ns,
            "end_boot_ns": self._end_ns,
            "pause_ns": max(pauses_ns, default=0),
            "heard": heard,
            "faults": faults,
        }

    def _spoil(self, data: bytes, begin_ns: int) -> tuple[list[str], bytes]:
        """Apply what was asked for: the names of the faults, and what is left of the burst."""
        faults = []
        if self._skip:
            self._skip -= 1
            faults.append("drop_epochs")
        if begin_ns < self._silent_until_ns:
            faults.append("silence")
        if begin_ns < self._boot_until_ns:
            faults.append("brown_out")
        if faults:
            return faults, data
        first, end, rest = data.partition(b"\n")
        if self._garbage:
            faults.append("garbage")
            end, self._garbage = end + self._garbage, b""
        if self._flip:
            faults.append("flip")
            middle = len(first) // 2
            first = first[:middle] + bytes([first[middle] ^ 1]) + first[middle + 1 :]
            self._flip = False
        return faults, first + end + rest

    def _unplug(self, seconds: float) -> None:
        self._terminal.unplug()
        self._plug_in_ns = boot_ns() + int(seconds * SECOND_NS)

    def _brown_out(self) -> None:
        self.unit.power_on()
        self._answer = self.unit.greeting()
        self._boot_until_ns = boot_ns() + BOOT_NS

    def _be_silent(self, seconds: float) -> None:
        self._silent_until_ns = boot_ns() + int(seconds * SECOND_NS)

    def _put_garbage(self, data: bytes) -> None:
        self._garbage += data

    def _put_flip(self) -> None:
        self._flip = True

    def _skip_epochs(self, n: int) -> None:
        self._skip += n
