"""An uploader, or a station, that kills itself with SIGKILL at one chosen step.

    python -m tests.recorder.upload.dying upload SETTINGS-FILE before|after|mid ENTRY
    python -m tests.recorder.upload.dying station DIRECTORY PORT CHUNKS

The uploader is the real one; only its journal (or its stream) is given a step at which the process
dies: before or after the first entry of a kind is durable, or in the middle of a stream, behind the
first batch of it that reached gRPC. The station dies when so many chunks were stored.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from recorder import config
from recorder.ground import run
from recorder.ground.topics import Chunk, Topics
from recorder.mosaico.wire import PutStream
from recorder.spool.journal import Journal
from recorder.uploader import upload_once


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_uploader(settings: config.Config, when: str, kind: str) -> None:
    """Let an uploader of its own process kill itself at a step."""
    file = settings.spool.directory / "settings"
    file.write_text(config.to_json(settings))
    command = [sys.executable, "-m", "tests.recorder.upload.dying", "upload", str(file), when, kind]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def upload(settings: str, when: str, kind: str) -> None:
    record, write = Journal.record, PutStream.write

    def record_and_die(self: Journal, entry: dict[str, Any]) -> None:
        if (when, kind) == ("before", entry["entry"]):
            die()
        record(self, entry)
        if (when, kind) == ("after", entry["entry"]):
            die()

    def write_and_die(self: PutStream, batch: Any) -> None:
        write(self, batch)
        if when == "mid":
            die()

    Journal.record = record_and_die  # type: ignore[method-assign]  # the step to die at
    PutStream.write = write_and_die  # type: ignore[method-assign]  # likewise
    upload_once(config.from_json(Path(settings).read_text()))


def station(directory: str, port: str, chunks: str) -> None:
    add = Topics.add_chunk
    left = [int(chunks)]

    def add_and_die(self: Topics, topic_id: int, chunk: Chunk) -> None:
        add(self, topic_id, chunk)
        left[0] -= 1
        if not left[0]:
            die()

    Topics.add_chunk = add_and_die  # type: ignore[method-assign]  # the step to die at
    stop = threading.Event()

    def stop_with_the_input() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=stop_with_the_input, daemon=True).start()
    run(Path(directory), "127.0.0.1", int(port), stop, ready=lambda url: print(url, flush=True))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    {"upload": upload, "station": station}[sys.argv[1]](*sys.argv[2:])
