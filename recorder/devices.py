"""From a lane's table in the configuration to its driver."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import sys
from typing import TYPE_CHECKING

from drivers.base import Driver
from recorder.config import Declared, to_json
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from recorder.config import Config, Lane


def driver_class(name: str) -> type[Driver]:
    """Return the driver of a name: a module of `drivers`, or the user's own.

    Args:
        name: ``mpu6050`` for `drivers.mpu6050`, or ``package.module:Class``.

    Raises:
        ConfigError: there is none, or it is no `Driver`.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = importlib.import_module(module_name if class_name else f"drivers.{name}")
    except ImportError as error:
        raise ConfigError(f"driver {name!r}: cannot be imported: {error}") from error
    for one in vars(module).values():
        is_driver = inspect.isclass(one) and issubclass(one, Driver) and one is not Driver
        if is_driver and (one.__name__ == class_name or getattr(one, "kind", None) == name):
            found: type[Driver] = one
            return found
    raise ConfigError(f"driver {name!r}: its module has no such subclass of drivers.base.Driver")


def is_shipped(name: str) -> bool:
    """Tell whether a driver is a part of this program; a user's own may change under its name."""
    return ":" not in name or name.startswith("recorder.")


def options(driver: type[Driver]) -> dict[str, inspect.Parameter]:
    """Return the keys that a driver takes in its lane's table."""
    signature = inspect.signature(driver)
    return {name: one for name, one in signature.parameters.items() if one.kind is one.KEYWORD_ONLY}


def make_driver(lane: Lane) -> Driver:
    """Make a lane's driver; no hardware is touched.

    Raises:
        ConfigError: it does not take what the lane's table says.
    """
    chosen = dict(lane.options)
    if lane.rate_hz is not None:
        chosen["rate_hz"] = lane.rate_hz
    try:
        return driver_class(lane.driver)(**chosen)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"lane {lane.name!r}, driver {lane.driver!r}: {error}") from error


def declared(lane: Lane) -> Declared:
    """Return what a lane's driver declares: as it was told (`handed_over`), else by the driver.

    Raises:
        ConfigError: as `make_driver`.
    """
    if lane.declared is not None:
        return lane.declared
    driver = make_driver(lane)
    documents = {kind: str(file) for kind, file in driver.documents.items()}
    source = sys.modules[type(driver).__module__].__file__
    return Declared(rate_hz=driver.rate_hz, documents=documents, source=source or "")


def handed_over(config: Config) -> str:
    """Return a configuration as JSON for a process, with what the lanes' drivers declare.

    So no process has the code of a device in it but that device's lane.

    Raises:
        ConfigError: as `make_driver`.
    """
    plain = json.loads(to_json(config))
    for table, lane in zip(plain["lanes"], config.lanes, strict=True):
        table["declared"] = dataclasses.asdict(declared(lane))
    return json.dumps(plain, separators=(",", ":"))
