"""What is wrong with the table on the box's supply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.configfile.values import shown
from recorder.errors import RecorderError
from recorder.gpio import check_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from recorder.config import Power


def of_power(power: Power) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong)."""
    for key, spec in power.inputs.items():
        try:
            check_line(spec)
        except RecorderError as error:
            yield f"power.{key}", f"found {error}"
    if power.voltage and not power.voltage.startswith("file:"):
        yield "power.voltage", f"found {shown(power.voltage)}; must be such as 'file:/path'"
    if bool(power.voltage) != (power.low_volts is not None):
        missing = "low_volts" if power.voltage else "voltage"
        yield f"power.{missing}", "is missing; voltage and low_volts belong together"
