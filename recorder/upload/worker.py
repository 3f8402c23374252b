"""The work of the upload process, step by step: look, choose, send, and say so."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recorder import status
from recorder.box.keys import server_key, take_dropped
from recorder.errors import (
    ConfigError,
    RecorderError,
    RemoteAwayError,
    RemoteForbiddenError,
    RemoteRefusedError,
    SpoolError,
)
from recorder.mosaico import MosaicoClient
from recorder.service import Notifier, Stop, hold
from recorder.system_time import ntp_anchor
from recorder.upload.backlog import Asked, Backlog
from recorder.upload.delivery import KeyRefusedError
from recorder.upload.dependencies import DependencyUpload
from recorder.upload.permit import Permit
from recorder.upload.traffic import CapReachedError, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from recorder.config import Config
    from recorder.upload.session import SessionUpload

log = logging.getLogger(__name__)

#: A stream under way may take so long to end after a request to stop; then it is broken off.
STOP_LIMIT_S = 3.0
SIGN_S = 1.0
#: What the server refused as a whole is tried again so often: somebody may have changed something.
REFUSED_PAUSE_S = 60.0
#: A session at which the server failed so often in a row lets the others go first.
MOST_STUMBLES = 3


class StoppedError(RecorderError):
    """The process was asked to stop while a stream was under way; the stream was broken off."""


@dataclass(frozen=True)
class _Refusal:
    reason: str
    until_s: float


class Uploader:
    """Everything the upload process holds.

    Args:
        config: the resolved configuration.
        stop: the request to end.
        asked: what a person asked for by hand; hours and metered networks do not hold that back.
            None: work by itself, as configured.
        progress: called with the life sign's facts whenever these are renewed.

    Raises:
        SpoolError: another uploader works on the same journals, or they cannot be written.
    """

    def __init__(
        self,
        config: Config,
        stop: Stop,
        *,
        asked: Asked | None = None,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self._config = config
        self._stop = stop
        self._progress = progress
        self.notifier = Notifier()
        self._lock = _hold(config)
        self._traffic = Traffic(config.upload_dir / ".traffic", config.upload, self._utc_ns)
        self.permit = None if asked else Permit(config.upload)
        self.backlog = Backlog(config, self._traffic, self._sending, asked)
        self._dependencies = DependencyUpload(
            config, self._traffic, self._sending, asks_again=bool(asked and asked.anew)
        )
        #: Why sessions wait for the next month or for a person, by session id.
        self.capped: dict[str, str] = {}
        self._refused: dict[str, _Refusal] = {}
        self._stumbles: Counter[str] = Counter()
        self._client: MosaicoClient | None = None
        self._state, self._error = "waiting", ""
        self._next_sign_s = self._stop_limit_s = 0.0

    def work(self) -> bool:
        """Look at the spool and do the next thing that is due.

        Returns:
            Whether anything was done.

        Raises:
            RemoteAwayError: the server is not there.
            RemoteRefusedError: the server refuses the key.
            StoppedError: the process is to stop.
        """
        if take_dropped(self._config):
            self.hang_up()
        self.backlog.look()
        if self._held():
            return False
        due = self._in_turn()
        if due and self._dependencies.step(self._connected):
            self._state, self._error = "uploading", ""
            self.tick()
            return True
        for upload in due:
            if self._step(upload):
                self._state, self._error = "uploading", ""
                self.tick()
                return True
            if upload.log.is_done:
                self.backlog.forget(upload)
        return False

    def _in_turn(self) -> list[SessionUpload]:
        """Return what is due; without what the server refused just now, what failed often last."""
        now_s = time.monotonic()
        self._refused = {key: one for key, one in self._refused.items() if one.until_s > now_s}
        due = [one for one in self.backlog if one.source.session_id not in self._refused]
        return sorted(due, key=lambda one: self._stumbles[one.source.session_id] >= MOST_STUMBLES)

    def _step(self, upload: SessionUpload) -> bool:
        """Do what is next of a session; return whether that was anything."""
        session_id = upload.source.session_id
        try:
            is_done = upload.step(self._connected)
        except CapReachedError as error:
            self.capped[session_id] = str(error)
            return False
        except RemoteAwayError:
            self._stumbles[session_id] += 1
            raise
        except (KeyRefusedError, RemoteForbiddenError):
            raise
        except RemoteRefusedError as error:
            log.warning("session %s: %s", session_id, error)
            self._refused[session_id] = _Refusal(str(error), time.monotonic() + REFUSED_PAUSE_S)
            return False
        finally:
            if upload.source.is_stopped:
                upload.source.let_go()
        self.capped.pop(session_id, None)
        del self._stumbles[session_id]
        return is_done

    def parked(self) -> dict[str, str]:
        """Return why sessions wait for a person, by session id."""
        refused = {key: one.reason for key, one in self._refused.items()}
        return {**self.backlog.parked(), **refused}

    def _held(self) -> str:
        """Return why the uploader may not work by itself now, or empty."""
        return self.permit.reason() if self.permit and not self.backlog.is_empty else ""

    def rest(self) -> None:
        """Say that nothing can be done now, and why."""
        held = self._held() or next(iter(self.capped.values()), "")
        stuck = next(iter(self.parked().values()), "")
        if held:
            self.say("held", held)
        elif stuck:
            self.say("parked", stuck)
        else:
            self.say("idle" if self.backlog.is_there else "waiting", "")

    def say(self, state: str, error: str) -> None:
        """Publish another state, and log it if it has another reason."""
        if error and error != self._error:
            log.warning("%s: %s", state, error)
        self._state, self._error = state, error
        self.sign()

    def _connected(self) -> MosaicoClient:
        if self._client is None:
            self._client = connected(self._config)
            log.info("connected to %s", self._config.upload.server)
        return self._client

    def hang_up(self) -> None:
        """Close the connection, if any."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def tick(self) -> None:
        """Renew the life sign if it is due.

        Raises:
            StoppedError: the process was told to stop, and had its time for it.
        """
        now_s = time.monotonic()
        if self._stop.is_set():
            self._stop_limit_s = self._stop_limit_s or now_s + STOP_LIMIT_S
            if now_s >= self._stop_limit_s:
                raise StoppedError("told to stop")
        if now_s >= self._next_sign_s:
            self.sign()

    def _utc_ns(self) -> int | None:
        """Return what time it is, or None if nobody vouches for it: for the month's account."""
        utc_ns = self.backlog.utc_ns()
        if utc_ns is None and (told := ntp_anchor()) is not None:
            return told.utc_ns
        return utc_ns

    def _sending(self, size_bytes: int, is_over_cap: bool) -> None:
        self.tick()
        if not size_bytes:
            return
        until_s = time.monotonic() + self._traffic.add(size_bytes, over_cap=is_over_cap)
        while (left_s := until_s - time.monotonic()) > 0:
            if self._stop.wait(min(left_s, SIGN_S)):
                raise StoppedError("told to stop")
            self.tick()

    def sign(self) -> None:
        """Publish the life sign, with the time of the look at the spool that it speaks of."""
        self._next_sign_s = time.monotonic() + SIGN_S
        rows, size_bytes = self.backlog.size()
        facts = {
            "state": self._state,
            "server": self._config.upload.server,
            "error": self._error,
            "backlog_rows": rows,
            "backlog_bytes": size_bytes,
            "way_bytes": sum(one.way_bytes for one in self.backlog),
            "sessions_pending": len(list(self.backlog)),
            "parked": self.parked(),
            "capped": self.capped,
            "month_bytes": self._traffic.month_bytes,
            "drained": self.backlog.is_drained,
            "done": [*self.backlog.before, *self.backlog.done],
            "looked_boot_ns": self.backlog.looked_boot_ns,
        }
        status.publish(self._config.spool.run_dir, "upload", facts)
        self.notifier.ping(self._state)
        if self._progress is not None:
            self._progress(facts)

    def close(self) -> None:
        """Let go of everything; may be called twice."""
        self.hang_up()
        self.backlog.close()
        self._dependencies.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def connected(config: Config) -> MosaicoClient:
    """Return a connection to the configured server, with the key of this box.

    Raises:
        ConfigError: the key or the certificate cannot be read.
        RemoteAwayError: nobody answers.
        RemoteRefusedError: the server does not take the key, or is none.
    """
    settings, roots = config.upload, config.upload.certificate
    try:
        certificates = None if roots is None else roots.read_bytes()
    except OSError as error:
        raise ConfigError(f"{roots}: {error.strerror}") from error
    return MosaicoClient.connect_url(
        settings.server,
        api_key=server_key(config),
        tls_root_certs=certificates,
    )


def _hold(config: Config) -> int:
    try:
        config.upload_dir.mkdir(parents=True, exist_ok=True)
        lock = hold(config.upload_dir / ".lock")
    except OSError as error:
        why = f"the upload's journals cannot be written: {error.strerror}"
        raise SpoolError(f"{config.upload_dir}: {why}") from error
    if lock is None:
        raise SpoolError(f"{config.upload_dir}: another uploader is at work")
    return lock
