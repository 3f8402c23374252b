"""The life of a session: one table of states and events.

Source of the words: ATLAS Advanced Streams, Sessions; of the codes: RTA (4 is closed, 8 adds
truncated, 16 fault, 32 abandoned). End of recording is not a state: the state becomes terminal
last, after the last row is delivered.
"""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """Where a session stands."""

    waiting = 1
    open = 2
    closed = 4
    truncated = 12
    failed = 28
    abandoned = 44

    @property
    def is_terminal(self) -> bool:
        """Whether nothing about the session will change any more."""
        return bool(self & State.closed)


#: (state, event) to the next state. What is not here is refused.
#: Events: `first_sample` is durable; `drained`: recording has stopped and nothing is pending, with
#: how it ended: whole, short (stored samples can never be delivered), error, orphan.
TRANSITIONS: dict[tuple[State, str], State] = {
    (State.waiting, "first_sample"): State.open,
    (State.waiting, "drained_whole"): State.closed,
    (State.waiting, "drained_short"): State.truncated,
    (State.waiting, "drained_error"): State.failed,
    (State.waiting, "drained_orphan"): State.abandoned,
    (State.open, "first_sample"): State.open,
    (State.open, "drained_whole"): State.closed,
    (State.open, "drained_short"): State.truncated,
    (State.open, "drained_error"): State.failed,
    (State.open, "drained_orphan"): State.abandoned,
}


def follow(state: State, event: str) -> State:
    """Return the state after an event.

    Raises:
        ValueError: the event cannot happen in this state; a terminal state takes none.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise ValueError(f"a session that is {state.name} takes no {event!r}") from None
