"""What the station tells about itself, its sequences and its topics, in the JSON of Mosaico 0.7."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# As mosaicod 0.7 announces it; a batch above it ends its stream.
MOST_MESSAGE_BYTES = 52_428_800
TARGET_MESSAGE_BYTES = 4_000_000
VERSION = (0, 7, 0)


def version() -> dict[str, Any]:
    """Answer of `version`, for clients before 0.7."""
    major, minor, patch = VERSION
    return {
        "version": f"{major}.{minor}.{patch} (recorder ground station)",
        "semver": {"major": major, "minor": minor, "patch": patch, "pre": None},
    }


def info() -> dict[str, Any]:
    """Answer of `info`; the vendor's SDK wants all three numbers."""
    return version() | {
        "config": {
            "grpc_max_decode_message_size": MOST_MESSAGE_BYTES,
            "grpc_max_encode_message_size": MOST_MESSAGE_BYTES,
            "grpc_target_encode_message_size": TARGET_MESSAGE_BYTES,
        }
    }


def sequence(
    row: sqlite3.Row, sessions: Iterable[sqlite3.Row], topics: Iterable[sqlite3.Row]
) -> bytes:
    """A sequence as get_flight_info tells it."""
    of_session: dict[str, list[str]] = {}
    for topic in topics:
        of_session.setdefault(topic["session"], []).append(topic["locator"])
    return _json(
        {
            "created_at_ns": row["created_at_ns"],
            "resource_locator": row["name"],
            "user_metadata": json.loads(row["user_metadata"]),
            "sessions": [
                {
                    "locator": each["locator"],
                    "created_at_ns": each["created_at_ns"],
                    "completed_at_ns": each["completed_at_ns"],
                    "locked": each["completed_at_ns"] is not None,
                    "topics": of_session.get(each["locator"], []),
                }
                for each in sessions
            ],
        }
    )


def topic(row: sqlite3.Row, window: dict[str, Any] | None) -> bytes:
    """A topic as get_flight_info tells it.

    Args:
        row: from `Topics`; its sums count what is stored, also of an unfinished topic, but the
            interval is told only of a finalized one.
        window: the answer for an asked time range, None if none was asked.
    """
    locked = row["completed_at_ns"] is not None
    return _json(
        {
            "created_at_ns": row["created_at_ns"],
            "completed_at_ns": row["completed_at_ns"],
            "locked": locked,
            "resource_locator": row["locator"],
            "ontology_tag": row["ontology_tag"],
            "serialization_format": row["serialization_format"],
            "user_metadata": json.loads(row["user_metadata"]),
            "data_info": {
                "interval": interval(row["first_ns"], row["last_ns"]) if locked else None,
                "total_row_count": row["row_count"],
                "total_bytes": row["size_bytes"],
                "total_chunks_count": row["chunk_count"],
            },
            "time_window_info": window,
        }
    )


def interval(first_ns: int | None, last_ns: int | None) -> dict[str, int] | None:
    """Both ends inclusive; null without rows."""
    if first_ns is None or last_ns is None:
        return None
    return {"start_ns": first_ns, "end_ns": last_ns}


def notifications(locator: str, rows: Iterable[sqlite3.Row]) -> dict[str, Any]:
    """Notes on a sequence or a topic."""
    return {
        "notifications": [
            {
                "name": locator,
                "notification_type": "error",
                "msg": row["text"],
                "created_datetime": time.strftime(
                    "%Y-%m-%d %H:%M:%S UTC", time.gmtime(row["created_at_ns"] / 1e9)
                ),
            }
            for row in rows
        ]
    }


def _json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, separators=(",", ":")).encode()
