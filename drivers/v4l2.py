"""Video for Linux: a node by its ioctl calls, with nothing between it and the kernel.

Source: Linux kernel, Media subsystem userspace API, part I.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import select
from typing import TYPE_CHECKING, Protocol

from drivers import v4l2_layout as layout
from drivers.base import DeviceAbsentError, DeviceLostError, WrongDeviceError
from drivers.sim.v4l2_node import ModelNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    Argument = ctypes.Structure | ctypes.c_int

UNIX = "unix:"
#: What a node answers when its camera was pulled, or its bus is broken.
GONE = (errno.ENODEV, errno.ENXIO, errno.EIO, errno.EPROTO)

_ALLOWED = "allowed is a camera's node such as /dev/video0, readable and writable for this user"


class Node(Protocol):
    """What is done with a video node; a model of one has the same methods."""

    def ioctl(self, request: int, argument: Argument) -> None:
        """Make a call that reads the argument, fills it, or both; OSError if it is refused."""

    def map(self, length: int, offset: int) -> memoryview:
        """Return the memory of a buffer."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for a filled buffer, or for an error; return whether there is one."""

    def close(self) -> None:
        """Release memory and node; may be called twice."""


class KernelNode:
    """A node of the kernel.

    Args:
        path: of the node, or of a link to it.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._maps: list[tuple[mmap.mmap, memoryview]] = []
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def ioctl(self, request: int, argument: Argument) -> None:
        """Make a call of the kernel."""
        fcntl.ioctl(self._descriptor, request, argument)

    def map(self, length: int, offset: int) -> memoryview:
        """Map a buffer of the driver."""
        memory = mmap.mmap(self._descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ, offset=offset)
        self._maps.append((memory, memoryview(memory)))
        return self._maps[-1][1]

    def wait(self, timeout_s: float) -> bool:
        """Wait for a filled buffer; a camera that is pulled wakes with an error."""
        return bool(self._poll.poll(timeout_s * 1000))

    def close(self) -> None:
        """Unmap and close."""
        maps, self._maps = self._maps, []
        for memory, view in maps:
            view.release()
            memory.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # it was pulled
                os.close(descriptor)


def open_node(device: str) -> Node:
    """Open a node.

    Args:
        device: ``/dev/video0`` or any link to such a node, or ``unix:PATH`` for the node of the
            camera model that listens there.

    Raises:
        DeviceAbsentError: no such node, or no permission to open it.
    """
    try:
        return ModelNode(device[len(UNIX) :]) if device.startswith(UNIX) else KernelNode(device)
    except OSError as error:
        raise DeviceAbsentError(f"{device}: {_text(error)}; {_ALLOWED}") from error


@contextlib.contextmanager
def setting_up(device: str) -> Iterator[None]:
    """Say of calls that fail while a camera is being set up what that means.

    Raises:
        WrongDeviceError: the node does not know such calls, or another program streams from it.
        DeviceLostError: the camera was pulled meanwhile.
    """
    try:
        yield
    except OSError as error:
        if error.errno in GONE:
            raise DeviceLostError(f"{device}: {_text(error)}") from error
        if error.errno == errno.EBUSY:
            raise DeviceAbsentError(f"{device}: another program streams from it") from error
        text = f"{device}: no camera of V4L2 ({_text(error)}); {_ALLOWED}"
        raise WrongDeviceError(text) from error


def enumerated(node: Node, request: int, first: ctypes.Structure) -> Iterator[ctypes.Structure]:
    """Yield what a node lists, from index 0 on until it says that there is no more.

    Args:
        node: the node.
        request: one of the calls that fill a structure by its ``index``.
        first: the structure, with what is asked for in it; a new one is yielded each time.
    """
    index = 0
    while True:
        one = type(first).from_buffer_copy(first)
        one.index = index
        try:
            node.ioctl(request, one)
        except OSError as error:  # ENOTTY: a node that lists nothing
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise
        yield one
        index += 1


def capability(node: Node, device: str) -> layout.Capability:
    """Return what a node is.

    Raises:
        WrongDeviceError: it is none that captures pictures into buffers.
    """
    found = layout.Capability()
    with setting_up(device):
        node.ioctl(layout.QUERYCAP, found)
    flags = found.capabilities
    if flags & layout.CAP_DEVICE_CAPS:  # the rest speaks of all nodes of the camera together
        flags = found.device_caps
    needed = layout.CAP_VIDEO_CAPTURE | layout.CAP_STREAMING
    if flags & needed != needed:
        raise WrongDeviceError(
            f"{device}: {found.card.decode(errors='replace')} cannot capture here (a camera has a"
            " second node for metadata); use the node with index 0"
        )
    return found


def _text(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
