"""Reads the configuration file, and reports everything that is wrong with it at once.

What there is, in which unit and within which limits is said in `recorder.config`; what a lane's
table may hold besides, by the driver's own constructor. One line for each problem: the file, the
key's path (with the lane's name), what was found, and what is allowed.
"""

from __future__ import annotations

import difflib
import functools
import json
import pkgutil
import stat
import sys
import typing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import drivers
from recorder import configrules
from recorder.config import Config, Lane, Session, Spool, Upload, Vehicle, Web
from recorder.devices import driver_class, make_driver, options
from recorder.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    import inspect
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from drivers.base import Driver

_T = TypeVar("_T")
_MOST_SHOWN_CHARS = 60
_SECTIONS = {
    "vehicle": Vehicle,
    "session": Session,
    "spool": Spool,
    "upload": Upload,
    "web": Web,
}
_LANE_KEYS = [one.name for one in fields(Lane) if one.name != "options"]
#: Keys that hold paths: from the folder of the file, wherever the recorder is started.
_PATHS = (
    ("spool", "directory"),
    ("spool", "run_dir"),
    ("upload", "key_file"),
    ("upload", "certificate"),
)
#: What stands in for a lane's required key that is missing or wrong, while the rest is checked.
_STAND_INS = {"name": "?", "driver": "?"}


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read and check a configuration file; no device is touched.

    Args:
        path: the TOML file. Relative paths in it count from its own folder, ``~`` is the home.
        overrides: tables that go over the file's, key by key.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong; one line for each problem.
    """
    raw = _merged(_read(path), overrides or {})
    for section, key in _PATHS:
        table = raw.get(section)
        if isinstance(table, dict) and isinstance(table.get(key), str):
            table[key] = str(path.absolute().parent / Path(table[key]).expanduser())
    check = _Check()
    config = check.config(raw)
    if config is None or check.problems:
        lines = [f"{path}: {key}{text}" for key, text in check.problems.items()]
        raise ConfigError("\n".join(lines))
    return config


def check_files(config: Config) -> None:
    """Check the files that only the uploader reads; no lane must wait for them.

    Raises:
        ConfigError: one is missing or unreadable, or others may read the key; a line for each.
    """
    problems: list[str] = []
    for key in ("key_file", "certificate"):
        path = getattr(config.upload, key)
        if path is None:
            continue
        try:
            with path.open("rb"):
                mode = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            problems.append(f"upload.{key}: found {_shown(path)}; {error.strerror}")
            continue
        if key == "key_file" and mode & stat.S_IROTH:
            problems.append(
                f"upload.key_file: {_shown(path)} has mode {mode:04o}, so everybody may read it;"
                f" allowed is 0640 or stricter: chmod o-rwx {path}"
            )
    if problems:
        raise ConfigError("\n".join(problems))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error


def _merged(table: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in over.items():
        below = merged.get(key)
        is_table = isinstance(value, dict) and isinstance(below, dict)
        merged[key] = _merged(below, value) if is_table and below is not None else value
    return merged


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN_CHARS else f"{text[:_MOST_SHOWN_CHARS]}…"


def _near(key: str, known: Iterable[str], what: str = "keys here") -> str:
    names = list(known)
    near = difflib.get_close_matches(key, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}{what}: {', '.join(names)}"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - whatever a driver's constructor says
    return TypeAdapter(kind)


def _parsed(kind: Any, value: object) -> Any:  # noqa: ANN401 - see above
    # Through JSON, where text stands for a path but not for a number.
    return _adapter(kind).validate_json(json.dumps(value, default=str), strict=True)


def known_drivers() -> list[str]:
    """Return the names of the drivers that ship, sorted."""
    names = [one.name for one in pkgutil.iter_modules(drivers.__path__) if not one.ispkg]
    return sorted(name for name in names if _is_driver(name))


def _is_driver(name: str) -> bool:
    try:
        driver_class(name)
    except ConfigError:
        return False
    return True


class _Check:
    """One reading of a file; `problems` has what was found wrong, by key.

    A key that is wrong is reported once, and left out while everything else is checked.
    """

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def note(self, key: str, text: str) -> None:
        self.problems.setdefault(key, f": {text}")

    def config(self, raw: dict[str, Any]) -> Config | None:
        known = [one.name for one in fields(Config)]
        for key in raw:
            if key not in known:
                self.note(key, f"unknown; {_near(key, known, 'tables')}")
        tables = {
            name: self._table(kind, raw.get(name, {}), name) for name, kind in _SECTIONS.items()
        }
        lanes = self._lanes(raw.get("lanes"))
        for rule in (configrules.server, configrules.identifier, configrules.metadata):
            for key, text in rule(tables):
                self.note(key, text)
        return None if self.problems else Config(lanes=lanes, **tables)

    def _table(self, kind: type[_T], raw: object, path: str, label: str = "") -> _T:
        """Return the valid table, or what is valid of it."""
        try:
            valid: _T = _parsed(kind, raw)
        except ValidationError as error:
            wrong = {self._explain(one, kind, raw, path, label) for one in _gathered(error, raw)}
            table = raw if isinstance(raw, dict) else {}
            kept = {key: value for key, value in table.items() if key not in wrong}
            stand_ins = _STAND_INS if kind is Lane else {}
            valid = _parsed(kind, {**stand_ins, **kept})
        return valid

    def _explain(
        self, error: ErrorDetails, kind: type, raw: object, path: str, label: str
    ) -> int | str | None:
        loc = error["loc"]
        key = ".".join([path, *(str(part) for part in loc)])
        if error["type"] == "unexpected_keyword_argument":
            owner = typing.get_type_hints(kind)[str(loc[0])] if len(loc) > 1 else kind
            names = [one.name for one in fields(owner)]
            text = f"unknown, found {_shown(error['input'])}; {_near(str(loc[-1]), names)}"
        elif error["type"] == "missing":
            text = "is missing"
        else:
            text = f"found {_shown(error['input'])}; {error['msg']}"
        self.note(f"{key}{label}", text)
        return loc[0] if loc else None

    def _lanes(self, raw: object) -> list[Lane]:
        if not isinstance(raw, list) or not raw:
            found = "is missing" if raw is None else f"found {_shown(raw)}"
            self.note("lanes", f"{found}; allowed is one table [[lanes]] for each sensor")
            return []
        lanes = [self._lane(one, f"lanes[{index}]") for index, one in enumerate(raw)]
        most = 64
        if len(lanes) > most:
            self.note("lanes", f"found {len(lanes)} lanes; allowed are at most {most}")
        made = [self._driver(lane, f"lanes[{index}]") for index, lane in enumerate(lanes)]
        for index, key, text in configrules.together(lanes, made):
            self.note(f"lanes[{index}]{key}{_label(lanes[index])}", text)
        return lanes

    def _lane(self, raw: object, path: str) -> Lane:
        table = raw
        label = ""
        if isinstance(raw, dict):
            known = {key: value for key, value in raw.items() if key in _LANE_KEYS}
            own = {key: value for key, value in raw.items() if key not in _LANE_KEYS}
            table = {**known, "options": own}
            label = f" (lane {raw['name']!r})" if isinstance(raw.get("name"), str) else ""
        return self._table(Lane, table, path, label)

    def _driver(self, lane: Lane, path: str) -> Driver | None:
        """Check a lane's options against its driver, and make it if they fit."""
        label = _label(lane)
        if lane.driver == _STAND_INS["driver"]:
            return None
        try:
            kind = driver_class(lane.driver)
        except (ConfigError, ValueError) as error:
            why = str(error) if ":" in lane.driver else "there is no such driver"
            near = _near(lane.driver, known_drivers(), "drivers")
            self.note(
                f"{path}.driver{label}",
                f"found {_shown(lane.driver)}; {why}; {near}, or package.module:Class",
            )
            return None
        wrong = list(_wrong_options(lane, kind))
        for key, text in wrong:
            self.note(f"{path}.{key}{label}", text)
        if wrong:
            return None
        try:
            return make_driver(lane)
        except ConfigError as error:
            cause = str(error.__cause__)
            told = cause.partition(" is ")[0]
            key = f".{told}" if told in options(kind) else ""
            self.note(f"{path}{key}{label}", cause)
            return None


