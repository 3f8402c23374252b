"""Which box this is: by its board, and by what its card says of the board that it was made on.

    <spool.directory>/box/identity      JSON, replaced as a whole by the spool's process

A card that comes up on another board than it was made on was copied, or moved: from here that is
the same. So it is taken for a copy, whose twin still records elsewhere: it gets names of its own,
sends none of the recordings that it came with, and uses no key of its twin's. `recorder box
--adopt` says that it was moved.

The board is, in this order: what the generator of the units found (``RECORDER_BOARD``: only root
may read a PC's), the serial number in the device tree, the PC's UUID or serial number. Where there
is none, the installation's machine id names the box; as a copy shares it, and a box whose root is
read-only may get another at each boot, it is no evidence of another board.
"""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder import durable

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import Config

log = logging.getLogger(__name__)

_SERIALS = (
    "/proc/device-tree/serial-number",
    "/sys/class/dmi/id/product_uuid",
    "/sys/class/dmi/id/board_serial",
)
_MACHINE_ID = "/etc/machine-id"
_ENVIRONMENT = "RECORDER_BOARD"
_NOT_IN_ID = re.compile(r"[^a-z0-9]+")
#: What boards say that were given no number (as they are without blanks and dashes).
_NONE = ("03000200040005000006000700080009", "tobefilledbyoem", "defaultstring", "notspecified")
_LEAST_CHARACTERS, _LEAST_KINDS, _MOST_CHARACTERS = 8, 3, 32
#: A machine id is not to be told in full (machine-id(5)).
_TOLD_OF_MACHINE_ID = 16
_SUFFIX, _MOST_NAME = 8, 64
_MODE = 0o640


@dataclass(frozen=True)
class Twin:
    """The box that this card was copied from.

    Args:
        box: its id.
        vehicle: the name that it records under.
        sessions: running number of the last of its recordings on this card; None: not settled yet,
            all that is there is its.
    """

    box: str
    vehicle: str
    sessions: int | None = None


@dataclass(frozen=True)
class Identity:
    """Which box this is.

    Args:
        box: its id: ``a-z 0-9``, 8 to 32 characters; it stands in every recording's details.
        vehicle: the vehicle's name in the configuration when this was written.
        twin: the box that this card was copied from, if it was.
        is_board: whether the id is a board's own number.
    """

    box: str
    vehicle: str
    twin: Twin | None = None
    is_board: bool = False

    @property
    def name(self) -> str:
        """The name that this box records under: the twin has the other one."""
        if self.twin is None or self.twin.vehicle != self.vehicle:
            return self.vehicle
        own = self.box[-_SUFFIX:]
        own = self.box if self.twin.box.endswith(own) else own
        return f"{self.vehicle[: _MOST_NAME - len(own) - 1]}-{own}"

    def inherits(self, number: int) -> bool:
        """Tell whether a recording, by its running number, is the twin's."""
        if self.twin is None:
            return False
        return self.twin.sessions is None or number <= self.twin.sessions


def board_id(root: Path = Path("/")) -> str:
    """Return the board's id; empty if it has none, or this process may not read it.

    Args:
        root: the folder that stands for the machine's ``/``.
    """
    told = _plain(os.environ.get(_ENVIRONMENT, ""))
    if told:
        return told
    for path in _SERIALS:
        try:
            found = _plain((root / path.lstrip("/")).read_bytes().decode(errors="replace"))
        except OSError:
            continue
        if found:
            return found
    return ""


def _machine_id(root: Path) -> str:
    try:
        return _plain((root / _MACHINE_ID.lstrip("/")).read_text())[:_TOLD_OF_MACHINE_ID]
    except OSError:
        return ""


def _plain(text: str) -> str:
    """Return a serial number without what no name may hold; empty if it is none."""
    plain = _NOT_IN_ID.sub("", text.lower())[:_MOST_CHARACTERS]
    is_none = len(plain) < _LEAST_CHARACTERS or len(set(plain)) < _LEAST_KINDS or plain in _NONE
    return "" if is_none else plain


def identify(config: Config, root: Path = Path("/")) -> Identity:
    """Return which box this is, by its board and its card; nothing is written.

    Args:
        config: the resolved configuration.
        root: the folder that stands for the machine's ``/``.
    """
    vehicle, board = config.vehicle.name, board_id(root)
    kept = _read(config.box_dir / "identity")
    if kept is None:
        return Identity(board or _machine_id(root) or "unknown", vehicle, is_board=bool(board))
    if not board:
        return replace(kept, vehicle=vehicle)
    if board == kept.box or not kept.is_board:
        return replace(kept, box=board, vehicle=vehicle, is_board=True)
    return Identity(board, vehicle, Twin(kept.box, kept.vehicle), is_board=True)


def settle(config: Config, newest: Callable[[], int], root: Path = Path("/")) -> Identity:
    """Return which box this is, and keep it; only for the one process that writes the spool.

    A disk that does not take it keeps nobody from recording: the next start tries again.

    Args:
        config: the resolved configuration.
        newest: gives the running number of the newest session in the spool, 0 if it has none.
        root: the folder that stands for the machine's ``/``.
    """
    found = identify(config, root)
    if found.twin is not None and found.twin.sessions is None:
        found = replace(found, twin=replace(found.twin, sessions=newest()))
        log.warning(
            "this card was made in box %s and is in box %s now: it records as %r, sends none of"
            " the recordings that it came with, and needs a key of its own (recorder box)",
            found.twin and found.twin.box,
            found.box,
            found.name,
        )
    try:
        keep(config, found)
    except OSError as error:
        log.warning("which box this is cannot be kept: %s", error)
    return found


def keep(config: Config, identity: Identity) -> None:
    """Write it to the card if it says something else; durable on return.

    Raises:
        OSError: the disk does not take it.
    """
    file = config.box_dir / "identity"
    if _read(file) != identity:
        file.parent.mkdir(parents=True, exist_ok=True)
        durable.replace(file, [f"{json.dumps(asdict(identity), indent=1)}\n".encode()], _MODE)


def _read(file: Path) -> Identity | None:
    """Return what the card says; None if it says nothing, or nothing that can be understood."""
    try:
        raw: dict[str, Any] = json.loads(file.read_bytes())
        twin = raw.pop("twin")
        return Identity(**raw, twin=Twin(**twin) if twin else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s: %s", file, error)
        return None
