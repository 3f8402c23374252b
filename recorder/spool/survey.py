"""What lies in the spool, in bytes of the disk, and how long the disk lasts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from recorder.spool.pins import held
from recorder.spool.quota import LEARN_BYTES, floor_bytes, free_bytes, pin_cap_bytes
from recorder.spool.stock import Stock, disk_bytes
from recorder.spool.watermark import Watermark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from recorder.config import Config
    from recorder.spool.spool import Spool
    from recorder.spool.stock import Key, SessionStock

STATES = ("pending", "leased", "delivered", "pinned", "open")
_HOUR_S = 3600


@dataclass
class Holding:
    """What the spool holds of one lane of one session; bytes of the disk, each counted once.

    Args:
        session_id: the session.
        lane: the lane.
        pending: the server does not hold it yet.
        leased: likewise, and it is about to be sent.
        delivered: the server holds it for certain.
        pinned: never given up, whether the server holds it or not.
        open: being written, or not proved by the journal; never given up.
    """

    session_id: str
    lane: str
    pending: int = 0
    leased: int = 0
    delivered: int = 0
    pinned: int = 0
    open: int = 0

    @property
    def bytes(self) -> int:
        """All of it."""
        return sum(getattr(self, state) for state in STATES)


@dataclass
class Survey:
    """What the spool holds, and how much room there is.

    Args:
        holdings: by session, oldest first, and lane.
        bytes: what the spool occupies, with its journals.
        free_bytes: what may still be written on the disk.
        floor_bytes: what of it is kept free.
        max_bytes: what the spool may hold; 0: as much as the disk takes.
        pin_cap_bytes: what pins may hold.
        pin_excess: segments that are pinned beyond that and not held, and their bytes.
        bytes_per_s: what the running session writes; None if none runs, or it only began.
    """

    holdings: list[Holding] = field(default_factory=list)
    bytes: int = 0
    free_bytes: int = 0
    floor_bytes: int = 0
    max_bytes: int = 0
    pin_cap_bytes: int = 0
    pin_excess: tuple[int, int] = (0, 0)
    bytes_per_s: float | None = None

    def total(self, state: str) -> int:
        """Return the bytes in one of `STATES`, of all sessions."""
        return sum(getattr(one, state) for one in self.holdings)

    @property
    def room_bytes(self) -> int:
        """What may be written before anything is given up."""
        room_bytes = self.free_bytes - self.floor_bytes
        if self.max_bytes:
            room_bytes = min(room_bytes, self.max_bytes - self.bytes)
        return max(room_bytes, 0)

    @property
    def hours(self) -> float | None:
        """Hours until something is given up that the server does not hold.

        As if nothing more was delivered meanwhile; None if nothing is being recorded.
        """
        if not self.bytes_per_s:
            return None
        return (self.room_bytes + self.total("delivered")) / self.bytes_per_s / _HOUR_S

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            **asdict(self),
            "totals": {state: self.total(state) for state in STATES},
            "room_bytes": self.room_bytes,
            "hours": None if self.hours is None else round(self.hours, 2),
        }


def survey(spool: Spool, config: Config, session: Mapping[str, Any] | None) -> Survey:
    """Look at a whole spool; nothing is written.

    Args:
        spool: the spool.
        config: says what is to be kept free, and where the watermark and the receipts are.
        session: the record of the session that is being recorded, from the spool process's life
            sign, or None if none is.

    Raises:
        OSError: something of it cannot be read.
    """
    stock = Stock(spool, config)
    while not stock.is_complete:
        stock.learn(LEARN_BYTES)
    cap_bytes = pin_cap_bytes(spool, config)
    asked, leased = stock.pinned(), stock.leased()
    pinned = held(asked, cap_bytes)
    excess = [one.disk_bytes for one in asked if one.key not in pinned]
    found = Survey(
        bytes=stock.disk_bytes(),
        free_bytes=free_bytes(spool.directory),
        floor_bytes=floor_bytes(config),
        max_bytes=config.spool.max_bytes,
        pin_cap_bytes=cap_bytes,
        pin_excess=(len(excess), sum(excess)),
    )
    for one in stock.sessions.values():
        found.holdings += _holdings(spool, one, pinned, leased)
    found.bytes += found.total("open")
    if session is not None and session["id"] in stock.sessions:
        found.bytes_per_s = _rate(stock.sessions[session["id"]], session, config)
    return found


def _holdings(
    spool: Spool, stock: SessionStock, pinned: set[Key], leased: set[Key]
) -> list[Holding]:
    found = {lane: Holding(stock.id, lane) for lane in spool.lanes(stock.id)}
    for lane, holding in found.items():
        for path in spool.segments(stock.id, lane):
            if (lane, path.name) not in stock.segments:
                holding.open += disk_bytes(path) or 0
    for one in stock.segments.values():
        holding, size_bytes = found[one.lane], one.disk_bytes
        if one.key in pinned:
            holding.pinned += size_bytes
        elif one.is_delivered:
            holding.delivered += size_bytes
        elif one.key in leased:
            holding.leased += size_bytes
        else:
            holding.pending += size_bytes
    return [one for one in found.values() if one.bytes]


def _rate(stock: SessionStock, session: Mapping[str, Any], config: Config) -> float | None:
    """Return bytes per second of all lanes together, over what each recorded in this session."""
    water = Watermark.read(config.watermark_file)
    ends = dict(water.ends) if water is not None and water.session_id == stock.id else {}
    rate = 0.0
    for one in session["lanes"]:
        written_bytes = stock.written_bytes.get(one["name"], 0)
        file, end_bytes = ends.get(one["name"], ("", 0))
        if (one["name"], file) not in stock.segments:
            written_bytes += end_bytes
        if one["first_boot_ns"] and one["last_boot_ns"] > one["first_boot_ns"]:
            rate += written_bytes * 1e9 / (one["last_boot_ns"] - one["first_boot_ns"])
    return rate or None
