"""What a session is when it is announced: everything the configuration says of it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from recorder import __version__
from recorder.box.identity import settle
from recorder.clock import boot_id, boot_ns
from recorder.config import to_json
from recorder.devices import declared
from recorder.errors import SpoolError
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session
from recorder.spool.dependencies import content_id, content_of
from recorder.spool.said import join
from recorder.spool.spool import Spool

if TYPE_CHECKING:
    from recorder.config import Config
    from recorder.spool.dependencies import Dependencies
    from recorder.spool.said import Said


def new_session(config: Config, store: Dependencies, said: Said, predecessor: str = "") -> Session:
    """Describe a session that begins now, with one account for each lane of the configuration.

    What it needs is put into the store before it is named. A disk that does not take it keeps
    nobody from recording: the session says that it is missing.

    Args:
        config: the resolved configuration.
        store: of the dependencies.
        said: what people said of the recording that goes on in it.
        predecessor: id of the session that it follows without a gap, or empty.
    """
    resolved = to_json(config).encode()
    chosen = config.session
    model = dataclasses.asdict(chosen.model)
    model["configuration"] = model["configuration"] or content_id(resolved)
    session = Session(
        id=str(uuid.uuid4()),
        boot_id=boot_id().hex(),
        type=chosen.type,
        identifier="",
        vehicle=config.vehicle.name,
        details=dict(chosen.details),
        model=model,
        sources=list(chosen.sources),
        predecessor=predecessor,
        dependencies={
            "configuration": [_kept(store, "configuration", resolved)],
            "software": [_kept(store, "software", _software(config))],
        },
        heartbeat_s=chosen.heartbeat_s,
        announced_boot_ns=boot_ns(),
        lanes=[
            LaneLedger(one.name, one.required, one.weight, declared(one).rate_hz)
            for one in config.lanes
        ],
    )
    named = {
        kind: [_named(store, kind, one) for one in names]
        for kind, names in chosen.dependencies.items()
    }
    join(session.dependencies, named)
    join(session.dependencies, _documents(config, store))
    said.apply(session)
    who = settle(config, lambda: _newest(config))
    session.vehicle = who.name
    session.details.setdefault("box", who.box)
    session.dependencies_missing = store.missing(session.dependencies)
    return session


def _newest(config: Config) -> int:
    """Return the running number of the newest session in the spool, 0 if there is none."""
    spool = Spool.current(config.spool_dir)
    return max(map(spool.number, spool.session_ids()), default=0)


def _kept(store: Dependencies, kind: str, content: bytes) -> str:
    """Keep a content; return its id even if that cannot be done: it will be named as missing."""
    with contextlib.suppress(OSError, SpoolError):
        store.add(kind, content)
    return content_id(content)


def _named(store: Dependencies, kind: str, name: str) -> str:
    """Return the id of what the configuration names: an id, or a file of which it is the path."""
    if not name.startswith("/"):
        return name
    try:
        return store.add(kind, content_of(Path(name)))
    except (OSError, SpoolError):
        return name  # it is named as missing


def _documents(config: Config, store: Dependencies) -> dict[str, list[str]]:
    """Return what the lanes' drivers name (``calibration`` of lane imu is ``calibration_imu``)."""
    files = {
        f"{kind}_{lane.name}": file
        for lane in config.lanes
        for kind, file in declared(lane).documents.items()
    }
    return {kind: [_named(store, kind, file)] for kind, file in files.items()}


def _software(config: Config) -> bytes:
    """Return what records, as JSON: versions, and the digest of each driver's source."""
    drivers = {one.driver: _digest(declared(one).source) for one in config.lanes}
    facts = {
        "recorder": __version__,
        "python": ".".join(map(str, sys.version_info[:3])),
        "kernel": os.uname().release,
        "drivers": drivers,
    }
    return json.dumps(facts, sort_keys=True, indent=1).encode()


def _digest(file: str) -> str:
    try:
        return content_id(Path(file).read_bytes()).removeprefix("sha256:")
    except OSError:
        return ""
