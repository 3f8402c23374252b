"""One value against what is allowed for it, in words; pydantic stays behind this module."""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_SHOWN_CHARS = 60
_WORDS = {
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid array": "a list",
    "a valid dictionary": "a table",
    "an object": "a table",
}


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong with a value.

    Args:
        loc: keys and indices that lead to it from the value that was checked.
        text: what was found and what is allowed; empty if an unknown key was found.
        found: the value.
    """

    loc: tuple[int | str, ...]
    text: str
    found: object


class WrongError(Exception):
    """A value is not what it must be.

    Args:
        wrong: everything that is wrong with it, each place once.
    """

    def __init__(self, wrong: list[Wrong]) -> None:
        super().__init__(*wrong)
        self.wrong = wrong


def shown(value: object) -> str:
    """Return a value as a user wrote it, cut if it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _MOST_SHOWN_CHARS else f"{text[:_MOST_SHOWN_CHARS]}…"


def near(key: str, known: Iterable[str]) -> str:
    """Return the known names as a sentence, the one that was probably meant first."""
    names = list(dict.fromkeys(known))
    close = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(names)}"


def valid(kind: object, value: object) -> Any:  # noqa: ANN401 - it is of the kind that was asked
    """Return a value as its declared kind.

    Args:
        kind: a dataclass, or any annotation.
        value: as TOML gave it. Text may stand for a path, and a whole number for a real one;
            nothing else is converted.

    Raises:
        WrongError: it is of another kind, or beyond its limits.
    """
    try:
        # By way of JSON, where text may stand for a path and yet not for a number.
        return _adapter(kind).validate_json(json.dumps(value, default=str), strict=True)
    except ValidationError as error:
        raise WrongError(_gathered(error, value)) from error


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any annotation
    return TypeAdapter(kind)


def _gathered(error: ValidationError, value: object) -> list[Wrong]:
    # Where a value may be one of several kinds, pydantic speaks of each: here that is one sentence.
    texts: dict[tuple[int | str, ...], list[str]] = {}
    found: dict[tuple[int | str, ...], object] = {}
    for one in error.errors(include_url=False):
        loc = _keys(one["loc"], value)
        found[loc] = one["input"]
        if one["type"] == "unexpected_keyword_argument":
            texts[loc] = []
        elif one["type"] == "missing":
            texts[loc] = ["is missing"]
        else:
            texts.setdefault(loc, [f"found {shown(one['input'])}"]).append(_allowed(one["msg"]))
    return [Wrong(loc, _sentence(said), found[loc]) for loc, said in texts.items()]


def _allowed(message: str) -> str:
    text = message.partition(" should ")[2] or message
    for theirs, ours in _WORDS.items():
        text = text.replace(theirs, ours)
    return text


def _sentence(said: list[str]) -> str:
    allowed = " or ".join([*said[1:2], *(one.removeprefix("be ") for one in said[2:])])
    return "; must ".join(filter(None, [*said[:1], allowed]))


def _keys(loc: tuple[int | str, ...], value: object) -> tuple[int | str, ...]:
    # Behind the keys pydantic may name the kind that it tried; no key of the file is named so.
    below: Any = value
    for depth, part in enumerate(loc):
        try:
            below = below[part]
        except KeyError:
            return loc[: depth + 1]  # a key that is missing
        except TypeError:
            return loc[:depth]
    return loc
