"""The demo's ground station: serves until its standard input ends, so that it never outlives it."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from recorder.ground.station import run


def main() -> None:
    """Serve the folder that is the first argument; print the URL as one line of JSON."""
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=wait_for_end, daemon=True).start()

    def ready(url: str) -> None:
        sys.stdout.write(json.dumps({"url": url}) + "\n")
        sys.stdout.flush()

    run(Path(sys.argv[1]), "127.0.0.1", 0, stop, ready=ready)


if __name__ == "__main__":
    main()
