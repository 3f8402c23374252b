"""One condition of a query: an operator and what it compares with, as SDK 0.7 sends it.

    {"$eq": 5}  $neq  $lt  $leq  $gt  $geq     numbers, texts; $eq and $neq also booleans
    {"$in": ["a", "b"]}                        one of them
    {"$between": [1, 5]}                       both ends count
    {"$outside": [1, 5]}                       less than the first or more than the second
    {"$match": "imu-#*"}                       the whole text; * any, ? one, # a digit, [a-z] a set
    {"$ex": null}  {"$nex": null}              there is (not) such a key

Values compare only with values of their own kind; of another kind they are no match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from recorder.ground.refusals import RefusedError

TEXT, NUMBER, BOOLEAN = "text", "number", "boolean"
COMPARISONS = {"$eq": "=", "$neq": "!=", "$lt": "<", "$leq": "<=", "$gt": ">", "$geq": ">="}
RANGES = ("$between", "$outside")
PRESENCE = ("$ex", "$nex")
_MOST_PATTERN_CHARACTERS = 256
_ENDS_OF_RANGE = 2
_MOST_INTEGER = 2**63 - 1
# A set in brackets, or one character; a bracket that is never closed stands for itself.
_GLOB_PIECE = re.compile(r"\[[^\]]+\]|.", re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A checked condition.

    Args:
        operator: with its dollar sign.
        values: two for a range, any number for ``$in``, none for ``$ex`` and ``$nex``, else one.
        kind: `TEXT`, `NUMBER` or `BOOLEAN`, which all values are; empty without values.
    """

    operator: str
    values: tuple[Any, ...]
    kind: str


def condition(field: str, asked: object) -> Condition:
    """Check what a query asks of a field.

    Raises:
        RefusedError: not exactly one operator, an unknown one, or values that do not fit it.
    """
    if not isinstance(asked, dict) or len(asked) != 1:
        raise RefusedError(f"{field}: a condition is an object with exactly one operator")
    ((operator, value),) = asked.items()
    if operator in PRESENCE:
        return Condition(operator, (), "")
    values = _values(field, operator, value)
    kinds = {_kind(field, one) for one in values}
    if len(kinds) != 1:
        raise RefusedError(f"{field}: wrong type: {operator} wants values of one kind")
    found = Condition(operator, values, kinds.pop())
    _check_fit(field, found)
    return found


def pattern_pieces(pattern: str) -> list[str]:
    """The pieces of a glob pattern: single characters, and sets with their brackets."""
    return _GLOB_PIECE.findall(pattern)


def _values(field: str, operator: str, value: object) -> tuple[Any, ...]:
    if operator in COMPARISONS or operator == "$match":
        return (value,)
    if operator in RANGES:
        if isinstance(value, list) and len(value) == _ENDS_OF_RANGE:
            return tuple(value)
        raise RefusedError(f"{field}: {operator} wants a list of two")
    if operator == "$in":
        if isinstance(value, list) and value:
            return tuple(value)
        raise RefusedError(f"{field}: {operator} wants a list that is not empty")
    raise RefusedError(f"{field}: unsupported operation {operator}")


def _kind(field: str, value: object) -> str:
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, (int, float)):
        if isinstance(value, int) and not -_MOST_INTEGER <= value <= _MOST_INTEGER:
            raise RefusedError(f"{field}: {value} is no 64-bit integer")
        return NUMBER
    if isinstance(value, str):
        return TEXT
    raise RefusedError(f"{field}: wrong type: a value is a text, a number or a boolean")


def _check_fit(field: str, found: Condition) -> None:
    if found.operator == "$match":
        if found.kind != TEXT or not 0 < len(found.values[0]) <= _MOST_PATTERN_CHARACTERS:
            raise RefusedError(
                f"{field}: a pattern is a text of 1 to {_MOST_PATTERN_CHARACTERS} characters"
            )
    elif found.kind == BOOLEAN and found.operator not in ("$eq", "$neq", "$in"):
        raise RefusedError(f"{field}: unsupported operation {found.operator} on booleans")
    elif found.operator in RANGES and found.values[0] > found.values[1]:
        raise RefusedError(f"{field}: empty range")
