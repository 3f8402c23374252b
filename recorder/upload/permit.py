"""Whether the upload may work by itself now: by the hours, and by the network it would use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from recorder.upload import route
from recorder.upload.hours import is_within

if TYPE_CHECKING:
    from recorder.config import Upload

#: The network is looked at again after so long.
LOOK_S = 15.0


class Permit:
    """Asks what was configured whether anything may be sent.

    Args:
        settings: `hours`, `wait_on_metered`, `metered_interfaces`, `server`.
    """

    def __init__(self, settings: Upload) -> None:
        self._settings = settings
        self._next_look_s = 0.0
        self._metered = ""

    def reason(self) -> str:
        """Return why nothing may be sent now, in words; empty if it may."""
        hours = self._settings.hours
        if hours and not is_within(hours, time.localtime()):
            return f"it is outside of upload.hours, {', '.join(hours)} (local time)"
        if time.monotonic() >= self._next_look_s:
            self.look()
        return self._metered

    def look(self) -> None:
        """Look at the network now."""
        self._next_look_s = time.monotonic() + LOOK_S
        self._metered = self._why_metered()

    def _why_metered(self) -> str:
        listed = self._settings.metered_interfaces
        if listed:
            host = self._settings.server.partition("://")[2].rpartition(":")[0].strip("[]")
            interface = route.interface_to(host)
            if interface in listed:
                return f"the server is reached by {interface}, one of upload.metered_interfaces"
        if self._settings.wait_on_metered and route.is_metered():
            return "the network is metered, says NetworkManager (upload.wait_on_metered)"
        return ""
