"""What there is to tell, gathered from the life signs and the spool: one plain object.

`Board.look` is called once a second by one thread; the page, ``/status.json`` and the metrics all
show what it returned, so that ten viewers cost no more than one.

An age is counted from CLOCK_BOOTTIME, the clock that every life sign carries. A life sign older
than `SILENT_S`, or from a later time than now (another boot's), is a silent process: what it said
last is still shown, and said to be old.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from recorder import __version__, status
from recorder.clock import boot_ns
from recorder.errors import SpoolError
from recorder.session.ledger import CAUSES
from recorder.spool.spool import Spool
from recorder.spool.standing import standing
from recorder.web.meter import Meter

if TYPE_CHECKING:
    from recorder.config import Config, Lane

    Facts = dict[str, Any]

#: A process gives a life sign at least once a second.
SILENT_S = 5.0
#: What keeps the uploader from its work: by itself it ends ("warn"), or somebody must do something.
LEVELS = {"held": "warn", "away": "warn", "parked": "bad", "disk": "bad"}


class Board:
    """The recorder as its own processes describe it.

    Args:
        config: the resolved configuration; its lanes are those that are shown.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._meters = {one.name: Meter() for one in config.lanes}
        self._last_session: tuple[object, Facts | None] = (None, None)

    def look(self) -> Facts:
        """Return everything that is known now.

        Returns:
            ``vehicle``, ``version``, ``utc_ns``; ``processes`` by name with ``age_s`` (None: never
            heard) and ``is_silent``; ``session``, the whole record of the session that is being
            recorded, else of the newest in the spool, else None, with ``is_recorded``; ``lanes``;
            ``spool`` with ``is_in_trouble``; ``upload``, the uploader's life sign, with ``level``
            (good, warn, bad: see `LEVELS`) and ``waits``, the sessions that are not sent and why.
        """
        config = self._config
        signs = status.all_signs(config.spool.run_dir)
        now = boot_ns()
        processes = {name: _life(signs.get(name), now) for name in self._expected()}
        session = self._session(signs.get("spool", {}), processes["spool"])
        return {
            "vehicle": config.vehicle.name,
            "version": __version__,
            "utc_ns": time.time_ns(),
            "processes": processes,
            "session": session,
            "lanes": [self._lane(one, signs, session, now) for one in config.lanes],
            "spool": self._spool(signs.get("spool", {})),
            "upload": self._upload(signs.get("upload", {})),
        }

    def _expected(self) -> list[str]:
        lanes = [f"lane-{one.name}" for one in self._config.lanes]
        upload = [] if self._config.upload.mode == "off" else ["upload"]
        power = ["power"] if self._config.power.inputs else []
        return ["spool", *lanes, *upload, *power]

    def _session(self, sign: Facts, life: Facts) -> Facts | None:
        session = sign.get("session")
        if session is not None:
            return {**session, "is_recorded": not life["is_silent"]}
        newest = self._newest_session()
        return newest and {**newest, "is_recorded": False}

    def _newest_session(self) -> Facts | None:
        """Return the newest record of the spool; read again only when a journal has changed."""
        upload_dir = self._config.upload_dir
        try:
            spool = Spool.current(self._config.spool_dir)
            journals = [*spool.directory.glob("sessions/*/journal"), *upload_dir.glob("*")]
            seen = {path: path.stat().st_mtime_ns for path in journals}
            if seen != self._last_session[0]:
                self._last_session = (seen, _newest(spool))
        except (SpoolError, FileNotFoundError):  # no spool there yet, or none that can be read
            return None
        return self._last_session[1]

    def _lane(self, lane: Lane, signs: Facts, session: Facts | None, now: int) -> Facts:
        sign = signs.get(f"lane-{lane.name}", {})
        account = _account(session, lane.name)
        meter = self._meters[lane.name]
        if sign:
            meter.read(sign)
        stored_boot_ns = account.get("last_boot_ns") if session and session["is_recorded"] else None
        last_boot_ns = meter.last_boot_ns(stored_boot_ns)
        is_silent = _life(sign or None, now)["is_silent"]
        return {
            "name": lane.name,
            "driver": lane.driver,
            "required": lane.required,
            "is_silent": is_silent,
            "state": sign.get("state"),
            "device": sign.get("device", {}),
            "rate_hz": sign.get("rate_hz"),
            "measured_hz": None if is_silent else meter.rate_hz,
            "last_sample_age_s": None if last_boot_ns is None else (now - last_boot_ns) / 1e9,
            "samples": sign.get("samples"),
            "expected": sign.get("expected"),
            "losses": _losses(sign, account),
        }

    def _spool(self, sign: Facts) -> Facts:
        directory = self._config.spool.directory
        stat = os.statvfs(directory) if directory.exists() else None
        state = sign.get("state")
        # While a session is recorded the spooler says so, unless it says what keeps it from it.
        is_in_trouble = bool(sign.get("trouble"))
        return {
            "state": state,
            "is_in_trouble": is_in_trouble,
            "directory": str(directory),
            "free_bytes": stat and stat.f_bavail * stat.f_frsize,
            "size_bytes": stat and stat.f_blocks * stat.f_frsize,
            "floor_bytes": self._config.spool.free_floor_bytes,
            "commits": sign.get("commits") or {},
            "wear": sign.get("wear") or {},
        }

    def _upload(self, sign: Facts) -> Facts:
        mode = self._config.upload.mode
        facts = sign if mode != "off" else {}
        waits = {**facts.get("capped", {}), **facts.get("parked", {})}
        return {
            "mode": mode,
            "server": self._config.upload.server,
            **facts,
            "level": LEVELS.get(facts.get("state", ""), "good"),
            "waits": [{"session": key, "reason": reason} for key, reason in waits.items()],
        }


def _newest(spool: Spool) -> Facts | None:
    ids = spool.session_ids()
    if not ids:
        return None
    return standing(spool, ids[-1], spool.entries(ids[-1])).session.to_dict()


def _life(sign: Facts | None, now: int) -> Facts:
    if sign is None:
        return {"age_s": None, "is_silent": True}
    age_s = (now - sign["boot_ns"]) / 1e9
    # Signs are read before `now` is taken: a negative age is another boot's.
    return {"age_s": age_s if age_s >= 0 else None, "is_silent": not 0 <= age_s <= SILENT_S}


def _account(session: Facts | None, lane: str) -> Facts:
    lanes = session["lanes"] if session else []
    return next((one for one in lanes if one["name"] == lane), {})


def _losses(sign: Facts, account: Facts) -> list[Facts]:
    """Return the samples that were lost, by cause, as far as the process that counts it says so.

    What is lost before and in the ring the lane counts, since its ring was made; what is lost
    behind it the session's ledger counts, since the session began.
    """
    lane = {f"lost_{cause}": count for cause, count in sign.get("losses", {}).items()}
    counts = {**account, **lane}
    return [
        {"cause": cause.removeprefix("lost_"), "words": words, "samples": counts[cause]}
        for cause, words in CAUSES.items()
        if cause in counts
    ]
