"""A user's program that writes under every pair of policies and dies in a way that the test says.

    python -m tests.recorder.mosaico.writing URL HOW

HOW: ``wait`` until a signal ends it, ``handle`` it as programs do that want to end in order
(SIGTERM raises SystemExit), ``exit`` by sys.exit in the innermost block, ``forget`` to leave the
blocks: the program ends with its writers open, ``stick`` to write more than a stuck server takes.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading

from recorder.mosaico import (
    CompressedImage,
    Limits,
    Message,
    MosaicoClient,
    SequenceWriter,
    SessionLevelErrorPolicy,
    String,
    TopicLevelErrorPolicy,
    TopicWriter,
)


def write(sequence: SequenceWriter, policy: TopicLevelErrorPolicy) -> TopicWriter:
    """Send three rows on each of two topics, and push two more; return the first topic."""
    topics = [sequence.topic_create(name, {}, String, on_error=policy) for name in ("a", "b")]
    for topic in topics:
        for time_ns in range(5):
            topic.push(Message(timestamp_ns=time_ns, data=String(data="x")))
            if time_ns == 2:
                topic.flush()
    return topics[0]


def stick(url: str) -> None:
    """Push 200 MB, more than gRPC takes in, and end the session."""
    limits = Limits(waiting_bytes=1_000_000_000, timeout_s=0.5)
    image = CompressedImage(data=bytes(1_000_000), format="raw")
    with MosaicoClient.connect_url(url) as client, client.sequence_create("stuck", {}) as sequence:
        camera = sequence.topic_create("camera", {}, CompressedImage, limits=limits)
        for number in range(200):
            camera.push(Message(timestamp_ns=number, data=image))


def main(url: str, how: str) -> None:
    if how == "stick":
        stick(url)
    if how == "handle":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with contextlib.ExitStack() as blocks:
        client = blocks.enter_context(MosaicoClient.connect_url(url))
        for session, topic in itertools.product(SessionLevelErrorPolicy, TopicLevelErrorPolicy):
            sequence = client.sequence_create(f"{session.name}-{topic.name}", {}, session)
            writer = blocks.enter_context(sequence)
            blocks.enter_context(write(writer, topic))
        print("written", flush=True)  # noqa: T201 - the test waits for it
        if how == "exit":
            sys.exit(3)
        if how == "forget":
            blocks.pop_all()
            sys.exit(4)
        threading.Event().wait(60)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
