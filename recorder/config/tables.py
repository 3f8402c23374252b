"""The tables of the configuration: what there is, its unit and limits, and what stands unsaid."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

OnError = Literal["raise", "ignore", "finalize"]
MIB = 1024 * 1024


class Bounds:
    """Limits of a value, for the validator; nothing of it is in the memory of a process.

    Args:
        limits: ``ge gt le lt`` of a number, ``min_length max_length`` of a text or a list.
    """

    def __init__(self, **limits: float) -> None:
        self._limits = limits

    def __get_pydantic_core_schema__(
        self, source: object, handler: Callable[[object], dict[str, Any]]
    ) -> dict[str, Any]:
        """Add the limits to what pydantic asks of the type."""
        return {**handler(source), **self._limits}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the file. How `recorder.configfile` validates it: as written, and nothing else."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a lane's driver declares, for processes that have no use for the driver itself.

    Args:
        rate_hz: samples per second that the device is told to give; 0: they come when they come.
        documents: files that are needed to read the recording, by type.
        source: the file that the driver's class is from; empty if there is none.
    """

    rate_hz: float
    documents: dict[str, str]
    source: str


@dataclass(frozen=True, kw_only=True)
class Lane(Table):
    """One sensor: its driver, and what is only of this vehicle.

    Keys that are not listed here are the driver's own options and stand in `options`.

    Args:
        name: the lane's name and its topic's; ``a-z 0-9 _ -``, 1 to 64 characters.
        driver: a module of `drivers`, or ``package.module:Class``.
        rate_hz: samples per second that the device is told to give, 0.0001 to 100,000; None: the
            driver's usual.
        required: whether its absence lowers the quality and fails `recorder check`.
        weight: its share in the session's quality, relative to the other lanes, 0.001 to 1000.
        on_error: what the uploader does when the server refuses this lane's topic: ``raise`` stops
            the session's upload, ``ignore`` leaves the refused part out, ``finalize`` sends no more
            of this lane.
        ring_bytes: size of the ring between lane and spool, in bytes; None: 1 MiB, or 32 MiB for
            pictures.
        priority: which lanes' recordings go first when the disk is full: the smallest, -100 to 100.
            Among equals pictures go first, then rows, the lane with most samples per second first:
            camera before IMU before GPS.
        metadata: free facts that reach the topic.
        options: the driver's own keys.
        filled_by: the lane whose process fills this one, empty if it has one of its own; no key of
            the file.
        declared: what its driver declares, once that was asked (`recorder.devices`); no key of the
            file.
    """

    name: Annotated[str, Bounds(min_length=1, max_length=64)]
    driver: str
    rate_hz: Annotated[float, Bounds(ge=0.0001, le=100_000)] | None = None
    required: bool = True
    weight: Annotated[float, Bounds(ge=0.001, le=1000)] = 1.0
    on_error: OnError = "raise"
    ring_bytes: Annotated[int, Bounds(ge=65_536, le=1024 * MIB)] | None = None
    priority: Annotated[int, Bounds(ge=-100, le=100)] = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    filled_by: str = ""
    declared: Declared | None = None


@dataclass(frozen=True, kw_only=True)
class Vehicle(Table):
    """Which vehicle this recorder is bolted into.

    Args:
        name: part of every recording's name, 1 to 64 characters.
        metadata: free facts that reach the sequence on the server.
    """

    name: Annotated[str, Bounds(min_length=1, max_length=64)] = "vehicle"
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Model(Table):
    """The ATLAS model of a session.

    Args:
        group: category, at most 255 characters.
        version: iteration from 1; 0 is unversioned.
        configuration: how it was parameterised; None: a digest of this configuration.
    """

    group: Annotated[str, Bounds(max_length=255)] = "edge-recorder"
    version: Annotated[int, Bounds(ge=0)] = 0
    configuration: str | None = None


@dataclass(frozen=True, kw_only=True)
class Session(Table):
    """What is said of every session of this recorder.

    Args:
        type: class of session, at most 32 characters.
        identifier: template of the name for people; ``{vehicle}``, ``{start}`` (UTC) and ``{id8}``
            (first 8 characters of the session's id) are filled in.
        details: free facts, each a text, number or truth value.
        model: the ATLAS model.
        sources: ids of sessions that these come from.
        dependencies: type to what is needed to read them: ids (`recorder dependency`), or absolute
            paths of files, of which each session keeps and names the content as it begins.
        heartbeat_s: time between two heartbeats, 1 to 60 s.
        roll_over_s: a session that is as long as this is followed by a new one, at least 10 s.
        roll_over_bytes: so is one that holds as many bytes, at least 1 MiB; 0: whatever it holds.
    """

    type: Annotated[str, Bounds(min_length=1, max_length=32)] = "EdgeRecording"
    identifier: Annotated[str, Bounds(min_length=1, max_length=255)] = "{vehicle}_{start}_{id8}"
    details: dict[str, str | int | float | bool] = field(default_factory=dict)
    model: Model = field(default_factory=Model)
    sources: list[str] = field(default_factory=list)
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    heartbeat_s: Annotated[float, Bounds(ge=1, le=60)] = 10.0
    roll_over_s: Annotated[float, Bounds(ge=10)] = 3600.0
    roll_over_bytes: Annotated[int, Bounds(ge=0)] = 0


