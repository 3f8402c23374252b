"""Running a driver that may be a user's own, and so may raise anything at all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drivers.base import DriverError
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def guarded(name: str) -> Iterator[None]:
    """Tell what no driver should raise, in one line that names the driver.

    Args:
        name: of the driver, as the configuration has it.

    Raises:
        ConfigError: anything but a DriverError or a ConfigError was raised; these go through.
    """
    try:
        yield
    except (DriverError, ConfigError):
        raise
    except Exception as error:  # the code is a user's own: no class can be foreseen
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"driver {name!r}: {text}") from error
