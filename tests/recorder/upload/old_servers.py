"""A ground station that answers as a server of another generation does (0.5 to 0.7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow.flight as fl
import pytest

from recorder.ground import answers
from recorder.ground.flight import FlightService
from recorder.ground.refusals import RefusedError
from recorder.mosaico.codec import PROPERTIES_KEY, USER_METADATA_KEY


def become(monkeypatch: pytest.MonkeyPatch, minor: int) -> None:
    """Let every station of this process answer as server 0.`minor`."""
    monkeypatch.setattr(answers, "VERSION", (0, minor, 0))
    gone = "version" if minor >= 7 else "info"
    do_action = FlightService.do_action

    def act(self: Any, context: Any, action: fl.Action) -> Any:
        if action.type == gone:
            raise RefusedError(f"no available action {gone}")
        return do_action(self, context, action)

    monkeypatch.setattr(FlightService, "do_action", act)
    if minor < 7:
        describe = FlightService.get_flight_info
        monkeypatch.setattr(FlightService, "get_flight_info", _older(describe))


def _older(describe: Callable[..., fl.FlightInfo]) -> Callable[..., fl.FlightInfo]:
    def get_flight_info(self: Any, context: Any, descriptor: fl.FlightDescriptor) -> fl.FlightInfo:
        told = describe(self, context, descriptor)
        facts = json.loads(told.app_metadata) if told.app_metadata else None
        of_topic = json.loads(told.endpoints[0].app_metadata) if facts is None else facts
        metadata = {USER_METADATA_KEY: json.dumps(of_topic.pop("user_metadata"))}
        if facts is None:
            named = {key: of_topic[key] for key in ("ontology_tag", "serialization_format")}
            metadata[PROPERTIES_KEY] = json.dumps(named)
        return fl.FlightInfo(
            told.schema.with_metadata(metadata),
            descriptor,
            [fl.FlightEndpoint(one.ticket, [], app_metadata=_topic(one)) for one in told.endpoints],
            app_metadata=b"" if facts is None else json.dumps(facts).encode(),
        )

    return get_flight_info


def _topic(endpoint: fl.FlightEndpoint) -> bytes:
    facts = json.loads(endpoint.app_metadata)
    data = facts["data_info"]
    kept = ("created_at_ns", "completed_at_ns", "locked", "resource_locator")
    info = {
        "chunks_number": data["total_chunks_count"],
        "total_bytes": data["total_bytes"],
        "timestamp": data["interval"],
    }
    told = {**{key: facts[key] for key in kept}, "info": info if facts["locked"] else None}
    return json.dumps(told).encode()
