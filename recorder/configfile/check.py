"""The whole file against the declarations: tables, lanes, the lanes' drivers, and the rules."""

from __future__ import annotations

import pkgutil
import re
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

import drivers
from recorder.beside import beside
from recorder.config import Clock, Config, Lane, Power, Rule, Session, Spool, Upload, Vehicle, Web
from recorder.configfile import doing, rules
from recorder.configfile.guard import guarded
from recorder.configfile.values import WrongError, near, shown, valid
from recorder.devices import driver_class, make_driver, options
from recorder.errors import ConfigError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Iterator

    from drivers.base import Driver

_T = TypeVar("_T")
_SECTIONS = {
    "vehicle": Vehicle,
    "session": Session,
    "spool": Spool,
    "upload": Upload,
    "web": Web,
    "clock": Clock,
    "power": Power,
}
_NO_KEYS = ("options", "filled_by", "declared")
_LANE_KEYS = [one.name for one in fields(Lane) if one.name not in _NO_KEYS]
_MOST_LANES = _MOST_RULES = 64
#: Stands for a lane's required key that is missing or wrong, so that the rest is checked as well.
_UNKNOWN = "?"
_STAND_INS: dict[type, dict[str, Any]] = {
    Lane: {"name": _UNKNOWN, "driver": _UNKNOWN},
    Rule: {"do": "mark"},
}


class Check:
    """One reading of a file.

    A key that is wrong is told once, and left out while everything else is checked.
    """

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    @property
    def problems(self) -> list[str]:
        """One line for each problem: the key, what was found, what is allowed."""
        return [f"{key}: {self._told[key]}" for key in sorted(self._told, key=_natural)]

    def config(self, raw: dict[str, Any]) -> Config | None:
        """Return the configuration, or None if there are problems."""
        known = [one.name for one in fields(Config)]
        for key in raw:
            if key not in known:
                self._tell(key, f"unknown table; {near(key, known)}")
        tables: dict[str, Any] = {
            name: self._table(kind, raw.get(name, {}), name) for name, kind in _SECTIONS.items()
        }
        lanes = self._lanes(raw.get("lanes"))
        own_rules = self._rules(raw.get("rules", []))
        for key, text in (*rules.of_tables(**tables), *doing.of_rules(own_rules, lanes)):
            self._tell(key, text)
        return None if self._told else Config(lanes=lanes, rules=own_rules, **tables)

    def _tell(self, key: str, text: str) -> None:
        self._told.setdefault(key, text)

    def _table(self, kind: type[_T], raw: object, path: str, label: str = "") -> _T:
        """Return the table, or what of it is valid; tell the rest."""
        try:
            return typing.cast("_T", valid(kind, raw))
        except WrongError as error:
            for one in error.wrong:
                key = path + "".join(map(_step, one.loc))
                text = one.text or f"unknown key, found {shown(one.found)}; {_known(kind, one.loc)}"
                self._tell(f"{key}{label}", text)
            bad = {one.loc[0] for one in error.wrong if one.loc}
        table = raw if isinstance(raw, dict) else {}
        kept = {key: value for key, value in table.items() if key not in bad}
        stand_ins = _STAND_INS.get(kind, {})
        return typing.cast("_T", valid(kind, {**stand_ins, **kept}))

    def _lanes(self, raw: object) -> list[Lane]:
        if not isinstance(raw, list) or not 0 < len(raw) <= _MOST_LANES:
            found = "is missing" if raw is None else f"found {shown(raw)}"
            self._tell("lanes", f"{found}; must be one table [[lanes]] for each of 1 to 64 sensors")
            return []
        lanes = [self._lane(one, f"lanes[{index}]") for index, one in enumerate(raw)]
        made = [self._driver(lane, f"lanes[{index}]") for index, lane in enumerate(lanes)]
        pairs = zip(list(lanes), list(made), strict=True)
        lanes += [more for one, driver in pairs if driver for more in beside(one, driver)]
        named = [None if lane.name == _UNKNOWN else lane for lane in lanes]
        for index, key, text in rules.of_lanes(named, made):
            self._tell(f"lanes[{index}].{key}{_label(lanes[index].name)}", text)
        return lanes

    def _rules(self, raw: object) -> list[Rule]:
        if not isinstance(raw, list) or len(raw) > _MOST_RULES:
            self._tell(
                "rules", f"found {shown(raw)}; must be at most {_MOST_RULES} tables [[rules]]"
            )
            return []
        return [self._table(Rule, one, f"rules[{index}]") for index, one in enumerate(raw)]

    def _lane(self, raw: object, path: str) -> Lane:
        if not isinstance(raw, dict):
            return self._table(Lane, raw, path)
        known = {key: value for key, value in raw.items() if key in _LANE_KEYS}
        own = {key: value for key, value in raw.items() if key not in _LANE_KEYS}
        return self._table(Lane, {**known, "options": own}, path, _label(raw.get("name")))

    def _driver(self, lane: Lane, path: str) -> Driver | None:
        """Make a lane's driver if its options fit; tell what does not."""
        if lane.driver == _UNKNOWN:
            return None
        label = _label(lane.name)
        try:
            with guarded(lane.driver):
                kind = driver_class(lane.driver)
        except ConfigError as error:
            self._tell(f"{path}.driver{label}", _no_driver(lane.driver, error))
            return None
        wrong = list(_wrong_options(lane, kind))
        for key, text in wrong:
            self._tell(f"{path}.{key}{label}", text)
        if wrong:
            return None
        try:
            with guarded(lane.driver):
                return make_driver(lane)
        except ConfigError as error:
            is_refusal = isinstance(error.__cause__, (TypeError, ValueError))
            text = str(error.__cause__ if is_refusal else error)
        about, _, why = text.partition(" is ")  # drivers begin with the option that they refuse
        if about in options(kind):
            path, text = f"{path}.{about}", f"found {why}"
        self._tell(f"{path}{label}", text)
        return None