@dataclass(frozen=True, kw_only=True)
class Spool(Table):
    """Where recordings lie on this vehicle, and how they are kept.

    Args:
        directory: the recorder's directory on disk; the spool proper is ``spool`` in it.
        run_dir: rings, life signs and the command socket; in memory.
        marker: name of a file in `directory` that only the mounted partition has: while it is
            missing nothing is written there, and the rings hold what they can. Empty: no partition
            of its own is waited for.
        commit_interval_s: time between two group commits, 0.05 to 10 s: what a power cut may cost.
        loss_window_s: on a slow disk the time between two commits grows, up to this: what a power
            cut may cost at worst. At least `commit_interval_s`, at most 60 s.
        segment_bytes: a file of a lane that is as large as this is sealed, 64 KiB to 1 GiB.
        free_floor_bytes: space that is kept free on the disk, by giving up what is least needed; in
            any case that of two segments.
        max_bytes: what the spool may hold, kept in the same way; 0: as much as the disk takes. At
            least twice `segment_bytes`: what is being written is never given up.
        pin_share: most that pins may hold, as a share of `max_bytes`, or of the disk without its
            floor if there is no maximum: 0 to 1.
    """

    directory: Path = Path("/var/lib/recorder")
    run_dir: Path = Path("/run/recorder")
    marker: Annotated[str, Bounds(max_length=255)] = ""
    commit_interval_s: Annotated[float, Bounds(ge=0.05, le=10)] = 0.5
    loss_window_s: Annotated[float, Bounds(ge=0.05, le=60)] = 2.0
    segment_bytes: Annotated[int, Bounds(ge=65_536, le=1024 * MIB)] = 16 * MIB
    free_floor_bytes: Annotated[int, Bounds(ge=0)] = 512 * MIB
    max_bytes: Annotated[int, Bounds(ge=0)] = 0
    pin_share: Annotated[float, Bounds(ge=0, le=1)] = 0.5


@dataclass(frozen=True, kw_only=True)
class Upload(Table):
    """Where recordings go.

    Args:
        mode: ``live`` while recording, ``after_close`` of each session, or ``off``.
        server: ``grpc://host:port`` or ``grpc+tls://host:port``; needed unless `mode` is ``off``.
        key_file: file with the API key, readable by the recorder only; None: no key.
        certificate: PEM file with the root certificates for ``grpc+tls``; None: the system's.
        policy: what becomes of a session that failed on the server: ``report`` keeps what arrived,
            ``delete`` removes it.
        part_bytes: most bytes of one part (one stream to the server), 1 MiB to 4 GiB.
        part_s: most data time of one part, 1 to 3600 s.
        drain_s: how long `recorder run` waits at its end for the upload, in s.
        time_wait_s: how long a recording waits for a trusted time while its boot goes on, in s
            since it began.
        order: which finished recording goes first, after the pinned ones.
        most_bytes_per_s: of samples; 0: as fast as the link is.
        hours: when parts may begin, such as ``["22:00-06:00"]``, local time; empty: always.
        wait_on_metered: whether to wait while NetworkManager calls the network metered.
        metered_interfaces: those by which nothing is sent, such as ``["wwan0"]``.
        monthly_bytes: most bytes of samples in a calendar month (UTC); 0: no cap.
        reread_share: share of parts that are read back and compared before they are freed, 0 to 1.
    """

    mode: Literal["live", "after_close", "off"] = "live"
    server: Annotated[str, Bounds(max_length=255)] = ""
    key_file: Path | None = None
    certificate: Path | None = None
    policy: Literal["report", "delete"] = "report"
    part_bytes: Annotated[int, Bounds(ge=MIB, le=4096 * MIB)] = 128 * MIB
    part_s: Annotated[float, Bounds(ge=1, le=3600)] = 600.0
    drain_s: Annotated[float, Bounds(ge=0)] = 30.0
    time_wait_s: Annotated[float, Bounds(ge=0)] = 120.0
    order: Literal["oldest", "newest"] = "oldest"
    most_bytes_per_s: Annotated[int, Bounds(ge=0)] = 0
    hours: list[str] = field(default_factory=list)
    wait_on_metered: bool = False
    metered_interfaces: list[str] = field(default_factory=list)
    monthly_bytes: Annotated[int, Bounds(ge=0)] = 0
    reread_share: Annotated[float, Bounds(ge=0, le=1)] = 0.01


@dataclass(frozen=True, kw_only=True)
class Web(Table):
    """The status page.

    Args:
        enabled: whether `recorder run` serves it.
        host: address to listen on; 127.0.0.1 is this machine only, 0.0.0.0 every network.
        port: TCP port; 0 takes a free one.
    """

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Bounds(ge=0, le=65_535)] = 8080
