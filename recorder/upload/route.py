"""Which network interface leads to the server, and whether somebody pays for each byte on it."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess

_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTA_DST, _RTA_OIF = 1, 4
_NLM_F_REQUEST = 1
# linux/netlink.h and linux/rtnetlink.h: nlmsghdr, rtmsg, rtattr.
_HEAD, _ROUTE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=8BI"), struct.Struct("=HH")
_ANSWER_S = 2.0
_METERED = ("u 1", "u 3")  # NMMetered: yes, and "guess yes"
_PROPERTY = (
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
    "Metered",
)


def interface_to(host: str) -> str:
    """Return the name of the interface by which the kernel reaches a host, or empty if by none.

    Args:
        host: name or address.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        family, address = found[0][0], str(found[0][4][0])
        return socket.if_indextoname(_output(family, socket.inet_pton(family, address)))
    except OSError:  # no such name, no route: it is found out by connecting
        return ""


def _output(family: int, address: bytes) -> int:
    """Ask the kernel for the index of the interface on the route to an address."""
    wanted = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _RTA_DST) + address
    body = _ROUTE.pack(family, 8 * len(address), 0, 0, 0, 0, 0, 0, 0) + wanted
    head = _HEAD.pack(_HEAD.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(_ANSWER_S)
        kernel.send(head + body)
        answer = kernel.recv(65_536)
    if _HEAD.unpack_from(answer)[1] != _RTM_NEWROUTE:
        raise OSError("no route")
    at = _HEAD.size + _ROUTE.size
    while at + _ATTRIBUTE.size <= len(answer):
        size, kind = _ATTRIBUTE.unpack_from(answer, at)
        if kind == _RTA_OIF:
            return int.from_bytes(answer[at + 4 : at + 8], "little")
        at += (size + 3) & ~3  # attributes are aligned to four bytes
    raise OSError("the route names no interface")


def is_metered() -> bool:
    """Tell whether NetworkManager calls the network metered; without it nobody does."""
    busctl = shutil.which("busctl")
    if busctl is None:
        return False
    command = [busctl, "--system", f"--timeout={_ANSWER_S:g}", "get-property", *_PROPERTY]
    try:
        told = subprocess.run(
            command, capture_output=True, text=True, timeout=2 * _ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.stdout.strip() in _METERED
