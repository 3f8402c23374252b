"""What happens when an exception leaves a writing block; `docs/writing.md` has the whole matrix."""

from __future__ import annotations

from enum import Enum


class SessionLevelErrorPolicy(Enum):
    """What becomes of a session that an exception ended.

    A policy that cannot be carried out, because the server is away or the key too weak, is an error
    of its own, and the session stays unlocked.
    """

    Report = "report"
    """Deliver what is buffered, leave one error note on the sequence, finalize what is whole."""

    Delete = "delete"
    """Remove what this session wrote: the whole sequence if the session made it."""


class TopicLevelErrorPolicy(Enum):
    """What a failure of one topic does to it and to the others.

    That is an exception inside ``with topic_writer:``, a row that cannot be encoded, and a broken
    stream. A topic whose stream broke cannot go on: its later rows are counted as ignored.
    """

    Raise = "raise"
    """Let it through, so that the session's policy decides."""

    Ignore = "ignore"
    """Leave an error note on the topic and go on with it."""

    Finalize = "finalize"
    """Leave an error note, deliver what is buffered, end this topic, go on with the others."""