def _label(lane: Lane) -> str:
    return "" if lane.name == _STAND_INS["name"] else f" (lane {lane.name!r})"


def _gathered(error: ValidationError, raw: object) -> list[ErrorDetails]:
    """Return one error for each value: what a value may be in turn is said in one sentence."""
    found: dict[tuple[int | str, ...], ErrorDetails] = {}
    for one in error.errors(include_url=False):
        one["loc"] = _real(one["loc"], raw)
        one["msg"] = one["msg"].replace("Input should", "must").replace(" should ", " must ")
        if one["loc"] in found:
            found[one["loc"]]["msg"] += f" or {one['msg'].removeprefix('must be ')}"
        else:
            found[one["loc"]] = one
    return list(found.values())


def _real(loc: tuple[int | str, ...], raw: object) -> tuple[int | str, ...]:
    # Behind the keys pydantic names which member of a union it tried; those are no keys.
    for depth, part in enumerate(loc):
        if not isinstance(raw, (dict, list)):
            return loc[:depth]
        if isinstance(raw, dict) and part not in raw:
            return loc[: depth + 1]
        raw = raw[part]  # type: ignore[index] # a list's error has an index
    return loc


def _wrong_options(lane: Lane, kind: type[Driver]) -> Iterable[tuple[str, str]]:
    given = dict(lane.options)
    if lane.rate_hz is not None:
        given["rate_hz"] = lane.rate_hz
    allowed = options(kind)
    try:
        hints = typing.get_type_hints(kind.__init__)
    except NameError as error:
        yield "driver", f"{lane.driver!r}: the type of an option cannot be looked up: {error}"
        return
    for key, value in given.items():
        if key not in allowed:
            near = _near(key, dict.fromkeys([*_LANE_KEYS, *allowed]))
            yield key, f"unknown to {lane.driver!r}, found {_shown(value)}; {near}"
        elif (text := _wrong_type(hints.get(key, Any), value)) is not None:
            yield key, text
    for key, one in allowed.items():
        if one.default is one.empty and key not in given:
            yield key, f"is missing; {lane.driver!r} needs it{_of_type(one)}"


def _of_type(one: inspect.Parameter) -> str:
    return "" if one.annotation is one.empty else f" ({one.annotation})"


def _wrong_type(kind: Any, value: object) -> str | None:  # noqa: ANN401 - see `_adapter`
    try:
        _parsed(kind, value)
    except ValidationError as error:
        return f"found {_shown(value)}; {_gathered(error, value)[0]['msg']}"
    return None
