"""What runs commands in the virtual machine for the bench: lines of JSON over a virtio port.

A request has ``run``, a shell command, and ``patience_s``; or ``put``, a path, with ``data`` in
base64. An answer has ``code`` and ``said``. Runs in the machine, as root, from its own Python.
"""

import base64
import json
import os
import pathlib
import subprocess
import time
from typing import Any

PORT = "/dev/virtio-ports/recorder.bench"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run a command or write a file."""
    if "put" in request:
        place = pathlib.Path(request["put"])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(base64.b64decode(request["data"]))
        return {"code": 0, "said": ""}
    try:
        done = subprocess.run(
            ["sh", "-c", request["run"]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=request["patience_s"],
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return {"code": 124, "said": (error.stdout or b"").decode(errors="replace")}
    return {"code": done.returncode, "said": done.stdout.decode(errors="replace")}


def main() -> None:
    """Serve whoever is at the other end of the port."""
    port = os.open(PORT, os.O_RDWR)
    os.write(port, b'{"hello": 1}\n')
    waiting = b""
    while True:
        more = os.read(port, 65536)
        if not more:  # nobody at the other end
            time.sleep(0.05)
            continue
        waiting += more
        while b"\n" in waiting:
            line, waiting = waiting.split(b"\n", 1)
            # A view: the port takes some kilobytes at a time, a recording has a hundred megabytes.
            answer = memoryview(json.dumps(run(json.loads(line))).encode() + b"\n")
            while answer:
                answer = answer[os.write(port, answer) :]


if __name__ == "__main__":
    main()
