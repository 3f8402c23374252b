"""The vendor's SDK in a process of its own, as a peer: it pushes IMU rows when it is asked to.

``python -m tests.bench.sdk HOST PORT`` is that process: for each line with a number of rows on its
standard input it writes a new sequence and prints the seconds that this took.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
import warnings
from urllib.parse import urlsplit

PATIENCE_S = 20


class Sdk:
    """The process; a context manager.

    Args:
        url: of the ground station.
    """

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)

    def __enter__(self) -> Sdk:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.sdk", str(self._url.hostname), str(self._url.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def push_rows_per_s(self, rows: int) -> float:
        """Return the speed of a sequence with one topic of so many rows, from begin to end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{rows}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the SDK's process ended; its standard error says why")
        return rows / float(answer)

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=PATIENCE_S)  # closes its standard input: the end
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def main(host: str, port: int) -> None:
    """Push as often as standard input asks for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK's own deprecations are not ours to report
        from mosaicolabs import IMU, Message, MosaicoClient, Vector3d  # noqa: PLC0415 - not here
    with MosaicoClient.connect(host, port) as client:
        for line in sys.stdin:
            begin_s = time.perf_counter()
            with client.sequence_create(f"sdk-{uuid.uuid4()}", {}) as sequence:
                topic = sequence.topic_create("imu", {}, IMU)
                for number in range(int(line)):
                    vector = Vector3d(x=float(number), y=0.5, z=9.8)
                    imu = IMU(acceleration=vector, angular_velocity=vector)
                    topic.push(Message(timestamp_ns=number, data=imu))
            sys.stdout.write(f"{time.perf_counter() - begin_s}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
