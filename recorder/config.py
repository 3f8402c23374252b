"""The configuration: one TOML file, resolved once, handed to every process as JSON.

The classes here say what there is, in which unit, within which limits, and what stands when nothing
is said. `recorder.configfile` reads the file and reports everything that is wrong with it at once;
the processes read only `from_json`, so that no lane carries a validator in its memory.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Len, MaxLen

OnError = Literal["raise", "ignore", "finalize"]
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One sensor: its driver, and what is only of this vehicle.

    Keys that are not listed here are the driver's own options and stand in `options`.
    """

    name: Annotated[str, Len(1, 64)]
    driver: str
    rate_hz: Annotated[float, Gt(0), Le(100_000)] | None = None
    required: bool = True
    weight: Annotated[float, Gt(0)] = 1.0
    on_error: OnError = "raise"
    ring_bytes: Annotated[int, Interval(ge=65_536, le=1024 * MIB)] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """Which vehicle this recorder is bolted into."""

    name: Annotated[str, Len(1, 64)] = "vehicle"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Model:
    """The ATLAS model of a session."""

    group: Annotated[str, MaxLen(255)] = "edge-recorder"
    version: Annotated[int, Ge(0)] = 0
    configuration: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session:
    """What is said of every session of this recorder."""

    type: Annotated[str, Len(1, 32)] = "EdgeRecording"
    identifier: Annotated[str, Len(1, 255)] = "{vehicle}_{start}_{id8}"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    model: Model = field(default_factory=Model)
    sources: list[str] = field(default_factory=list)
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    heartbeat_s: Annotated[float, Interval(ge=1, le=60)] = 10.0
    roll_over_s: Annotated[float, Ge(10)] = 3600.0


@dataclass(frozen=True, kw_only=True)
class Spool:
    """Where recordings lie on this vehicle, and how they are kept."""

    directory: Path = Path("/var/lib/recorder")
    run_dir: Path = Path("/run/recorder")
    commit_interval_s: Annotated[float, Interval(ge=0.05, le=10)] = 0.5
    segment_bytes: Annotated[int, Interval(ge=65_536, le=1024 * MIB)] = 16 * MIB
    free_floor_bytes: Annotated[int, Ge(0)] = 512 * MIB


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Where recordings go."""

    mode: Literal["live", "after_close", "off"] = "live"
    server: Annotated[str, MaxLen(255)] = ""
    key_file: Path | None = None
    certificate: Path | None = None
    policy: Literal["report", "delete"] = "report"
    part_bytes: Annotated[int, Interval(ge=MIB, le=4096 * MIB)] = 128 * MIB
    part_s: Annotated[float, Interval(ge=1, le=3600)] = 600.0
    drain_s: Annotated[float, Ge(0)] = 30.0
    time_wait_s: Annotated[float, Ge(0)] = 120.0


@dataclass(frozen=True, kw_only=True)
class Web:
    """The status page."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Interval(ge=0, le=65_535)] = 8080


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that differs between vehicles."""

    lanes: Annotated[list[Lane], Len(1, 64)]
    vehicle: Vehicle = field(default_factory=Vehicle)
    session: Session = field(default_factory=Session)
    spool: Spool = field(default_factory=Spool)
    upload: Upload = field(default_factory=Upload)
    web: Web = field(default_factory=Web)

    def lane(self, name: str) -> Lane:
        """Return the lane of a name; KeyError if there is none."""
        for one in self.lanes:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def spool_dir(self) -> Path:
        """Directory of the spool proper; only the spooler writes in it."""
        return self.spool.directory / "spool"

    @property
    def upload_dir(self) -> Path:
        """Directory of the uploader's journals; only the uploader writes in it."""
        return self.spool.directory / "upload"

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
    """Return the resolved configuration as one line of JSON, every default spelled out."""
    return json.dumps(dataclasses.asdict(config), default=str, separators=(",", ":"))


def from_json(text: str) -> Config:
    """Read what `to_json` made; it was validated before it was written."""
    raw = json.loads(text)
    spool, upload = raw["spool"], raw["upload"]
    for key in ("directory", "run_dir"):
        spool[key] = Path(spool[key])
    for key in ("key_file", "certificate"):
        upload[key] = Path(upload[key]) if upload[key] else None
    session = raw["session"]
    session["model"] = Model(**session["model"])
    return Config(
        lanes=[Lane(**one) for one in raw["lanes"]],
        vehicle=Vehicle(**raw["vehicle"]),
        session=Session(**session),
        spool=Spool(**spool),
        upload=Upload(**upload),
        web=Web(**raw["web"]),
    )
