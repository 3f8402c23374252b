"""What a session is when it is announced: everything the configuration says of it."""

from __future__ import annotations

import dataclasses
import hashlib
import uuid
from typing import TYPE_CHECKING

from recorder import __version__
from recorder.clock import boot_id, boot_ns
from recorder.config import to_json
from recorder.devices import make_driver
from recorder.session.ledger import LaneLedger
from recorder.session.session import Session

if TYPE_CHECKING:
    from recorder.config import Config


def new_session(config: Config) -> Session:
    """Describe a session that begins now, with one account for each lane of the configuration."""
    digest = "sha256:" + hashlib.sha256(to_json(config).encode()).hexdigest()
    chosen = config.session
    model = dataclasses.asdict(chosen.model)
    model["configuration"] = model["configuration"] or digest
    needs = {"configuration": [digest], "software": [f"edge-recorder {__version__}"]}
    return Session(
        id=str(uuid.uuid4()),
        boot_id=boot_id().hex(),
        type=chosen.type,
        identifier="",
        vehicle=config.vehicle.name,
        details=dict(chosen.details),
        model=model,
        sources=list(chosen.sources),
        dependencies={**needs, **chosen.dependencies},
        heartbeat_s=chosen.heartbeat_s,
        announced_boot_ns=boot_ns(),
        lanes=[
            LaneLedger(one.name, one.required, one.weight, make_driver(one).rate_hz)
            for one in config.lanes
        ],
    )
