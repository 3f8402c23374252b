"""The supply's process: ends the recording when the ignition or the supply goes, and powers off.

It has no privilege. What it may do is ask the spool's process to end the recording, which is
durable when that answers, and make one file, in a folder that nobody else may write: a path unit of
systemd waits for that file and powers the box off (`systemd/recorder-power-off.path`).

on          the ignition is on, or there is no such input
uploading   it is off: the recording is ended; everything may still be uploaded, for so long
off         powering off was asked for; there is no way back
"""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import gpio, status
from recorder.clock import boot_ns
from recorder.command import ask
from recorder.errors import RecorderError
from recorder.service import Notifier, Stop, entry

if TYPE_CHECKING:
    from recorder.config import Config

log = logging.getLogger(__name__)

#: How often the inputs are looked at; a GPIO's pulse in between is seen all the same.
LOOK_S = 0.1
_SIGN_S = 1.0
#: How long the spool's process may take to end the recording before power-off goes on without it:
#: being told to end by systemd makes it do the same.
PATIENCE_S = 3.0
#: In the recorder's directory in memory; the path unit names it too.
OFF_FILE = "power/off"


class Input:
    """One input, and since when it says the same.

    Args:
        spec: how `recorder.gpio` names it.
        active_low: whether it means it when it is 0.
        low_units: it is active while the file's number is below this; None: unless it is 0.
    """

    def __init__(self, spec: str, *, active_low: bool, low_units: float | None = None) -> None:
        self._spec = spec
        self._active_low = active_low
        self._low_units = low_units
        self._line: gpio.Line | None = None
        self._is_active: bool | None = None
        self._since_ns = 0
        #: Why it cannot be read; empty if it can.
        self.error = ""

    def held_s(self, now_ns: int, *, active: bool) -> float | None:
        """Look, and return for how long it has been so, in s; None if it is not, or is unreadable.

        Args:
            now_ns: CLOCK_BOOTTIME.
            active: what is asked for.
        """
        try:
            found = self._read()
        except (OSError, ValueError) as error:
            self.close()
            if str(error) != self.error:
                log.warning("%s cannot be read: %s", self._spec, error)
            self.error, self._is_active = str(error), None
            return None
        self.error = ""
        if found is not self._is_active:
            self._is_active, self._since_ns = found, now_ns
        return (now_ns - self._since_ns) / 1e9 if found is active else None

    def _read(self) -> bool:
        if self._low_units is not None:
            return float(gpio.read_number(Path(self._spec.removeprefix("file:")))) < self._low_units
        if self._line is None:
            self._line = gpio.open_line(self._spec, active_low=self._active_low)
        return self._line.read()

    def close(self) -> None:
        """Let go of it; may be called twice."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.close()
            self._line = None


class Power:
    """What the process holds.

    Args:
        config: the resolved configuration.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._notifier = Notifier()
        settings = config.power
        self._ignition: Input | None = None
        if settings.ignition:
            self._ignition = Input(settings.ignition, active_low=settings.ignition_active_low)
        self._lows: list[Input] = []
        if settings.low:
            self._lows.append(Input(settings.low, active_low=settings.low_active_low))
        if settings.low_volts is not None:
            units = settings.low_volts / settings.volts_per_unit
            self._lows.append(Input(settings.voltage, active_low=False, low_units=units))
        self._state = "on"
        self._off_since_ns = 0
        self._signed_ns = 0

    def run(self, stop: Stop) -> None:
        """Look at the inputs until told to stop."""
        self._notifier.ready("on")
        while not stop.wait(LOOK_S):
            self.look(boot_ns())
        self._notifier.stopping()

    def look(self, now_ns: int) -> None:
        """Look at the inputs once, and do what they ask for.

        Args:
            now_ns: CLOCK_BOOTTIME.
        """
        if self._state != "off":
            self._act(now_ns)
        if now_ns - self._signed_ns >= _SIGN_S * 1e9:
            self._sign(now_ns)

    def _act(self, now_ns: int) -> None:
        settings = self._config.power
        lows = [one.held_s(now_ns, active=True) for one in self._lows]
        if any(held_s is not None and held_s >= settings.low_for_s for held_s in lows):
            self._power_off(now_ns, "the supply is low")
        elif self._ignition is not None:
            off_s = self._ignition.held_s(now_ns, active=False)
            is_off = off_s is not None and off_s >= settings.off_for_s
            if self._state == "uploading":
                self._wait_on(now_ns, is_off=is_off)
            elif is_off:
                self._begin_wait(now_ns)

    def _begin_wait(self, now_ns: int) -> None:
        log.info("ignition off; on for %g s at most", self._config.power.keep_on_s)
        self._off_since_ns = now_ns
        self._change("uploading", now_ns)
        if not self._is_ruled:
            self._end_recording()

    def _wait_on(self, now_ns: int, *, is_off: bool) -> None:
        """Wait for the upload, for the time to be over, or for the ignition to come back."""
        if not is_off:
            self._change("on", now_ns)
            log.info("ignition on again")
            if not self._is_ruled:
                self._order("start")
        elif now_ns - self._off_since_ns >= self._config.power.keep_on_s * 1e9:
            self._power_off(now_ns, "the ignition is off, and its time is over")
        elif self._is_uploaded:
            self._power_off(now_ns, "the ignition is off, and everything is uploaded")

    @property
    def _is_ruled(self) -> bool:
        """Whether rules say when to record; they may look at the ignition too."""
        return any(one.do == "record" for one in self._config.rules)

    @property
    def _is_uploaded(self) -> bool:
        run_dir = self._config.spool.run_dir
        spool = status.read(run_dir, "spool") or {}
        if spool.get("session") or spool.get("boot_ns", 0) < self._off_since_ns:
            return False
        if self._config.upload.mode == "off":
            return True
        upload = status.read(run_dir, "upload") or {}
        return bool(upload.get("drained")) and upload.get("looked_boot_ns", 0) > spool["boot_ns"]

    def _power_off(self, now_ns: int, why: str) -> None:
        """End the recording, durably, then ask for power-off."""
        log.warning("%s: powering off", why)
        self._change("off", now_ns)
        self._end_recording()
        file = self._config.spool.run_dir / OFF_FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"why": why, "boot_ns": now_ns}) + "\n")
        self._sign(now_ns)

    def _end_recording(self) -> None:
        began_ns = boot_ns()
        if self._order("stop", reason="shutdown"):
            log.info("what was recorded is durable after %.2f s", (boot_ns() - began_ns) / 1e9)

    def _order(self, command: str, **arguments: str) -> bool:
        socket = self._config.command_socket
        try:
            ask(socket, command, patience_s=PATIENCE_S, **arguments)
        except RecorderError as error:
            log.info("%s: %s", command, error)  # most often there is no recording to end
            return False
        return True

    def _change(self, state: str, now_ns: int) -> None:
        self._state = state
        self._sign(now_ns)

    def _sign(self, now_ns: int) -> None:
        self._signed_ns = now_ns
        inputs = [*filter(None, [self._ignition]), *self._lows]
        errors = "; ".join(one.error for one in inputs if one.error)
        facts = {"state": self._state, "error": errors}
        status.publish(self._config.spool.run_dir, "power", facts)
        self._notifier.ping(self._state + (f": {errors}" if errors else ""))

    def close(self) -> None:
        """Let go of the inputs; may be called twice."""
        for one in [*filter(None, [self._ignition]), *self._lows]:
            one.close()


def main(config: Config, stop: Stop) -> None:
    """Run the supply's process until told to stop."""
    power = Power(config)
    try:
        power.run(stop)
    finally:
        power.close()


if __name__ == "__main__":
    entry("power", main)