def _natural(key: str) -> list[tuple[int, str]]:
    # So that lanes[10] comes behind lanes[9].
    return [
        (int(part or 0), "") if part.isdecimal() else (0, part)
        for part in re.split("([0-9]+)", key)
    ]


def _step(part: int | str) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def _label(name: object) -> str:
    return f" (lane {name!r})" if isinstance(name, str) and name != _UNKNOWN else ""


def _known(kind: type, loc: tuple[int | str, ...]) -> str:
    """Return the keys that are known where an unknown one stands."""
    for part in loc[:-1]:
        kind = typing.get_type_hints(kind)[str(part)]
    return near(str(loc[-1]), [one.name for one in fields(kind)])


def _no_driver(name: str, error: Exception) -> str:
    if ":" in name:
        return str(error)
    shipped = [one.name for one in pkgutil.iter_modules(drivers.__path__) if not one.ispkg]
    known = near(name, filter(_is_driver, sorted(shipped)))
    return f"found {shown(name)}; {known}, or package.module:Class of your own"


def _is_driver(name: str) -> bool:
    try:
        driver_class(name)
    except ConfigError:
        return False
    return True


def _wrong_options(lane: Lane, kind: type[Driver]) -> Iterator[tuple[str, str]]:
    """Yield each key that a driver does not take, does not take so, or misses."""
    given = dict(lane.options)
    if lane.rate_hz is not None:
        given["rate_hz"] = lane.rate_hz
    allowed = options(kind)
    hints = typing.get_type_hints(kind.__init__)
    for key, value in given.items():
        if key not in allowed:
            known = near(key, [*_LANE_KEYS, *allowed])
            yield key, f"unknown key, found {shown(value)}; {known}"
        elif (text := _wrong_type(hints.get(key, Any), value)) is not None:
            yield key, text
        elif "\0" in str(value):  # no file has such a name
            yield key, "found a text with a zero byte in it"
    for key, one in allowed.items():
        if one.default is one.empty and key not in given:
            yield key, f"is missing; driver {lane.driver!r} needs it{_kind(one)}"


def _kind(option: inspect.Parameter) -> str:
    return "" if option.annotation is option.empty else f" ({option.annotation})"


def _wrong_type(kind: object, value: object) -> str | None:
    try:
        valid(kind, value)
    except WrongError as error:
        return error.wrong[0].text
    return None
