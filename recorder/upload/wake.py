"""Waiting that ends early: by a person (`recorder upload --now`) or by the network's coming up."""

from __future__ import annotations

import select
import socket
from typing import TYPE_CHECKING

from recorder.errors import RecorderError

if TYPE_CHECKING:
    from pathlib import Path

    from recorder.service import Stop

# linux/rtnetlink.h: links, and addresses of either family.
_GROUPS = 0x1 | 0x10 | 0x100
_MOST_BYTES = 4096

#: In the recorder's directory in memory; the upload process may write in this folder of it.
SOCKET = "status/upload.sock"
NOW = "now"
OVER_CAP = "over-cap"


class Waker:
    """Waits for the request to stop, for orders, and for changes of the network.

    Args:
        stop: the request to stop.
        path: a datagram socket of this name takes orders from the owner and the group.
    """

    def __init__(self, stop: Stop, path: Path) -> None:
        self._stop = stop
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._orders.bind(str(path))
        path.chmod(0o660)
        self._network = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._network.bind((0, _GROUPS))

    def wait(self, timeout_s: float) -> list[str] | None:
        """Wait until something happens, at most so long.

        Returns:
            The orders that came; an empty list if the network changed; None if nothing happened or
            the process is to stop.
        """
        watched = [one.fileno() for one in (self._stop, self._orders, self._network)]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if not ready or self._stop.is_set():
            return None
        for _ in _messages(self._network):
            pass  # which link it was does not matter: the server is asked
        return [one.decode(errors="replace") for one in _messages(self._orders)]

    def close(self) -> None:
        """Take no more orders; may be called twice."""
        self._network.close()
        self._orders.close()
        self._path.unlink(missing_ok=True)


def _messages(source: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(source.recv(_MOST_BYTES))
        except BlockingIOError:
            return found
        except OSError:  # more changes than the kernel could queue: a change all the same
            continue


def tell(path: Path, *words: str) -> None:
    """Give the upload process an order.

    Args:
        path: its socket.
        words: `NOW`; or `OVER_CAP` and a session's id.

    Raises:
        RecorderError: no upload process runs, or this user may not order anything.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(" ".join(words).encode(), str(path))
        except OSError as error:
            raise RecorderError(f"no upload process listens at {path}: {error.strerror}") from error
