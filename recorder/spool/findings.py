"""What `recorder.spool.verify` found in a spool: plain results, from the spool down to the lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LaneCheck:
    """What one lane of one session holds.

    Args:
        lane: its name.
        segments: files.
        records: valid records of any kind.
        rows: samples in them.
        lost_ring: numbers that are missing because the ring was full, as the records themselves
            say.
        evicted: numbers that are missing because a tombstone gave them up.
        torn: numbers that are missing because power was lost while they were written.
        missing: numbers that are missing and nobody says why.
        doubled: numbers that are there twice.
        torn_bytes: bytes behind the last valid record of the newest segment.
        damaged_records: stretches of bytes that hold no valid record although one was there; each
            is at least one record.
        damaged_bytes: their length.
        problems: what is wrong, one sentence each, with file and offset.
    """

    lane: str
    segments: int = 0
    records: int = 0
    rows: int = 0
    lost_ring: int = 0
    evicted: int = 0
    torn: int = 0
    missing: int = 0
    doubled: int = 0
    torn_bytes: int = 0
    damaged_records: int = 0
    damaged_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def holes(self) -> int:
        """Numbers that are missing, whatever the reason."""
        return self.lost_ring + self.evicted + self.torn + self.missing

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong that a torn tail or a counted loss does not explain."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        return {**vars(self), "holes": self.holes, "is_sound": self.is_sound}


@dataclass
class SessionCheck:
    """What one session holds.

    Args:
        id: the session.
        state: its state, as the uploader settled it where it did; empty if its record cannot be
            read.
        recording: ``running`` or ``stopped``, empty alike.
        lanes: its lanes.
        given_up: samples that went since its state became terminal; the state stays.
        problems: what is wrong with its journal, one sentence each.
    """

    id: str
    state: str = ""
    recording: str = ""
    given_up: int = 0
    lanes: list[LaneCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether its journal and all its lanes are."""
        return not self.problems and all(one.is_sound for one in self.lanes)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        lanes = [one.to_dict() for one in self.lanes]
        return {**vars(self), "lanes": lanes, "is_sound": self.is_sound}


@dataclass
class SpoolCheck:
    """What a spool holds.

    Args:
        directory: the spool.
        bytes: length of all segments that were read.
        sessions: its sessions, oldest first.
        problems: what is wrong outside of the sessions, one sentence each.
        unknown: files and folders that are not the recorder's; they are left alone.
    """

    directory: str
    bytes: int = 0
    sessions: list[SessionCheck] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing at all is damaged and every missing number is accounted for."""
        return not self.problems and all(one.is_sound for one in self.sessions)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        sessions = [one.to_dict() for one in self.sessions]
        return {**vars(self), "sessions": sessions, "is_sound": self.is_sound}
