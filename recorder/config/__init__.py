"""The configuration: one TOML file, resolved once, handed to every process as JSON.

`tables` says what there is, in which unit, within which limits, and what stands when nothing is
said. `recorder.configfile` reads the file and reports everything that is wrong with it at once;
the processes read only `from_json`, so that no lane carries a validator in its memory.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from recorder.config.clock import Clock
from recorder.config.power import Power
from recorder.config.rules import Rule
from recorder.config.tables import (
    MIB,
    Bounds,
    Declared,
    Lane,
    Model,
    OnError,
    Session,
    Spool,
    Table,
    Upload,
    Vehicle,
    Web,
)

__all__ = [
    "MIB",
    "Bounds",
    "Clock",
    "Config",
    "Declared",
    "Lane",
    "Model",
    "OnError",
    "Power",
    "Rule",
    "Session",
    "Spool",
    "Table",
    "Upload",
    "Vehicle",
    "Web",
    "from_json",
    "to_json",
]


@dataclass(frozen=True, kw_only=True)
class Config(Table):
    """Everything that differs between vehicles.

    Args:
        lanes: one table for each sensor, 1 to 64.
        vehicle: table ``[vehicle]``.
        session: table ``[session]``.
        spool: table ``[spool]``.
        upload: table ``[upload]``.
        web: table ``[web]``.
        clock: table ``[clock]``.
        power: table ``[power]``.
        rules: one table ``[[rules]]`` for each thing to do by itself, at most 64.
    """

    lanes: Annotated[list[Lane], Bounds(min_length=1, max_length=64)]
    vehicle: Vehicle = field(default_factory=Vehicle)
    session: Session = field(default_factory=Session)
    spool: Spool = field(default_factory=Spool)
    upload: Upload = field(default_factory=Upload)
    web: Web = field(default_factory=Web)
    clock: Clock = field(default_factory=Clock)
    power: Power = field(default_factory=Power)
    rules: Annotated[list[Rule], Bounds(max_length=64)] = field(default_factory=list)

    def lane(self, name: str) -> Lane:
        """Return the lane of a name; KeyError if there is none."""
        return {one.name: one for one in self.lanes}[name]

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool proper; only the spooler writes in it."""
        return self.spool.directory / "spool"

    @property
    def upload_dir(self) -> Path:
        """Directory of the uploader's journals; only the uploader writes in it."""
        return self.spool.directory / "upload"

    @property
    def dependencies_dir(self) -> Path:
        """Directory of the store of dependencies; only the spooler writes in it."""
        return self.spool.directory / "dependencies"

    @property
    def box_dir(self) -> Path:
        """Directory that says which box this card was made in; only the spooler writes in it."""
        return self.spool.directory / "box"

    @property
    def keys_dir(self) -> Path:
        """Directory of this box's own API keys; only the uploader reads and writes in it."""
        return self.spool.directory / "keys"

    @property
    def rings_dir(self) -> Path:
        """Directory of the rings; on a tmpfs on the vehicle."""
        return self.spool.run_dir / "rings"

    @property
    def command_socket(self) -> Path:
        """UNIX socket on which the spooler takes commands."""
        return self.spool.run_dir / "command.sock"

    @property
    def watermark_file(self) -> Path:
        """File that says how far the spool is durable."""
        return self.spool.run_dir / "watermark"


def to_json(config: Config) -> str:
    """Return the resolved configuration as one line of JSON, every default spelled out.

    What its drivers declare is not in it.
    """
    plain = dataclasses.asdict(config)
    for lane in plain["lanes"]:
        del lane["declared"]
    return json.dumps(plain, default=str, separators=(",", ":"))


def from_json(text: str) -> Config:
    """Read what `to_json` or `recorder.devices.handed_over` made; it was validated before."""
    raw = json.loads(text)
    spool, upload, session = raw["spool"], raw["upload"], raw["session"]
    socket = raw["clock"]["chrony_socket"]
    spool |= {key: Path(spool[key]) for key in ("directory", "run_dir")}
    upload |= {key: upload[key] and Path(upload[key]) for key in ("key_file", "certificate")}
    session["model"] = Model(**session["model"])
    return Config(
        lanes=[_lane(one) for one in raw["lanes"]],
        vehicle=Vehicle(**raw["vehicle"]),
        session=Session(**session),
        spool=Spool(**spool),
        upload=Upload(**upload),
        web=Web(**raw["web"]),
        clock=Clock(chrony_socket=socket and Path(socket)),
        power=Power(**raw["power"]),
        rules=[Rule(**one) for one in raw["rules"]],
    )


def _lane(raw: dict[str, Any]) -> Lane:
    declared = raw.pop("declared", None)
    return Lane(**raw, declared=declared and Declared(**declared))
