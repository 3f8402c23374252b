"""Names and metadata keys that every server takes.

Rules of the vendor's SDK 0.7 and of servers since 0.6: a sequence's name begins with a letter or
digit and goes on with those, ``-`` and ``_``; a topic's path has ``/`` besides; a key of metadata
is not empty, holds letters, digits, space, ``_`` and ``-``, and no ``--``.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9 _-]+")
_DASHES = re.compile(r"-{2,}")
_MOST_VEHICLE_CHARACTERS = 64


def sequence_name(vehicle: str, start: str, session_id: str, number: int) -> str:
    """Return the name of a recording's sequence.

    Args:
        vehicle: the vehicle's name; what a name must not hold becomes ``-``.
        start: when it began, as ``20140326T123825Z``.
        session_id: the recording's UUID; its first eight characters close the name.
        number: 1; more if the names before are taken by other recordings.

    >>> sequence_name("Prüf wagen/7", "20140326T123825Z", "5d0c6a0e-1111", 2)
    'Pr-f-wagen-7-20140326T123825Z-5d0c6a0e-2'
    """
    plain = _NOT_IN_NAME.sub("-", vehicle)[:_MOST_VEHICLE_CHARACTERS].strip("-_") or "vehicle"
    suffix = f"-{number}" if number > 1 else ""
    return f"{plain}-{start}-{session_id[:8]}{suffix}"


def abandoned_mark(recording_id: str) -> str:
    """Return the stable end of the note that says that a recording is abandoned."""
    return f"[{recording_id}/abandoned]"


def topic_path(lane: str, number: int | None) -> str:
    """Return the path of a part's topic in its sequence.

    Args:
        lane: the lane or own topic; what a path must not hold becomes ``-``.
        number: of the part, or None if the topic holds everything of its lane.

    >>> topic_path("camera/front", 3)
    'camera/front/p000003'
    """
    words = (_NOT_IN_NAME.sub("-", word).strip("-_") for word in lane.split("/"))
    path = "/".join(word for word in words if word) or "lane"
    return path if number is None else f"{path}/p{number:06d}"


def legal_keys(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata whose keys every server takes, at every depth, and whose values are JSON.

    A forbidden character becomes ``_`` and a run of dashes one; a key that would then be there
    twice gets ``_2``, ``_3`` … in the order of the original. A number that is none becomes null,
    half of a surrogate pair (a byte of the command line that was no UTF-8) ``?``.

    >>> legal_keys({"a.b": 1, "a_b": {"x--y": [{"": 2}]}})
    {'a_b': 1, 'a_b_2': {'x-y': [{'_': 2}]}}
    """
    legal: dict[str, Any] = {}
    for key, inner in metadata.items():
        wanted = _DASHES.sub("-", _NOT_IN_KEY.sub("_", str(key))) or "_"
        name, number = wanted, 2
        while name in legal:
            name, number = f"{wanted}_{number}", number + 1
        legal[name] = _legal(inner)
    return legal


def _legal(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_legal(one) for one in value]
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return legal_keys(value) if isinstance(value, dict) else value
