"""What is wrong with the rules by which the recorder does things by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recorder.configfile.guard import guarded
from recorder.configfile.values import near, shown
from recorder.devices import make_driver
from recorder.errors import ConfigError, RecorderError
from recorder.gpio import check_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from recorder.config import Lane, Rule

_WHEN = ("line", "present", "lane")


def of_rules(rules: Sequence[Rule], lanes: Sequence[Lane]) -> Iterator[tuple[str, str]]:
    """Yield (key, what is wrong) for every rule.

    Args:
        rules: the rules, each valid by itself.
        lanes: the lanes.
    """
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        given = [key for key in _WHEN if getattr(rule, key)]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            yield path, f"found {found}; must have exactly one of {', '.join(_WHEN)}"
            continue
        yield from ((f"{path}.{key}", text) for key, text in _of_rule(rule, lanes))


def _of_rule(rule: Rule, lanes: Sequence[Lane]) -> Iterator[tuple[str, str]]:
    if rule.line:
        try:
            check_line(rule.line)
        except RecorderError as error:
            yield "line", f"found {error}"
    elif rule.present and not rule.present.startswith("/"):
        yield "present", f"found {shown(rule.present)}; must be a path that begins with /"
    if not rule.label.isprintable():
        yield "label", f"found {shown(rule.label)}; must be of printable characters"
    if rule.lane:
        yield from _of_lane(rule, lanes)
    elif rule.field or rule.silent_s is not None or not rule.above is rule.below is None:
        yield "lane", "is missing; field, above, below and silent_s are of a lane"


def _of_lane(rule: Rule, lanes: Sequence[Lane]) -> Iterator[tuple[str, str]]:
    named = {one.name: one for one in lanes}
    has_bound = rule.above is not None or rule.below is not None
    if rule.lane not in named:
        yield "lane", f"found {shown(rule.lane)}; {near(rule.lane, named)}"
    elif (rule.silent_s is None) != (bool(rule.field) and has_bound):
        yield "lane", "must come with silent_s, or with field and above or below or both"
    elif rule.field:
        fields = _fields(named[rule.lane])
        if fields is not None and rule.field not in fields:
            yield "field", f"found {shown(rule.field)}; {near(rule.field, fields)}"


def _fields(lane: Lane) -> list[str] | None:
    """Return the values that a lane gives, or None if its own table is wrong."""
    try:
        with guarded(lane.driver):
            return [one.name for one in make_driver(lane).fields]
    except ConfigError:
        return None
