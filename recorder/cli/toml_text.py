"""A resolved configuration as TOML, every default spelled out, so that it can be copied back."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.devices import driver_class, options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from recorder.config import Config, Lane

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def resolved(config: Config) -> dict[str, Any]:
    """Return the tables of a configuration, the drivers' own defaults among the lanes' keys."""
    plain = dataclasses.asdict(config)
    plain["lanes"] = [_lane(one) for one in config.lanes if not one.filled_by]
    return plain


def _lane(lane: Lane) -> dict[str, Any]:
    plain = dataclasses.asdict(lane)
    own = plain.pop("options")
    del plain["filled_by"], plain["declared"]
    taken = options(driver_class(lane.driver)).items()
    # What stands in a signature cannot be a list; in the file it is one.
    usual = {
        key: list(one.default) if isinstance(one.default, tuple) else one.default
        for key, one in taken
    }
    given = {key: value for key, value in {**plain, **own}.items() if value is not None}
    return {**dict.fromkeys(plain), **usual, **given}


def toml(tables: Mapping[str, Any]) -> str:
    """Return tables as TOML; a key without a value stands in a comment."""
    lines: list[str] = []
    for name, table in tables.items():
        for one in table if isinstance(table, list) else [table]:
            lines += [f"[[{name}]]" if isinstance(table, list) else f"[{name}]", *_keys(one), ""]
    return "\n".join(lines[:-1])


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        yield f"# {key} is not set" if value is None else f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, dict):
        inner = (f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, (bool, str, Path)):
        return json.dumps(value, default=str, ensure_ascii=False)
    return repr(value)
