"""Rules for names and metadata keys: the vendor SDK's, the strictest of those in the field."""

from __future__ import annotations

import re
from typing import Any

from recorder.ground.refusals import RefusedError

MOST_CHARACTERS = 128
_SEQUENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9_-]+)*")
_METADATA_KEY = re.compile(r"[A-Za-z0-9 _-]+")


def check_sequence(name: str) -> str:
    """Return the name of a new sequence.

    Raises:
        RefusedError: not a letter or digit first, a character outside ``A-Za-z0-9_-``, or longer
            than `MOST_CHARACTERS`.
    """
    return _check(name, _SEQUENCE, "sequence")


def check_topic(locator: str) -> tuple[str, str]:
    """Split the locator of a new topic into its sequence and its path.

    Raises:
        RefusedError: a part is not a valid name; a slash leads, trails or is doubled.
    """
    sequence, _, path = locator.partition("/")
    return check_sequence(sequence), _check(path, _TOPIC, "topic")


def check_metadata(metadata: object) -> dict[str, Any]:
    """Return user metadata, an empty dictionary for null.

    Raises:
        RefusedError: no object, or somewhere in it a key that is empty, has a double dash or a
            character outside ``A-Za-z0-9 _-``.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise RefusedError("user_metadata must be an object")
    _check_keys(metadata)
    return metadata


def check_metadata_path(path: str) -> list[str]:
    """Split a dotted path into the metadata's keys.

    Raises:
        RefusedError: a part of it can be no key.
    """
    parts = path.split(".")
    for part in parts:
        _check_key(part)
    return parts


def locator(name: str) -> str:
    """The form in which a locator is stored: the SDK shows topics with a leading slash."""
    return name.strip("/")


def _check(name: str, pattern: re.Pattern[str], kind: str) -> str:
    if len(name) > MOST_CHARACTERS or not pattern.fullmatch(name):
        raise RefusedError(f"invalid {kind} name {name!r}")
    return name


def _check_keys(value: object) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_key(key)
            _check_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_keys(inner)


def _check_key(key: str) -> None:
    if not _METADATA_KEY.fullmatch(key) or "--" in key:
        raise RefusedError(f"invalid metadata key {key!r}")
