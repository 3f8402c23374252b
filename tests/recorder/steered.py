"""A spool's process and a lane, both without a process of their own, to give orders to."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recorder.config import Session
from recorder.orders import answer
from recorder.session.session import Session as Record
from recorder.spool.spool import Spool
from recorder.spooler import Spooler
from tests.recorder.building import Machine, Producer, schema


class Bench:
    """A spool's process and a lane, both without a process of their own."""

    def __init__(self, directory: Path, **session: Any) -> None:
        one = Machine(directory).config
        self.config = dataclasses.replace(one, session=Session(heartbeat_s=1.0, **session))
        self.spooler = Spooler(self.config)
        self.producer = Producer(self.config.rings_dir, schema())

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return answer(self.spooler, {"command": command, **arguments})

    def record(self, samples: int = 10) -> None:
        assert self.producer.put(samples)
        self.spooler.commit()

    def die(self) -> None:
        """What is left of a process that was killed, and the next one."""
        self.spooler.close()
        self.spooler = Spooler(self.config)

    @property
    def now(self) -> Record:
        assert self.spooler.recording is not None
        return self.spooler.recording.session

    def records(self) -> list[Record]:
        spool = Spool(self.config.spool_dir)
        return [spool.session(one) for one in spool.session_ids()]

    def entries(self, kind: str, session_id: str = "") -> list[dict[str, Any]]:
        spool = Spool(self.config.spool_dir)
        return [one for one in spool.entries(session_id or self.now.id) if one["entry"] == kind]

    def close(self) -> None:
        self.spooler.close()
        self.producer.close()


@contextlib.contextmanager
def bench(directory: Path, **session: Any) -> Iterator[Bench]:
    one = Bench(directory, **session)
    try:
        yield one
    finally:
        one.close()
