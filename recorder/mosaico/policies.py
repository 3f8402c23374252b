"""What happens when an exception leaves a writing block."""

from __future__ import annotations

from enum import Enum


class SessionLevelErrorPolicy(Enum):
    """What becomes of a session that an exception ended.

    Neither is carried out for a lost link alone: without the server nothing can be, and the
    exception that says so reaches the caller.
    """

    Report = "report"
    """Deliver what is buffered, leave one error note on the sequence, finalize the session."""

    Delete = "delete"
    """Remove what this session wrote: the whole sequence if the session made it."""


class TopicLevelErrorPolicy(Enum):
    """What an exception inside ``with topic_writer:`` does to that topic and to the others."""

    Raise = "raise"
    """Let it through, so that the session's policy decides."""

    Ignore = "ignore"
    """Leave an error note on the topic and go on with it."""

    Finalize = "finalize"
    """Leave an error note, deliver what is buffered, end this topic, go on with the others."""
