"""The table of a rule: what the recorder does by itself, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from recorder.config.tables import Bounds, Table


@dataclass(frozen=True, kw_only=True)
class Rule(Table):
    """Something to do while, or whenever, something is so.

    What is so is said by exactly one of `line`, `present`, and `lane` (with `silent_s`, or with
    `field` and `above` or `below` or both: beyond either).

    Args:
        do: ``record``: record while it holds (with several such rules: while any does), and not
            otherwise; ``new``: begin a new session whenever it begins to hold; ``mark``: set a mark
            then.
        line: an input: ``/dev/gpiochip0:17``, or ``file:`` and a path, of which the number that it
            holds counts, 0 or another (as in ``/sys``).
        active_low: whether a line means it when it is 0.
        present: path of a device or file that is there.
        lane: a lane, of which
        field: this value of the newest sample
        above: is larger than this, in the field's unit,
        below: or smaller than this;
        silent_s: or which gave no sample for so long, in s.
        for_s: it must hold for so long before it counts.
        keep_s: it counts for so long after it held last: a traffic light is no parking place.
        label: of the mark; empty: what the rule asks for.
        before_s: where the mark's window begins, 0 to 3600 s before it.
        after_s: where it ends.
    """

    do: Literal["record", "new", "mark"]
    line: Annotated[str, Bounds(max_length=255)] = ""
    active_low: bool = False
    present: Annotated[str, Bounds(max_length=255)] = ""
    lane: Annotated[str, Bounds(max_length=64)] = ""
    field: Annotated[str, Bounds(max_length=255)] = ""
    above: float | None = None
    below: float | None = None
    silent_s: Annotated[float, Bounds(ge=0.5, le=3600)] | None = None
    for_s: Annotated[float, Bounds(ge=0, le=3600)] = 0.0
    keep_s: Annotated[float, Bounds(ge=0, le=86_400)] = 0.0
    label: Annotated[str, Bounds(max_length=255)] = ""
    before_s: Annotated[float, Bounds(ge=0, le=3600)] = 30.0
    after_s: Annotated[float, Bounds(ge=0, le=3600)] = 60.0

    @property
    def words(self) -> str:
        """What it asks for, as a person would say it."""
        if self.line or self.present:
            return f"{self.line} active" if self.line else f"{self.present} present"
        if self.silent_s is not None:
            return f"{self.lane} silent for {self.silent_s:g} s"
        bounds = (("above", self.above), ("below", self.below))
        said = " or ".join(f"{word} {bound:g}" for word, bound in bounds if bound is not None)
        return f"{self.lane} {self.field} {said}"
